"""D6: what is done to pictures of other sizes is said by data.size."""

import numpy as np
import pytest
from PIL import Image

from lightning_gen.data.pictures import BadPicture, Policy, decode
from tests.data.drawn import draw, flat


def test_D06_size_policies(tmp_path):
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
