"""R21: over twenty kinds of bad files x three loaders: each is named, or skipped by name."""

import json
import os
import socket
import zipfile

import numpy as np
import pytest
from PIL import Image

from lightning_gen.data.image_folder import ImageFolder
from lightning_gen.data.paired import PairedFolders
from lightning_gen.data.unpaired import UnpairedFolders
from lightning_gen.errors import DataError
from tests.data.drawn import draw, png
from tests.faults.obtained import write

NOISE = np.random.RandomState(0).randint(256, size=(64, 64, 3)).astype(np.uint8)


def cut(keep):
    """A maker of a file of which only a part is left."""

    def make(path):
        Image.fromarray(NOISE).save(path)
        os.truncate(path, int(path.stat().st_size * keep))

    return make


def flipped(path):
    Image.fromarray(NOISE).save(path)
    data = bytearray(path.read_bytes())
    data[20] ^= 0xFF  # in the header, which a checksum guards
    path.write_bytes(data)


def archive(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.png", b"x")


def link_out(path):
    secret = path.parents[2] / "secret.png"
    path.symlink_to(draw(secret))


def listener(path):
    here = os.getcwd()
    os.chdir(path.parent)  # the name of a socket may have 107 letters
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


KINDS = {
    "empty.png": lambda path: path.write_bytes(b""),
    "one_byte.jpg": lambda path: path.write_bytes(b"\xff"),
    "text.jpg": lambda path: path.write_text("I am no picture"),
    "page.png": lambda path: path.write_text("<html><title>404</title></html>"),
    "zeros.png": lambda path: path.write_bytes(bytes(5000)),
    "noise.bmp": lambda path: path.write_bytes(np.random.RandomState(1).bytes(5000)),
    "script.png": lambda path: path.write_text("%!PS-Adobe-3.0 EPSF-3.0\nshowpage\n"),
    "archive.png": archive,
    "flipped.png": flipped,
    "cut.jpg": cut(0.5),
    "cut.png": cut(0.5),
    "cut.tif": cut(0.5),
    "cut.gif": cut(0.5),
    "cut.webp": cut(0.5),
    "head.jpg": cut(0.05),
    "head.bmp": cut(0.01),
    "bomb.png": lambda path: png(path, 60_000, 60_000),
    "large.png": lambda path: png(path, 10_000, 10_000),
    "hollow.png": lambda path: png(path, 64, 64),
    "wide.tif": lambda path: Image.new("F", (8, 8)).save(path),
    "out.png": link_out,
    "gone.png": lambda path: path.symlink_to(path.parent / "nothing.png"),
    "loop.png": lambda path: path.symlink_to(path),
    "pipe.png": os.mkfifo,
    "socket.png": listener,
}


def of_folder(root, name):
    for k in range(4):
        draw(root / "all" / f"{k}.png", colour=(k, 0, 0))
    return root / "all" / name, ImageFolder, {"folder": str(root / "all")}


def of_domains(root, name):
    for end in "ab":
        for k in range(4):
            draw(root / end / f"{k}.png", colour=(k, 0, 0))
    return root / "b" / name, UnpairedFolders, {"a": str(root / "a"), "b": str(root / "b")}


def of_pairs(root, name):
    for end in "ab":
        for k in range(4):
            draw(root / end / f"{k}.png", colour=(k, 0, 0))
    draw(root / "a" / f"{name.partition('.')[0]}.ppm")  # a sound partner
    return root / "b" / name, PairedFolders, {"a": str(root / "a"), "b": str(root / "b")}


LOADERS = [of_folder, of_domains, of_pairs]


def complaints(loader, name, folder):
    """What is not as promised of one bad file."""
    path, cls, options = loader(folder / "source", name)
    KINDS[name](path)
    options = {**options, "batch_size": 1, "resolution": 8, "name": "bad", "test_fraction": 0}
    wrong = []
    try:
        cls(str(folder), str(folder), **options).prepare_data()
        wrong.append("was taken")
    except DataError as error:
        if path.stem not in str(error) or not error.fix:
            wrong.append(f"is not named, or without a remedy: {error}")
    data = cls(str(folder), str(folder), **options, on_error="skip")
    data.prepare_data()
    data.setup()
    note = json.loads((data.folder / "meta.json").read_text())["note"]
    if not any(str(path) in f"{file} {why}" for file, why in note["skipped"].items()):
        wrong.append("is skipped silently")
    if data.size(data.splits[0]) != 4:
        wrong.append(f"{data.size(data.splits[0])} of 4 sound pictures are left")
    return [f"{name} in {cls.__name__} {what}" for what in wrong]


@pytest.mark.parametrize("name", [*sorted(KINDS)[::4], "loop.png"])
@pytest.mark.parametrize("loader", LOADERS, ids=lambda loader: loader.__name__)
def test_R21_a_bad_file_is_named(loader, name, tmp_path):
    assert complaints(loader, name, tmp_path) == []


@pytest.mark.slow
def test_R21_every_kind_of_bad_file_is_named(tmp_path):
    wrong = [
        what
        for loader in LOADERS
        for name in KINDS
        for what in complaints(loader, name, tmp_path / loader.__name__ / name)
    ]
    count = len(LOADERS) * len(KINDS)
    write(
        "R21",
        "20 kinds of bad data x 3 loaders: named with a remedy, none skipped silently, no hang",
        f"{count - len(wrong)} of {count} ({len(KINDS)} kinds x {len(LOADERS)} loaders)",
        count=count,
        failures=len(wrong),
    )
    assert wrong == []
