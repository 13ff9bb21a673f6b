import json
import os
import shutil
import zipfile
from hashlib import md5

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import CelebA as TorchvisionCelebA
from torchvision.datasets import utils
from torchvision.transforms.functional import center_crop

from lightning_gen.config.compose import ConfigErrors, compose_data, instantiate
from lightning_gen.data import pictures
from lightning_gen.data.celeba import CelebA
from lightning_gen.data.celeba_domains import CelebADomains
from lightning_gen.data.module import Part, StreamBatch, StreamLoader
from lightning_gen.errors import DataError
from tests.data.faces import NAMES, draw_celeba, write_lists

N = 20
SMILING, MALE = NAMES.index("Smiling"), NAMES.index("Male")


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("celeba")
    return folder, draw_celeba(folder, N, shares=(0.6, 0.2, 0.2))


@pytest.fixture
def source(drawn, tmp_path):
    """A copy that may be damaged."""
    return shutil.copytree(drawn[0], tmp_path / "source")


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_):
        raise RuntimeError("no way out")

    monkeypatch.setattr(utils, "download_file_from_google_drive", refuse)


def opened(root, folder, kind=CelebA, **options):
    options = {"batch_size": 2, "resolution": 16} | options
    data = kind(str(root), str(root / "cache"), folder=str(folder), **options)
    data.prepare_data()
    data.setup()
    return data


def note(data):
    return json.loads((data.folder / "meta.json").read_text())["note"]


