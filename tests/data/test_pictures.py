import pytest
import torch

from lightning_gen.data import pictures
from lightning_gen.data.pictures import decode
from lightning_gen.errors import DataError
from tests.data.drawn import COLOUR, RGB, draw, flat, meta, opened


def test_content_not_name_decides_the_format(tmp_path):
    draw(tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert flat(decode(tmp_path / "a.jpg", RGB)) == COLOUR


def test_suffixes():
    assert {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tiff", ".gif"} <= set(pictures.formats())
    assert not {".eps", ".ps", ".h5", ".pdf", ".txt"} & set(pictures.formats())


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    return folder


def test_classes_and_split_folders(tmp_path, source):
    for split, n in (("train", 3), ("test", 2)):
        for at, name in enumerate(("cat", "dog")):
            for k in range(n):
                draw(source / split / name / f"{k}.png", colour=(10 * at, k, n))
    data = opened(tmp_path, source, num_classes=2)
    assert data.splits == ("train", "test")
    assert data.labels("train").tolist() == [0, 0, 0, 1, 1, 1]
    assert data.labels("test").tolist() == [0, 0, 1, 1]
    image, label = data.real("train")
    assert torch.equal(((image[:, 0, 0, 0] + 1) * 127.5).round().long(), 10 * label)
    assert meta(data)["note"]["classes"] == ["cat", "dog"]
    unlabelled = opened(tmp_path, source)
    assert unlabelled.labels("train") is None and unlabelled.real("test").label is None
    with pytest.raises(DataError, match=r"data.num_classes is 3, not 2"):
        opened(tmp_path, source, num_classes=3)
    draw(source / "stray.png")
    with pytest.raises(DataError, match=r"1 pictures lie neither in train nor in test: stray.png"):
        opened(tmp_path, source, num_classes=2)


def test_seeded_split(tmp_path, source):
    for k in range(40):
        draw(source / f"{k:02}.png", colour=(k, 0, 0))

    def split(**options):
        data = opened(tmp_path, source, test_fraction=0.25, **options)
        parts = [data.real(s).image[:, 0, 0, 0].add(1).mul(127.5).round() for s in data.splits]
        return [part.int().tolist() for part in parts]

    train, test = split()
    assert len(test) == 10 and sorted(train + test) == list(range(40))
    assert split() == [train, test] and split(split_seed=1) != [train, test]
    assert opened(tmp_path, source, test_fraction=0).splits == ("train",)


def test_prepared_arrays_do_without_the_folder(tmp_path, source):
    draw(source / "a.png")
    before = opened(tmp_path, source)
    source.rename(tmp_path / "elsewhere")
    assert opened(tmp_path, source).fingerprint == before.fingerprint


def test_many_pictures_are_decoded_in_order_by_several_processes(tmp_path, source, monkeypatch):
    monkeypatch.setattr(pictures, "CHUNK", 4)
    monkeypatch.setattr(pictures, "_cores", lambda: 2)
    for k in range(60):
        draw(source / f"{k:02}.png", colour=(k, 0, 0))
    (source / "07.png").write_bytes(b"no")
    data = opened(tmp_path, source, test_fraction=0, on_error="skip")
    seen = data.real("train").image[:, 0, 0, 0].add(1).mul(127.5).round().int().tolist()
    assert seen == [k for k in range(60) if k != 7]
    assert list(meta(data)["note"]["skipped"]) == [str(source / "07.png")]
