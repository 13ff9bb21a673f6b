import json
import multiprocessing
import os
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_gen.data import pictures
from lightning_gen.data.image_folder import ImageFolder, list_pictures
from lightning_gen.data.pictures import BadPicture, Policy, decode
from lightning_gen.errors import DataError

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


@pytest.mark.parametrize(
    ("name", "mode", "colour", "rgb", "grey"),
    [
        ("a.png", "RGB", COLOUR, COLOUR, 124),
        ("a.bmp", "RGB", COLOUR, COLOUR, 124),
        ("a.webp", "RGB", (255, 255, 255), (255, 255, 255), 255),
        ("a.tif", "RGB", COLOUR, COLOUR, 124),
        ("a.ppm", "RGB", COLOUR, COLOUR, 124),
        ("a.PNG", "L", 77, (77, 77, 77), 77),
        ("a.png", "1", 1, (255, 255, 255), 255),
        ("a.png", "RGBA", (*COLOUR, 255), COLOUR, 124),
        ("a.png", "RGBA", (*COLOUR, 0), (255, 255, 255), 255),
        ("a.png", "LA", (0, 51), (204, 204, 204), 204),
        ("a.tif", "CMYK", (0, 255, 255, 0), (255, 0, 0), 76),
        ("a.png", "I;16", 65535, (255, 255, 255), 255),
        ("a.png", "I;16", 257 * 40, (40, 40, 40), 40),
        ("a.tif", "I;16", 257 * 40, (40, 40, 40), 40),
        ("a.tif", "I;16B", 257 * 40 + 128, (40, 40, 40), 40),
    ],
)
def test_modes_are_converted(tmp_path, name, mode, colour, rgb, grey):
    file = draw(tmp_path / name, mode, colour)
    assert flat(decode(file, RGB)) == rgb
    assert flat(decode(file, GREY)) == (grey,)
    assert decode(file, RGB).dtype == np.uint8


def test_palette_and_its_transparency(tmp_path):
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, *COLOUR])
    image.save(tmp_path / "solid.gif")
    assert flat(decode(tmp_path / "solid.gif", RGB)) == COLOUR
    image.save(tmp_path / "clear.png", transparency=1)
    assert flat(decode(tmp_path / "clear.png", RGB)) == (255, 255, 255)


def test_content_not_name_decides_the_format(tmp_path):
    draw(tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert flat(decode(tmp_path / "a.jpg", RGB)) == COLOUR


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_of_unknown_range_are_refused(tmp_path, mode):
    with pytest.raises(BadPicture, match="32-bit pixels"):
        decode(draw(tmp_path / "a.tif", mode, 100000), RGB)


@pytest.mark.parametrize(
    ("mode", "colour", "channels", "said"),
    [
        ("L", 5, 3, "is L, 1 channels; data.mode=exact takes only RGB"),
        ("RGB", COLOUR, 1, "is RGB, 3 channels; data.mode=exact takes only L"),
        ("RGBA", (*COLOUR, 255), 3, "is RGBA with transparency, 4 channels"),
        ("I;16", 5, 1, "is I;16, 1 channels"),
        ("P", 5, 3, "is P, 1 channels"),
    ],
)
def test_exact_mode_refuses_the_others(tmp_path, mode, colour, channels, said):
    policy = Policy(channels, 8, "exact", "center_crop")
    with pytest.raises(BadPicture, match=said):
        decode(draw(tmp_path / "a.png", mode, colour), policy)
    right = draw(tmp_path / "b.png", {1: "L", 3: "RGB"}[channels], {1: 7, 3: COLOUR}[channels])
    assert decode(right, policy).shape == (channels, 8, 8)


def test_exif_rotation_is_applied(tmp_path):
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[0] = 255  # A white line on top, once it is upright.
    upright, exif = Image.fromarray(pixels), Image.Exif()
    exif[0x0112] = 6  # To be turned a quarter clockwise.
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "a.png", exif=exif)
    assert (decode(tmp_path / "a.png", RGB) == pixels.transpose(2, 0, 1)).all()