def zipped(source):
    """The same set, with the pictures in an archive."""
    with zipfile.ZipFile(source / "img_align_celeba.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted((source / "img_align_celeba").iterdir()):
            archive.write(file, f"img_align_celeba/{file.name}")
    shutil.rmtree(source / "img_align_celeba")
    return source / "img_align_celeba.zip"


def byte(image):
    return ((image + 1) * 127.5).round().to(torch.uint8)


@pytest.mark.parametrize(("crop", "resolution"), [(108, 64), (140, 64), (148, 32), (178, 128)])
def test_crop_and_scale_are_those_of_torchvision_and_pillow(drawn, tmp_path, crop, resolution):
    data = opened(tmp_path, drawn[0], crop=crop, resolution=resolution)
    ours = byte(data.real("test").image)
    for i, image in enumerate(ours):
        file = drawn[0] / "img_align_celeba" / f"{17 + i:06}.jpg"
        middle = center_crop(Image.open(file), [crop, crop])
        scaled = middle.resize((resolution, resolution), Image.Resampling.LANCZOS)
        assert (image.permute(1, 2, 0).numpy() == np.asarray(scaled)).all()


def test_partition_and_attributes_are_the_files(drawn, tmp_path):
    folder, has = drawn
    data = opened(tmp_path, folder, attributes=["Male", "Smiling"])
    assert {split: data.size(split) for split in data.splits} == {
        "train": 12,
        "valid": 4,
        "test": 4,
    }
    assert data.splits[0] == "train" and data.domains == ("Male", "Smiling")
    labels = torch.cat([data.labels(split) for split in ("train", "valid", "test")])
    assert labels.dtype == torch.int64
    assert (labels.numpy() == has[:, [MALE, SMILING]]).all()
    for split in data.splits:
        assert torch.equal(data.real(split, [1, 0]).label, data.labels(split)[[1, 0]])


def test_a_partition_in_any_order_keeps_labels_with_their_pictures(drawn, source, tmp_path):
    shuffled = np.random.RandomState(1).permutation(N)
    lines = (source / "list_eval_partition.txt").read_text().splitlines()
    lines = [f"{lines[i].split()[0]} {i % 3}" for i in shuffled]
    (source / "list_eval_partition.txt").write_text("\n".join(lines))
    data = opened(tmp_path, source, attributes=NAMES)
    reference = opened(tmp_path / "other", drawn[0], attributes=NAMES, train_on="all")
    images, labels = reference.real("train")
    for which, split in enumerate(("train", "valid", "test")):
        chosen = [i for i in shuffled if i % 3 == which]
        image, label = data.real(split)
        assert torch.equal(image, images[chosen]) and torch.equal(label, labels[chosen])


def test_train_on_all_shares_the_arrays(drawn, tmp_path):
    part = opened(tmp_path, drawn[0])
    whole = opened(tmp_path, drawn[0], train_on="all")
    assert whole.folder == part.folder and whole.size("train") == N
    assert torch.equal(whole.real("train").image[-4:], part.real("test").image)
    assert part.labels("train") is None and part.real("train").label is None


def test_other_attributes_need_no_decoding(drawn, tmp_path, monkeypatch):
    first = opened(tmp_path, drawn[0], attributes=["Male"])
    monkeypatch.setattr(CelebA, "write", None)
    other = opened(tmp_path, drawn[0], attributes=["Smiling", "Eyeglasses"])
    assert other.folder == first.folder and other.labels("test").shape == (4, 2)


def test_labels_of_attributes_go_through_loaders_and_devices(drawn, tmp_path):
    data = opened(tmp_path, drawn[0], attributes=["Male", "Smiling", "Pale_Skin"])
    loader = StreamLoader(data._set("train"), batch_size=4, minibatches=2, rank=1, world=2, stop=1)
    (batch,) = loader
    rows = loader.indices(0)
    assert torch.equal(batch.label, data.labels("train")[rows])
    assert torch.equal(data.on_after_batch_transfer(batch).label, data.labels("train")[rows])
    data.resident = True
    resident = data.images(
        StreamBatch(torch.from_numpy(rows), None, None, Part(0, 0, 1, 0, 1)), "train"
    )
    assert torch.equal(resident.label, data.labels("train")[rows])
    assert torch.equal(data.conditions(3, 11), data.labels("train")[[11, 0, 1]])


def test_domains_are_attributes_and_their_absence(drawn, tmp_path):
    folder, has = drawn
    data = opened(tmp_path, folder, attributes=["Smiling", "Male"])
    smiling = np.flatnonzero(has[:12, SMILING]).tolist()
    others = sorted(set(range(12)) - set(smiling))
    assert smiling and others
    for name, inside, rows in (
        ("Smiling", True, smiling),
        ("Smiling", False, others),
        ("not Smiling", True, others),
        ("not Smiling", False, smiling),
    ):
        split, found = data.domain("train", name, inside=inside)
        assert split == "train" and found.tolist() == rows
    with pytest.raises(DataError, match="no domain 'Bald'") as caught:
        data.domain("train", "Bald")
    assert "Smiling, Male" in caught.value.fix


def test_archive_gives_the_same_bytes_and_is_not_unpacked(drawn, source, tmp_path):
    zipped(source)
    data = opened(tmp_path / "root", source, attributes=["Male"])
    assert not list(tmp_path.rglob("*.jpg"))
    folder = opened(tmp_path / "other", drawn[0], attributes=["Male"])
    for split in data.splits:
        assert torch.equal(data.real(split).image, folder.real(split).image)
        assert torch.equal(data.labels(split), folder.labels(split))


@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_many_are_decoded_by_several_processes(drawn, source, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(pictures, "CHUNK", 2)
    monkeypatch.setattr(pictures, "_cores", lambda: 2)
    if kind == "archive":
        zipped(source)
    data = opened(tmp_path, source)
    monkeypatch.setattr(pictures, "_cores", lambda: 1)
    assert torch.equal(
        data.real("test").image, opened(tmp_path / "other", drawn[0]).real("test").image
    )


def member(archive, name, data, **facts):
    info = zipfile.ZipInfo(name)
    info.compress_type = zipfile.ZIP_DEFLATED
    for key, value in facts.items():
        setattr(info, key, value)
    archive.writestr(info, data)


def test_hostile_archive(source, tmp_path):
    """Members that climb, bombs, lies and links are bad pictures at most; nothing is written."""
    file = zipped(source)
    with zipfile.ZipFile(file) as archive:
        kept = {info.filename: archive.read(info) for info in archive.infolist()}
    secret = tmp_path / "secret.jpg"
    Image.new("RGB", (178, 218), "red").save(secret)
    names = sorted(kept)
    with zipfile.ZipFile(file, "w") as archive:
        member(archive, "../outside.jpg", kept[names[0]])
        member(archive, f"{tmp_path}/absolute.jpg", kept[names[0]])
        member(archive, "img_align_celeba/../../climbs.jpg", kept[names[0]])
        member(archive, names[0], bytes(40 * 2**20))  # A bomb: 40 MB of nothing.
        member(archive, names[1], str(secret), external_attr=0o120777 << 16)  # A link.
        member(archive, names[2], kept[names[2]][:2000])
        for name in names[3:]:
            member(archive, name, kept[name])
    with zipfile.ZipFile(file) as archive:
        start = archive.getinfo(names[5]).header_offset
    data = bytearray(file.read_bytes())
    data[start + 300] ^= 0xFF
    file.write_bytes(data)
    lists = (source / "list_eval_partition.txt").read_text()
    (source / "list_eval_partition.txt").write_text(f"{lists}../../climbs.jpg 0\n")
    attributes = (source / "list_attr_celeba.txt").read_text()
    extra = "../../climbs.jpg" + " -1" * 40
    (source / "list_attr_celeba.txt").write_text(attributes.replace(f"{N}\n", f"{N + 1}\n") + extra)
    before = set(tmp_path.rglob("*"))
    found = opened(tmp_path / "root", source, on_error="skip")
    said = {name.rpartition("/")[2]: why for name, why in note(found)["skipped"].items()}
    assert set(said) == {f"{i:06}.jpg" for i in (1, 2, 3, 6)}
    assert "41,943,040 bytes" in said["000001.jpg"] and "no picture" in said["000002.jpg"]
    assert found.size("train") == 12 + 1 - 4  # What climbs is a picture like any other, read there.
    written = {p for p in set(tmp_path.rglob("*")) - before if p.suffix == ".jpg"}
    assert not written


def test_a_member_that_lies_of_its_size_is_read_no_further(source, tmp_path):
    file = zipped(source)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        member(archive, "img_align_celeba/000001.jpg", bytes(10**6))
        stored = archive.getinfo("img_align_celeba/000001.jpg")
        stored.file_size = 50  # What the table at the end of the archive will say.
    bomb = pictures.Member(file, "img_align_celeba/000001.jpg")
    with pytest.raises(pictures.BadPicture):
        pictures.decode(bomb, pictures.CentreCrop(3, 8, "convert", "center_crop", 8))
    pictures._archive.cache_clear()


def test_not_an_archive(source, tmp_path):
    zipped(source).write_bytes(b"PK\x03\x04 no archive at all")
    with pytest.raises(DataError, match="not a whole zip file") as caught:
        opened(tmp_path / "root", source)
    assert caught.value.where == source / "img_align_celeba.zip"
    assert not list((tmp_path / "root").glob("celeba/arrays*"))


def test_bad_files_are_named_and_skipped_up_to_a_number(source, tmp_path):
    folder = source / "img_align_celeba"
    (folder / "000002.jpg").write_bytes(b"no")
    (folder / "000003.jpg").unlink()
    os.truncate(folder / "000013.jpg", 1500)
    Image.new("RGB", (100, 218)).save(folder / "000020.jpg")
    (folder / "notes.txt").write_text("x")
    shutil.copy(folder / "000001.jpg", folder / "999999.jpg")
    with pytest.raises(DataError) as caught:
        opened(tmp_path, source)
    assert caught.value.where == str(folder / "000003.jpg")
    assert "000003.jpg is not there" in str(caught.value)
    with pytest.raises(DataError, match=r"data.max_skipped=3"):
        opened(tmp_path, source, on_error="skip", max_skipped=3)
    data = opened(tmp_path, source, attributes=NAMES, on_error="skip")
    said = note(data)["skipped"]
    assert [name.rpartition("/")[2] for name in sorted(said)] == [
        f"{i:06}.jpg" for i in (2, 3, 13, 20)
    ]
    assert "less than data.crop=148" in said[str(folder / "000020.jpg")]
    assert note(data)["ignored"] == 2
    assert [data.size(s) for s in data.splits] == [10, 3, 3]
    with pytest.raises(DataError):  # The same arrays, for one who does not skip.
        opened(tmp_path, source)


def test_skipped_pictures_take_their_labels_along(drawn, source, tmp_path):
    (source / "img_align_celeba" / "000002.jpg").write_bytes(b"no")
    data = opened(tmp_path, source, attributes=NAMES, on_error="skip", train_on="all")
    kept = [i for i in range(N) if i != 1]
    assert (data.labels("train").numpy() == drawn[1][kept]).all()


def test_links_out_of_the_folder_are_refused(source, tmp_path):
    secret = tmp_path / "secret.jpg"
    Image.new("RGB", (178, 218), "red").save(secret)
    link = source / "img_align_celeba" / "000004.jpg"
    link.unlink()
    link.symlink_to(secret)
    with pytest.raises(DataError, match=r"000004.jpg is a link that leaves the folder"):
        opened(tmp_path, source)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("list_eval_partition.txt", "000001.jpg 3\n", "line 1 is '000001.jpg 3'"),
        ("list_eval_partition.txt", "000001.jpg 0\n000001.jpg 1\n", "line 2"),
        ("list_eval_partition.txt", "000001.jpg 1\n", "no picture is of the training split"),
        ("list_eval_partition.txt", "000001.jpg 0\nb.jpg 0\n", "1 pictures have no attributes: b"),
        ("list_eval_partition.txt", "", "it is empty"),
        ("list_eval_partition.txt", "\x00\xff", "it cannot be read"),
        ("list_attr_celeba.txt", "2\nA B\nx.jpg 1 -1\n", "its first line is '2', and 1 lines"),
        ("list_attr_celeba.txt", "1\nA B\nx.jpg 1 0\n", "line 3 is 'x.jpg 1 0'"),
        ("list_attr_celeba.txt", "1\nA B\nx.jpg 1\n", "line 3"),
        ("list_attr_celeba.txt", "1\nA A\nx.jpg 1 1\n", "named twice"),
        ("list_attr_celeba.txt", "7", "its first line is '7'"),
    ],
)
def test_lists_that_say_something_else(source, tmp_path, name, text, said):
    (source / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError) as caught:
        opened(tmp_path, source)
    assert said in str(caught.value)
    assert not list(tmp_path.glob("celeba/arrays*"))


