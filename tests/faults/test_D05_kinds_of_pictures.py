"""D5: grey, RGBA, palettes, CMYK, 16 bits and rotation are converted as configured, or refused."""

import numpy as np
import pytest
from PIL import Image

from lightning_gen.data.pictures import BadPicture, Policy, decode
from tests.data.drawn import COLOUR, GREY, RGB, draw, flat


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
def test_D05_modes_are_converted(tmp_path, name, mode, colour, rgb, grey):
    file = draw(tmp_path / name, mode, colour)
    assert flat(decode(file, RGB)) == rgb
    assert flat(decode(file, GREY)) == (grey,)
    assert decode(file, RGB).dtype == np.uint8


def test_D05_palette_and_its_transparency(tmp_path):
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, *COLOUR])
    image.save(tmp_path / "solid.gif")
    assert flat(decode(tmp_path / "solid.gif", RGB)) == COLOUR
    image.save(tmp_path / "clear.png", transparency=1)
    assert flat(decode(tmp_path / "clear.png", RGB)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_D05_pixels_of_unknown_range_are_refused(tmp_path, mode):
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
def test_D05_exact_mode_refuses_the_others(tmp_path, mode, colour, channels, said):
    policy = Policy(channels, 8, "exact", "center_crop")
    with pytest.raises(BadPicture, match=said):
        decode(draw(tmp_path / "a.png", mode, colour), policy)
    right = draw(tmp_path / "b.png", {1: "L", 3: "RGB"}[channels], {1: 7, 3: COLOUR}[channels])
    assert decode(right, policy).shape == (channels, 8, 8)


def test_D05_exif_rotation_is_applied(tmp_path):
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[0] = 255  # A white line on top, once it is upright.
    upright, exif = Image.fromarray(pixels), Image.Exif()
    exif[0x0112] = 6  # To be turned a quarter clockwise.
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "a.png", exif=exif)
    assert (decode(tmp_path / "a.png", RGB) == pixels.transpose(2, 0, 1)).all()