def test_size_policies(tmp_path):
    pixels = np.zeros((4, 12), np.uint8)
    pixels[:, 4:8] = 255  # The middle third is white.
    Image.fromarray(pixels).save(tmp_path / "wide.png")

    def sized(size, resolution=4):
        return decode(tmp_path / "wide.png", Policy(1, resolution, "convert", size))[0]

    assert (sized("center_crop") == 255).all()
    assert (
        sized("resize")[0].tolist() == sized("resize")[3].tolist()
        and 0 < sized("resize").mean() < 255
    )
    padded = sized("pad", 12)
    assert (padded[:4] == 0).all() and (padded[8:] == 0).all() and (padded[4:8] == pixels).all()
    with pytest.raises(BadPicture, match=r"is 12 x 4; data.size=exact takes only 4 x 4"):
        sized("exact")
    draw(tmp_path / "right.png", "L", 9, size=(4, 4))
    assert flat(decode(tmp_path / "right.png", Policy(1, 4, "convert", "exact"))) == (9,)


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


def test_hostile_files_are_each_refused(tmp_path):
    said = {}
    for file in hostile(tmp_path):
        with pytest.raises(BadPicture) as caught:
            decode(file, RGB)
        said[file.name] = str(caught.value)
    assert "truncated" in said["cut.jpg"]
    assert "decompression bomb" in said["bomb.png"].lower()
    assert "decompression bomb" in said["large.png"]
    assert "cannot identify" in said["text.jpg"] and "cannot identify" in said["script.png"]


