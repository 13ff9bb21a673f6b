"""Folders of two domains, and classes of a labelled set as domains."""

import json
import os

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_gen.cli.prepare import main
from lightning_gen.data.module import DataModule, ImageSet
from lightning_gen.data.unpaired import UnpairedFolders
from lightning_gen.data.unpaired_classes import UnpairedClasses
from lightning_gen.errors import DataError
from tests.data.trained import batches, joined, levels


def draw(path, colour, size=(8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def horses_and_zebras(folder, counts=(("trainA", 5), ("trainB", 9), ("testA", 2), ("testB", 3))):
    """Pictures that are red by their folder and green by their number."""
    for place, (end, n) in enumerate(counts):
        for k in range(n):
            draw(folder / end / f"{k}.png", (10 * place, k, 0))
    return folder


def opened(root, **options):
    options = {"batch_size": 2, "name": "unpaired", "resolution": 8} | options
    data = UnpairedFolders(str(root), str(root), **options)
    data.prepare_data()
    data.setup()
    return data


def colours(data, split):
    return levels(data.real(split).image)[:, :2, 0, 0].tolist()


def test_layout_of_cyclegan(tmp_path):
    data = opened(tmp_path, folder=str(horses_and_zebras(tmp_path / "h2z")))
    assert data.splits == ("train_a", "train_b", "test_a", "test_b")
    sizes = {"train_a": 5, "train_b": 9, "test_a": 2, "test_b": 3}
    for place, (split, n) in enumerate(sizes.items()):
        assert colours(data, split) == [[10 * place, k] for k in range(n)]
    seen = joined(batches(data, stop=45))
    for images, first, n in ((seen.a, 0, 5), (seen.b, 10, 9)):
        red, green = levels(images)[:, 0, 0, 0], levels(images)[:, 1, 0, 0]
        assert (red == first).all()
        assert (green.view(-1, n).sort(1).values == torch.arange(n)).all()
    assert seen.label_a is None and data.num_classes is None and data.labels("test_a") is None


def test_any_two_folders(tmp_path):
    for domain, n in (("x", 40), ("y", 20)):
        for k in range(n):
            draw(tmp_path / domain / f"{k:02}.png", (n, k, 0))
    data = opened(tmp_path, a=str(tmp_path / "x"), b=str(tmp_path / "y"), test_fraction=0.25)
    assert [data.size(split) for split in data.splits] == [30, 15, 10, 5]
    for domain, n in (("a", 40), ("b", 20)):
        both = colours(data, f"train_{domain}") + colours(data, f"test_{domain}")
        assert sorted(both) == [[n, k] for k in range(n)]
    other = opened(tmp_path, a=str(tmp_path / "y"), b=str(tmp_path / "x"), test_fraction=0.25)
    assert colours(other, "test_b") == colours(data, "test_a")
    none = opened(tmp_path, a=str(tmp_path / "x"), b=str(tmp_path / "y"), test_fraction=0)
    assert none.splits == ("train_a", "train_b")


def test_folders_of_splits(tmp_path):
    for domain in "ab":
        for split, n in (("train", 3), ("test", 2)):
            for k in range(n):
                draw(tmp_path / domain / split / f"{k}.png", (k, n, 0))
    data = opened(tmp_path, a=str(tmp_path / "a"), b=str(tmp_path / "b"))
    assert colours(data, "test_b") == [[0, 2], [1, 2]] and data.size("train_a") == 3


def test_domains_may_differ_in_channels_and_size(tmp_path):
    source = horses_and_zebras(tmp_path / "h2z")
    data = opened(tmp_path, folder=str(source), channels_a=1, resolution_a=4, resolution=6)
    assert data.shape_a == data.real("train_a").image.shape[1:] == (1, 4, 4)
    assert data.shape == data.real("train_b").image.shape[1:] == (3, 6, 6)


def test_what_is_missing_is_named(tmp_path):
    source = tmp_path / "h2z"
    horses_and_zebras(source, [("trainA", 2), ("trainB", 2), ("testA", 1)])
    with pytest.raises(DataError, match="there is no such folder") as caught:
        opened(tmp_path, folder=str(source))
    assert caught.value.where == source / "testB"
    (source / "testB").mkdir()
    (source / "testB" / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=r"no pictures in the folder \(1 ignored") as caught:
        opened(tmp_path, folder=str(source))
    assert caught.value.where == source / "testB"
    with pytest.raises(DataError, match="there is no such folder") as caught:
        opened(tmp_path, a=str(source), b=str(tmp_path / "nothing"))
    assert caught.value.fix == "data.b=YOUR_PICTURES"
    with pytest.raises(DataError, match="domain b has no test picture of 2, domain a has 2"):
        two = {"a": str(source / "trainA"), "b": str(source / "trainB")}
        for k in range(20):
            draw(source / "trainA" / f"more{k}.png", (0, 0, 0))
        opened(tmp_path, **two)
    for said in ({}, {"a": "x"}, {"folder": "x", "b": "y"}, {"folder": "x", "a": "y", "b": "z"}):
        with pytest.raises(DataError, match=r"both domains lie in data.folder, or one each"):
            opened(tmp_path, **said)
    assert not (tmp_path / "unpaired").exists() or not list(tmp_path.glob("unpaired/arrays*"))


def test_bad_pictures_stop_by_name_or_are_skipped_and_listed(tmp_path):
    source = horses_and_zebras(tmp_path / "h2z")
    noise = np.random.RandomState(0).randint(256, size=(64, 64, 3)).astype(np.uint8)
    cut = source / "trainB" / "3.jpg"
    Image.fromarray(noise).save(cut)
    os.truncate(cut, cut.stat().st_size // 2)
    with pytest.raises(DataError, match=r"3\.jpg .*truncated") as caught:
        opened(tmp_path, folder=str(source))
    assert caught.value.where == str(cut) and caught.value.fix == "data.on_error=skip"
    (source / "trainA" / "out.png").symlink_to(draw(tmp_path / "secret.png", (0, 0, 0)))
    (source / "testA" / "text.png").write_text("no picture")
    data = opened(tmp_path, folder=str(source), on_error="skip")
    note = json.loads((data.folder / "meta.json").read_text())["note"]
    bad = {str(cut), str(source / "trainA" / "out.png"), str(source / "testA" / "text.png")}
    assert set(note["skipped"]) == bad
    assert [data.size(split) for split in data.splits] == [5, 9, 2, 3]
    assert colours(data, "train_b") == [[10, k] for k in range(9)]
    with pytest.raises(DataError, match=r"3 bad files, data.max_skipped=2"):
        opened(tmp_path, folder=str(source), on_error="skip", max_skipped=2)


def test_arrays_follow_the_folders_and_do_without_them(tmp_path):
    source = horses_and_zebras(tmp_path / "h2z")
    before = opened(tmp_path, folder=str(source))
    stamp = (before.folder / "meta.json").stat().st_mtime_ns
    assert (opened(tmp_path, folder=str(source)).folder / "meta.json").stat().st_mtime_ns == stamp
    draw(source / "testB" / "9.png", (0, 0, 0))
    after = opened(tmp_path, folder=str(source))
    assert after.size("test_b") == 4 and after.fingerprint != before.fingerprint
    source.rename(tmp_path / "elsewhere")
    assert opened(tmp_path, folder=str(source)).fingerprint == after.fingerprint


def test_prepare_verb(tmp_path, capsys):
    source = horses_and_zebras(tmp_path / "h2z")
    words = [f"data.folder={source}", "data.resolution=8", f"paths.data={tmp_path}"]
    assert main(["unpaired", *words, "verify=true"]) == 0
    said = capsys.readouterr().out
    assert "train_b     9 samples" in said and "every byte verified" in said


class Numbered(DataModule):
    """Images whose bytes are their numbers and whose labels are their last digits."""

    def __init__(self, root, members=False):
        shape = (2, 2, 2)
        super().__init__(
            str(root), str(root), batch_size=1, name="numbered", shape=shape, num_classes=10
        )
        self.members = members

    def write(self, writer):
        image = np.broadcast_to(np.arange(50)[:, None, None, None], (50, *self.shape))
        writer.save("image", image.astype(np.uint8))
        return "counted"

    def open(self, prepared):
        image, label = prepared.array("image"), np.arange(50) % 10
        if self.members:  # As stacked digits are: channels picked from single ones.
            rows = np.arange(100).reshape(50, 2)
            return {"train": ImageSet(image.reshape(100, 2, 2), label, rows)}
        return {"train": ImageSet(image[:40], label[:40]), "test": ImageSet(image[40:], label[40:])}


def of_classes(source, **options):
    options = {"a": [0, 1, 2], "b": [7], "num_classes": 10} | options
    family = {"batch_size": 2, "name": "classes", "channels": 2, "resolution": 2}
    data = UnpairedClasses(source, **family | options)
    data.prepare_data()
    data.setup()
    return data


def test_classes_as_domains(tmp_path):
    data = of_classes(Numbered(tmp_path))
    assert data.splits == ("train_a", "train_b", "test_a", "test_b")
    image, label = data.real("train_a")
    number = levels(image)[:, 0, 0, 0]
    assert number.tolist() == [0, 1, 2, 10, 11, 12, 20, 21, 22, 30, 31, 32]
    assert torch.equal(label, number % 10) and torch.equal(label, data.labels("train_a"))
    assert levels(data.real("test_b").image)[:, 0, 0, 0].tolist() == [47]
    kept = of_classes(Numbered(tmp_path))
    kept.resident = True
    for one in (data, kept):
        seen = joined(batches(one, stop=12))
        assert set(seen.label_a.tolist()) == {0, 1, 2} and set(seen.label_b.tolist()) == {7}
        assert torch.equal(levels(seen.a)[:, 0, 0, 0] % 10, seen.label_a)
    assert of_classes(Numbered(tmp_path), b=[8]).fingerprint != data.fingerprint
    assert of_classes(Numbered(tmp_path)).fingerprint == data.fingerprint


def test_classes_of_a_set_whose_channels_are_picked(tmp_path):
    whole = of_classes(Numbered(tmp_path, members=True))
    assert torch.equal(levels(whole.real("train_b").image)[:, 1, 0, 0], torch.arange(7, 50, 10))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"a": []}, r"data.a is \[\], and numbered has 10 classes"),
        ({"b": [10]}, r"data.b is \[10\], and numbered has 10 classes"),
        ({"b": [1, 7, 2]}, r"classes \[1, 2\] are in both domains"),
        ({"num_classes": 9}, "data.num_classes is 9, not 10"),
        ({"channels": 1}, "data.channels is 1, not 2"),
        ({"resolution_a": 4}, "data.resolution_a is 4, not 2"),
    ],
)
def test_wrong_classes_are_refused(tmp_path, options, said):
    with pytest.raises(DataError, match=said):
        of_classes(Numbered(tmp_path), **options)


def test_augmentation_of_the_source_is_refused(tmp_path):
    source = Numbered(tmp_path)
    source.flip = True
    with pytest.raises(DataError, match=r"data.source.flip has no effect") as caught:
        of_classes(source)
    assert caught.value.fix == "data.flip=true"
    pairs = of_classes(Numbered(tmp_path))
    with pytest.raises(DataError, match="single images, which classes does not give"):
        of_classes(pairs)