def test_unknown_attributes_are_refused_before_decoding(drawn, tmp_path, monkeypatch):
    monkeypatch.setattr("lightning_gen.data.celeba.write_pictures", None)
    with pytest.raises(DataError, match="no attribute 'Smilling'") as caught:
        opened(tmp_path, drawn[0], attributes=["Smilling"])
    assert "Smiling" in caught.value.fix


def test_missing_files_say_what_to_put_where(source, tmp_path):
    (source / "list_attr_celeba.txt").unlink()
    shutil.rmtree(source / "img_align_celeba")
    with pytest.raises(DataError, match="no way out") as caught:
        opened(tmp_path, source)
    assert "lacks list_attr_celeba.txt, img_align_celeba (or img_align_celeba.zip)" in str(
        caught.value
    )
    assert caught.value.where == source and str(source) in caught.value.fix
    assert "mmlab.ie.cuhk.edu.hk" in caught.value.fix


def test_download_takes_what_is_needed(source, tmp_path, monkeypatch):
    """Torchvision's identifiers and checksums, three of its six files, read in the cache."""
    zipped(source)
    asked = {}

    def deliver(file_id, root, name, checksum):
        asked[name] = checksum
        root.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / name, root / name)

    monkeypatch.setattr(utils, "download_file_from_google_drive", deliver)
    data = opened(tmp_path, tmp_path / "nothing")
    assert data.size("train") == 12
    known = {name: checksum for _, checksum, name in TorchvisionCelebA.file_list}
    assert asked == {name: known[name] for name in asked} and len(asked) == 3
    assert all(len(checksum) == len(md5(b"").hexdigest()) for checksum in asked.values())
    asked.clear()
    opened(tmp_path, tmp_path / "nothing")
    assert not asked