def test_suffixes():
    assert {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tiff", ".gif"} <= set(pictures.formats())
    assert not {".eps", ".ps", ".h5", ".pdf", ".txt"} & set(pictures.formats())


def opened(root, folder, **options):
    options = {"batch_size": 1, "channels": 3, "resolution": 8} | options
    data = ImageFolder(str(root), str(root), folder=str(folder), **options)
    data.prepare_data()
    data.setup()
    return data


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    return folder


def meta(data):
    return json.loads((data.folder / "meta.json").read_text())


def test_hostile_file_stops_by_name_or_is_skipped_and_listed(tmp_path, source):
    for k in range(20):
        draw(source / f"{k:02}.png", colour=(k, k, k))
    names = {str(source / file.name) for file in hostile(source)} - {
        str(source / f"{k:02}.png") for k in range(20)
    }
    with pytest.raises(DataError) as caught:
        opened(tmp_path, source)
    assert caught.value.where in names and caught.value.fix == "data.on_error=skip"
    with pytest.raises(DataError, match=r"4 bad files, data.max_skipped=3"):
        opened(tmp_path, source, on_error="skip", max_skipped=3)
    data = opened(tmp_path, source, on_error="skip")
    assert set(meta(data)["note"]["skipped"]) == names
    assert data.size("train") + data.size("test") == 20
    seen = torch.cat([data.real(s).image[:, 0, 0, 0] for s in data.splits])
    assert sorted(((seen + 1) * 127.5).round().int().tolist()) == list(range(20))
    with pytest.raises(DataError) as caught:  # The same arrays, for one who does not skip.
        opened(tmp_path, source)
    assert caught.value.where in names


def test_other_files_are_ignored_and_counted(tmp_path, source):
    draw(source / "a.png")
    draw(source / ".hidden.png")
    draw(source / ".thumbs" / "b.png")
    for name in ("notes.txt", "Thumbs.db", ".DS_Store", "labels.csv"):
        (source / name).write_text("x")
    data = opened(tmp_path, source)
    assert data.size("train") == 1 and meta(data)["note"]["ignored"] == 5


def test_links(tmp_path, source):
    outside = draw(tmp_path / "secret" / "x.png")
    draw(source / "a.png")
    (source / "inside.png").symlink_to(source / "a.png")
    assert list_pictures(source).pictures == ["a.png", "inside.png"]
    (source / "out.png").symlink_to(outside)
    (source / "gone.png").symlink_to(source / "nothing.png")
    (source / "folder").symlink_to(outside.parent, target_is_directory=True)
    (source / "loop").symlink_to(source, target_is_directory=True)
    found = list_pictures(source)
    assert found.pictures == ["a.png", "inside.png"]
    assert found.refused == {
        "out.png": "is a link that leaves the folder",
        "folder": "is a link that leaves the folder",
        "gone.png": "is not a file",
        "loop": "is a link to a folder",
    }
    with pytest.raises(DataError, match=r"is a link|is not a file"):
        opened(tmp_path, source)
    assert not list(tmp_path.glob("image_folder/arrays*"))
    assert opened(tmp_path, source, on_error="skip").size("train") == 2


def test_pipe_is_not_opened(tmp_path, source):
    draw(source / "a.png")
    os.mkfifo(source / "pipe.png")
    assert list_pictures(source).refused == {"pipe.png": "is not a file"}


def test_folder_that_holds_nothing_or_is_not_there(tmp_path, source):
    (source / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=r"no pictures in the folder \(1 ignored") as caught:
        opened(tmp_path, source)
    assert ".jpg" in caught.value.fix and caught.value.exit_code == 3
    with pytest.raises(DataError, match="there is no such folder"):
        opened(tmp_path, tmp_path / "nothing")


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


def test_labels_stay_with_their_pictures_when_some_are_skipped(tmp_path, source):
    for at, name in enumerate(("a", "b")):
        for k in range(10):
            draw(source / name / f"{k}.png", colour=(at, 0, 0))
        (source / name / "0.png").write_bytes(b"no")
        (source / name / "5.png").write_bytes(b"no")
    data = opened(tmp_path, source, num_classes=2, on_error="skip", test_fraction=0.3)
    assert data.size("train") + data.size("test") == 16
    for split in data.splits:
        image, label = data.real(split)
        assert torch.equal(((image[:, 0, 0, 0] + 1) * 127.5).round().long(), label)


def test_pictures_outside_class_folders_are_refused(tmp_path, source):
    draw(source / "a" / "x.png")
    draw(source / "y.png")
    with pytest.raises(DataError, match="some pictures lie in no class folder"):
        opened(tmp_path, source, num_classes=1)


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


def test_arrays_follow_the_folder(tmp_path, source):
    for k in range(4):
        draw(source / f"{k}.png")
    one = opened(tmp_path, source, test_fraction=0)
    stamp = (one.folder / "meta.json").stat().st_mtime_ns
    again = opened(tmp_path, source, test_fraction=0)
    assert (again.folder / "meta.json").stat().st_mtime_ns == stamp
    draw(source / "4.png")
    more = opened(tmp_path, source, test_fraction=0)
    assert more.size("train") == 5 and more.fingerprint != one.fingerprint
    (source / "4.png").rename(source / "5.png")
    assert opened(tmp_path, source, test_fraction=0).fingerprint != more.fingerprint
    other = opened(tmp_path, source, test_fraction=0, resolution=4)
    assert other.folder != one.folder and other.shape == (3, 4, 4)


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


def test_killed_decoder_is_an_error_that_names_the_place(source, monkeypatch):
    monkeypatch.setattr(pictures, "CHUNK", 2)
    monkeypatch.setattr(pictures, "_cores", lambda: 2)
    paths = [draw(source / f"{k:02}.png") for k in range(40)]
    decoded = pictures.decode_all(paths, RGB)
    assert flat(next(decoded)) == COLOUR
    for process in multiprocessing.active_children():
        process.kill()
    with pytest.raises(BadPicture, match=r"was killed at .*png or one of 8 files after it"):
        list(decoded)
