"""Pictures in pairs: two in a file, or two files of one name."""

import json
import os

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_gen.data import pictures
from lightning_gen.data.paired import PairedFolders
from lightning_gen.errors import DataError
from tests.data.trained import batches, joined, levels

LEFT, RIGHT = (200, 100, 50), (10, 20, 30)


def side_by_side(path, number, width=16, height=8):
    """Left half of one colour and right half of another, both with the number in blue."""
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[:, : width // 2], pixels[:, width // 2 :] = LEFT, RIGHT
    pixels[..., 2] = number
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def partners(root, names, size=(8, 8), size_b=None):
    """Files of one name in two folders."""
    for k, name in enumerate(names):
        for domain, (red, green, _), side in (("a", LEFT, size), ("b", RIGHT, size_b or size)):
            path = root / domain / name
            path = path.with_suffix(".bmp") if domain in "b" else path
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", side, (red, green, k)).save(path)
    return {"a": str(root / "a"), "b": str(root / "b")}


def opened(root, **options):
    options = {"batch_size": 2, "name": "paired", "resolution": 8} | options
    data = PairedFolders(str(root), str(root), **options)
    data.prepare_data()
    data.setup()
    return data


def colours(data, split):
    """Red and green of a split that has only one, and the numbers of its images."""
    image = levels(data.real(split).image)
    assert (image == image[:, :, :1, :1]).all()
    assert (image[:, :2] == image[:1, :2]).all()
    return image[0, :2, 0, 0].tolist(), image[:, 2, 0, 0].tolist()


@pytest.fixture
def facades(tmp_path):
    for split, n in (("train", 5), ("val", 3), ("test", 2)):
        for k in range(n):
            side_by_side(tmp_path / "facades" / split / f"{k}.png", 10 * n + k)
    return tmp_path / "facades"


def test_halves_are_the_domains_by_direction(tmp_path, facades):
    there = opened(tmp_path, folder=str(facades))
    back = opened(tmp_path, folder=str(facades), direction="BtoA")
    assert there.splits == ("train_a", "train_b", "valid_a", "valid_b", "test_a", "test_b")
    for split, n in (("train", 5), ("valid", 3), ("test", 2)):
        numbers = [10 * n + k for k in range(n)]
        assert colours(there, f"{split}_a") == colours(back, f"{split}_b") == ([200, 100], numbers)
        assert colours(there, f"{split}_b") == colours(back, f"{split}_a") == ([10, 20], numbers)


def test_val_is_the_test_split_where_there_is_no_other(tmp_path, facades):
    (facades / "test").rename(tmp_path / "gone")
    data = opened(tmp_path, folder=str(facades))
    assert data.splits == ("train_a", "train_b", "test_a", "test_b") and data.size("test_b") == 3


def test_pairs_without_folders_of_splits_are_divided_together(tmp_path):
    for k in range(20):
        side_by_side(tmp_path / "p" / f"{k:02}.png", k)
    data = opened(tmp_path, folder=str(tmp_path / "p"), test_fraction=0.25)
    for split, n in (("train", 15), ("test", 5)):
        numbers = colours(data, f"{split}_a")[1]
        assert numbers == colours(data, f"{split}_b")[1] and len(numbers) == n


@pytest.mark.parametrize("augment", [{}, {"flip": True, "shift": 2}])
def test_a_batch_holds_partners(tmp_path, facades, augment):
    seen = joined(batches(opened(tmp_path, folder=str(facades), **augment), stop=10))
    assert torch.equal(seen.a[:, 2], seen.b[:, 2])
    assert set(levels(seen.a)[:, 0].flatten().tolist()) == {200}
    assert set(levels(seen.b)[:, 0].flatten().tolist()) == {10}


def test_files_of_one_name_are_partners(tmp_path):
    names = [f"{split}/deep/{k}.png" for split in ("train", "test") for k in range(3)]
    two = partners(tmp_path, names)
    data = opened(tmp_path, **two)
    assert colours(data, "train_a") == ([200, 100], [0, 1, 2])
    assert colours(data, "test_b") == ([10, 20], [3, 4, 5])
    back = opened(tmp_path, direction="BtoA", **two)
    assert colours(back, "test_a") == colours(data, "test_b")


def test_domains_may_differ_in_channels_and_size(tmp_path):
    names = [f"{k:02}.png" for k in range(10)]
    two = partners(tmp_path, names, size=(4, 4), size_b=(16, 16))
    data = opened(tmp_path, **two, channels_a=1, resolution_a=2)
    assert data.shape_a == data.real("train_a").image.shape[1:] == (1, 2, 2)
    assert data.real("train_b").image.shape[1:] == (3, 8, 8)
    with pytest.raises(DataError, match=r"00\.png is 4 x 4, its partner .*00\.bmp is 16 x 16"):
        opened(tmp_path, **two)


def skipped(data):
    return json.loads((data.folder / "meta.json").read_text())["note"]["skipped"]


def test_bad_pairs_stop_by_name_or_are_skipped_and_listed(tmp_path):
    two = partners(tmp_path, [f"{k:02}.png" for k in range(20)])
    (tmp_path / "a" / "03.png").unlink()
    (tmp_path / "b" / "07.bmp").unlink()
    Image.new("RGB", (8, 6)).save(tmp_path / "b" / "11.bmp")
    (tmp_path / "b" / "15.bmp").write_text("no picture")
    (tmp_path / "a" / "16.png").write_text("no picture")
    Image.new("RGB", (8, 8)).save(tmp_path / "a" / "18.gif")
    with pytest.raises(DataError) as caught:
        opened(tmp_path, **two)
    assert caught.value.fix == "data.on_error=skip"
    data = opened(tmp_path, **two, on_error="skip", test_fraction=0)
    said = {path.removeprefix(f"{tmp_path}/"): why for path, why in skipped(data).items()}
    assert set(said) == {
        "b/03.bmp", "a/07.png", "a/11.png", "a/15.png", "a/16.png",
        "a/18.png", "a/18.gif", "b/18.bmp",
    }  # fmt: skip
    assert said["b/03.bmp"] == f"has no partner in {tmp_path / 'a'}"
    assert said["a/11.png"] == f"is 8 x 8, its partner {tmp_path / 'b/11.bmp'} is 8 x 6"
    assert said["a/15.png"].startswith(f"has a partner, {tmp_path / 'b/15.bmp'}, that cannot be")
    assert said["a/16.png"].startswith("is no picture")
    assert said["a/18.gif"] == said["a/18.png"] == "has a namesake of another suffix"
    numbers = [k for k in range(20) if k not in (3, 7, 11, 15, 16, 18)]
    assert colours(data, "train_a")[1] == colours(data, "train_b")[1] == numbers


@pytest.mark.parametrize("missing", ["a/00.png", "b/00.bmp"])
def test_missing_partner_is_named(tmp_path, missing):
    two = partners(tmp_path, ["00.png", "01.png"])
    (tmp_path / missing).unlink()
    alone = tmp_path / ({"a": "b/00.bmp", "b": "a/00.png"}[missing[0]])
    with pytest.raises(DataError, match=f"{alone.name} has no partner in") as caught:
        opened(tmp_path, **two)
    assert caught.value.where == str(alone)


def test_odd_width_and_hostile_files_are_named(tmp_path, facades):
    odd = side_by_side(facades / "train" / "odd.png", 0, width=15)
    with pytest.raises(DataError, match=r"odd\.png is 15 x 8: an odd width has no halves"):
        opened(tmp_path, folder=str(facades))
    cut = side_by_side(facades / "test" / "cut.jpg", 0, width=200, height=100)
    os.truncate(cut, cut.stat().st_size // 2)
    data = opened(tmp_path, folder=str(facades), on_error="skip")
    assert set(skipped(data)) == {str(odd), str(cut)} and data.size("train_b") == 5


def test_no_partners_at_all(tmp_path):
    for domain, name in (("a", "x.png"), ("b", "y.png")):
        (tmp_path / domain).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / domain / name)
    two = {"a": str(tmp_path / "a"), "b": str(tmp_path / "b")}
    with pytest.raises(DataError, match="no two files are partners"):
        opened(tmp_path, **two, on_error="skip")


def test_prepared_arrays_do_without_the_folder(tmp_path, facades):
    before = opened(tmp_path, folder=str(facades))
    facades.rename(tmp_path / "elsewhere")
    assert opened(tmp_path, folder=str(facades)).fingerprint == before.fingerprint
    with pytest.raises(DataError, match="there is no such folder"):
        opened(tmp_path, folder=str(facades), resolution=4)


def test_many_pairs_are_decoded_in_order_by_several_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "CHUNK", 4)
    monkeypatch.setattr(pictures, "_cores", lambda: 2)
    two = partners(tmp_path, [f"{k:02}.png" for k in range(40)])
    (tmp_path / "b" / "07.bmp").write_text("no picture")
    data = opened(tmp_path, **two, on_error="skip", test_fraction=0)
    numbers = [k for k in range(40) if k != 7]
    assert colours(data, "train_a")[1] == colours(data, "train_b")[1] == numbers
