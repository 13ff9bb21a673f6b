"""Pictures drawn for the tests, right ones and hostile ones."""

import json
import os
import struct
import zlib

import numpy as np
from PIL import Image

from lightning_gen.data.image_folder import ImageFolder
from lightning_gen.data.pictures import Policy

RGB = Policy(3, 8, "convert", "center_crop")


GREY = Policy(1, 8, "convert", "center_crop")


COLOUR = (200, 100, 50)


def draw(path, mode="RGB", colour=COLOUR, size=(8, 8), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path, **options)
    return path


def png(path, width, height):
    """A PNG file that claims a size and holds no pixels."""

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def flat(array):
    """The colour of a picture that has only one."""
    assert (array == array[:, :1, :1]).all()
    return tuple(array[:, 0, 0].tolist())


def hostile(folder):
    """Files that must each be refused with a reason; nothing may crash."""
    noise = np.random.RandomState(0).randint(256, size=(64, 64, 3)).astype(np.uint8)
    for name in ("cut.jpg", "cut.png", "cut.tif", "cut.gif"):
        Image.fromarray(noise).save(folder / name)
        os.truncate(folder / name, (folder / name).stat().st_size // 2)
    (folder / "text.jpg").write_text("I am no picture")
    (folder / "empty.png").write_bytes(b"")
    (folder / "script.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n"
    )
    png(folder / "bomb.png", 60_000, 60_000)
    png(folder / "large.png", 10_000, 10_000)
    png(folder / "hollow.png", 64, 64)
    return sorted(folder.iterdir())


def opened(root, folder, **options):
    options = {"batch_size": 1, "channels": 3, "resolution": 8} | options
    data = ImageFolder(str(root), str(root), folder=str(folder), **options)
    data.prepare_data()
    data.setup()
    return data


def meta(data):
    return json.loads((data.folder / "meta.json").read_text())