def test_arrays_follow_the_files_and_outlive_them(source, tmp_path):
    first = opened(tmp_path, source)
    has = np.zeros((N, 40), bool)
    write_lists(source, has, (0.5, 0.25, 0.25))
    second = opened(tmp_path, source)
    assert second.size("train") == 10 and second.fingerprint != first.fingerprint
    shutil.rmtree(source)
    assert opened(tmp_path, source).fingerprint == second.fingerprint
    assert not (tmp_path / "cache").exists()


def test_two_domains_are_rows_of_the_same_arrays(drawn, tmp_path):
    folder, has = drawn
    data = opened(tmp_path, folder, CelebADomains, a="Smiling", b="not Smiling")
    faces = opened(tmp_path, folder)
    assert data.splits == ("train_a", "train_b", "test_a", "test_b")
    assert not list(tmp_path.glob("celeba_domains/*/*image*"))
    for part, rows in (("train", range(12)), ("test", range(16, 20))):
        image = faces.real(part).image
        for domain, value in (("a", True), ("b", False)):
            chosen = [i - rows[0] for i in rows if has[i, SMILING] == value]
            assert torch.equal(data.real(f"{part}_{domain}").image, image[chosen])
    assert data.domain("test", "b", inside=False)[0] == "test_a"
    resident = data._set("train_b").to(torch.device("cpu")).gather(torch.tensor([1]))
    assert torch.equal(data.decode(resident.image), data.real("train_b", [1]).image)
    other = opened(tmp_path, folder, CelebADomains, a="Male", b="-Male")
    assert other.fingerprint != data.fingerprint


def test_domains_that_are_empty_or_one(drawn, tmp_path):
    with pytest.raises(DataError, match="would be one domain"):
        opened(tmp_path, drawn[0], CelebADomains, a="not Male", b="-Male")
    with pytest.raises(DataError, match="no image of split train is 'Bald'") as caught:
        opened(tmp_path, drawn[0], CelebADomains, a="Bald", b="not Bald")
    assert caught.value.where == "data.a"
    with pytest.raises(DataError, match="no attribute 'Smile'"):
        opened(tmp_path, drawn[0], CelebADomains, a="Smile", b="Male")


@pytest.mark.parametrize("name", ["celeba", "celeba_domains"])
def test_configuration(drawn, tmp_path, name):
    words = [f"paths.data={tmp_path}", f"data.folder={drawn[0]}", "data.resolution=32"]
    data = instantiate(compose_data(name, words))
    data.prepare_data()
    data.setup()
    assert data.real(data.splits[0]).image.shape[1:] == data.shape == (3, 32, 32)
    with pytest.raises(ConfigErrors, match=r"data\.crop"):
        compose_data(name, [*words, "data.crop=0"])
