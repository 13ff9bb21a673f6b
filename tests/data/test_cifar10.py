"""CIFAR-10 read from files drawn here in the layout of the real ones."""

import hashlib
import io
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
import torchvision.datasets

from lightning_gen.data import cifar10 as module
from lightning_gen.data.cifar10 import ARCHIVE, CIFAR10, FILES, FOLDER
from lightning_gen.errors import DataError

ROWS = 6
NAMES = [name for names in FILES.values() for name in names]


def drawn():
    """Six files: the class, then red, green and blue, each row by row."""
    draw = np.random.RandomState(0)
    made = {}
    for name in NAMES:
        label = draw.randint(10, size=ROWS)
        image = draw.randint(256, size=(ROWS, 3, 32, 32))
        body = b"".join(bytes([c, *x.flatten()]) for c, x in zip(label, image, strict=True))
        made[name] = (body, label, image)
    return made


@pytest.fixture
def files(monkeypatch):
    monkeypatch.setattr(module, "ROWS", ROWS)
    return drawn()


def archive(files, leave_out=()):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as packed:
        for name, (body, _, _) in files.items():
            if name not in leave_out:
                entry = tarfile.TarInfo(f"{FOLDER}/{name}")
                entry.size = len(body)
                packed.addfile(entry, io.BytesIO(body))
    return stream.getvalue()


def opened(root):
    data = CIFAR10(str(root), str(root / "cache"), batch_size=4)
    data.prepare_data()
    data.setup()
    return data


def put(root, files, altered=None):
    (root / FOLDER).mkdir()
    for name, (body, _, _) in files.items():
        (root / FOLDER / name).write_bytes((altered or {}).get(name, body))


def test_images_and_classes_are_those_of_the_records(tmp_path, files):
    put(tmp_path, files)
    data = opened(tmp_path)
    assert [data.size(s) for s in data.splits] == [5 * ROWS, ROWS]
    for split, names in FILES.items():
        image, label = data.real(split)
        true = np.concatenate([files[n][2] for n in names])
        np.testing.assert_allclose((image.numpy() + 1) * 127.5, true, atol=1e-4)
        assert label.tolist() == np.concatenate([files[n][1] for n in names]).tolist()
    assert data.shape == (3, 32, 32) and image.abs().max() <= 1


def test_the_archive_gives_the_same_arrays(tmp_path, files, monkeypatch):
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    put(first, files)
    (second / ARCHIVE).write_bytes(archive(files))
    monkeypatch.setattr(
        module, "SHA256", hashlib.sha256((second / ARCHIVE).read_bytes()).hexdigest()
    )
    assert opened(first).fingerprint == opened(second).fingerprint


def test_an_archive_with_another_hash_is_refused_unread(tmp_path, files):
    (tmp_path / ARCHIVE).write_bytes(archive(files))
    with pytest.raises(DataError, match=f"expected {module.SHA256}"):
        opened(tmp_path)
    assert not (tmp_path / "cifar10" / "arrays").exists()


def test_an_archive_without_a_file_is_refused(tmp_path, files, monkeypatch):
    whole = archive(files, leave_out=[NAMES[-1]])
    (tmp_path / ARCHIVE).write_bytes(whole)
    monkeypatch.setattr(module, "SHA256", hashlib.sha256(whole).hexdigest())
    with pytest.raises(DataError, match="not the archive it should be"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda body: body[:-1], "bytes, not"),
        (lambda body: body + b"\0", "bytes, not"),
        (lambda body: b"\x0a" + body[1:], "it names class 10 of 0 to 9"),
    ],
)
def test_damaged_records_are_refused_by_name(tmp_path, files, change, said):
    name = "data_batch_3.bin"
    put(tmp_path, files, {name: change(files[name][0])})
    with pytest.raises(DataError, match=said) as caught:
        opened(tmp_path)
    assert name in str(caught.value.where)


@pytest.fixture
def server(monkeypatch):
    """A server of one body, in the place of torchvision's."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.server.body)

        def log_message(self, *args):
            pass

    made = HTTPServer(("127.0.0.1", 0), Answer)
    made.asked, made.body = [], b""
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{made.server_port}/kept/cifar-10-python.tar.gz"
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "url", url)
    yield made
    made.shutdown()
    made.server_close()


def test_it_is_downloaded_once_and_checked(tmp_path, files, server, monkeypatch):
    server.body = archive(files)
    monkeypatch.setattr(module, "SHA256", hashlib.sha256(server.body).hexdigest())
    opened(tmp_path)
    CIFAR10(str(tmp_path), str(tmp_path / "cache"), batch_size=4).prepare_data(fresh=True)
    assert server.asked == [f"/kept/{ARCHIVE}"]


def test_something_else_is_not_kept(tmp_path, files, server):
    server.body = b"<html>login</html>"
    with pytest.raises(DataError, match="something else") as caught:
        opened(tmp_path)
    assert list((tmp_path / "cache").iterdir()) == []
    assert f"put {ARCHIVE} into {tmp_path}" in caught.value.fix


def test_a_server_that_is_not_there_is_said(tmp_path, server):
    server.shutdown()
    server.server_close()
    with pytest.raises(DataError, match="could not be downloaded") as caught:
        opened(tmp_path)
    assert str(caught.value.where).endswith(f"/kept/{ARCHIVE}")
