"""D12, D13: a decoding process that dies or hangs is an error that names the place, not a wait."""

import multiprocessing
import os
import signal

import pytest

from lightning_gen.data import pictures
from lightning_gen.data.image_folder import list_pictures
from lightning_gen.data.pictures import BadPicture
from tests.data.drawn import COLOUR, RGB, draw, flat


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    return folder


def test_D12_killed_decoder_is_an_error_that_names_the_place(source, monkeypatch):
    monkeypatch.setattr(pictures, "CHUNK", 2)
    monkeypatch.setattr(pictures, "_cores", lambda: 2)
    paths = [draw(source / f"{k:02}.png") for k in range(40)]
    decoded = pictures.decode_all(paths, RGB)
    assert flat(next(decoded)) == COLOUR
    for process in multiprocessing.active_children():
        process.kill()
    with pytest.raises(BadPicture, match=r"was killed at .*png or one of 8 files after it"):
        list(decoded)


def test_D13_pipe_is_not_opened(tmp_path, source):
    draw(source / "a.png")
    os.mkfifo(source / "pipe.png")
    assert list_pictures(source).refused == {"pipe.png": "is not a file"}


def test_D13_a_decoder_that_hangs_is_an_error_too(source, monkeypatch):
    monkeypatch.setattr(pictures, "CHUNK", 2)
    monkeypatch.setattr(pictures, "_cores", lambda: 2)
    paths = [draw(source / f"{k:02}.png") for k in range(40)]
    decoded = pictures.decode_all(paths, RGB)
    assert flat(next(decoded)) == COLOUR
    monkeypatch.setattr(pictures, "PATIENCE", 2.0)
    stopped = multiprocessing.active_children()
    for process in stopped:
        os.kill(process.pid, signal.SIGSTOP)
    with pytest.raises(BadPicture, match=r"has not answered for 2 s at .*png or one of 8 files"):
        list(decoded)
    assert stopped and not any(process.is_alive() for process in stopped)
