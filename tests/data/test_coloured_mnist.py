"""Digits in colour: which hue an image has, and that nothing else was changed."""

import colorsys
import shutil

import numpy as np
import pytest
import torch

from lightning_gen.data.coloured_mnist import ColouredMNIST, colours
from lightning_gen.data.mnist import MNIST
from lightning_gen.errors import DataError
from tests.data.few_digits import COUNTS, few
from tests.data.trained import levels


@pytest.fixture
def opened(monkeypatch, tmp_path):
    few(monkeypatch)

    def make(**options):
        data = ColouredMNIST(str(tmp_path), str(tmp_path), batch_size=4, **options)
        data.prepare_data()
        data.setup()
        return data

    return make


def brightest(image):
    """Colour of the brightest pixel of an image, in [0, 1]."""
    pixel = image.flatten(1)[:, image.sum(0).argmax()]
    return [value / 255 for value in pixel.tolist()]


def distance(hue, other):
    return abs((hue - other + 0.5) % 1 - 0.5)


@pytest.mark.parametrize("resolution", [28, 32])
def test_class_decides_the_hue(opened, resolution):
    data = opened(resolution=resolution)
    assert data.splits == ("train", "test") and data.num_classes == 10
    for split, n in COUNTS.items():
        image, label = data.real(split)
        assert image.shape == (n, 3, resolution, resolution)
        assert torch.equal(label, torch.arange(n) % 10)
        for x, k in zip(levels(image), label.tolist(), strict=True):
            hue, saturation, value = colorsys.rgb_to_hsv(*brightest(x))
            assert distance(hue, k / 10) < 0.02 + 0.005
            assert saturation > 0.79 and value > 0.7


def test_random_hue_is_the_label(opened):
    data = opened(hue="random", num_hues=3, num_classes=3)
    image, label = data.real("train")
    assert set(label.tolist()) == {0, 1, 2} and data.domains == ("0", "1", "2")
    for x, k in zip(levels(image), label.tolist(), strict=True):
        assert distance(colorsys.rgb_to_hsv(*brightest(x))[0], k / 3) < 0.2 / 3 + 0.005
    again = opened(hue="random", num_hues=3, num_classes=3)
    assert torch.equal(again.real("train").image, image)
    other = opened(hue="random", num_hues=3, num_classes=3, draw_seed=1)
    assert not torch.equal(other.labels("train"), label) and other.folder != data.folder


def test_each_image_is_its_digit_times_a_colour_of_its_own(opened, tmp_path):
    data = opened()
    digits = MNIST(str(tmp_path), str(tmp_path), batch_size=4)
    digits.setup()
    grey = levels(digits.real("train").image).double()
    image = levels(data.real("train").image).double()
    colour = image.flatten(2).amax(2) / grey.flatten(2).amax(2)
    assert (image - grey * colour[:, :, None, None]).abs().max() <= 1
    assert (image[(grey == 0).expand_as(image)] == 0).all()
    assert len({tuple(row) for row in colour.tolist()}) == len(colour)


def test_colours_are_those_of_the_circle():
    hue = np.linspace(0, 1, 7, endpoint=False)
    found = colours(hue, 0.0, np.random.RandomState(0))
    for rgb, h in zip(found, hue, strict=True):
        assert distance(colorsys.rgb_to_hsv(*rgb)[0], h) < 1e-9
    assert (found <= 1).all() and (found.max(1) >= 0.8).all()


def test_it_is_written_once_and_then_does_without_the_digits(opened, tmp_path):
    data = opened()
    stamp = (data.folder / "meta.json").stat().st_mtime_ns
    shutil.rmtree(tmp_path / "mnist")
    again = opened()
    assert (again.folder / "meta.json").stat().st_mtime_ns == stamp
    assert isinstance(again._set("train").images, np.memmap)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_hues": 5}, "data.num_hues is 5, not 10"),
        ({"num_classes": 5}, "data.num_classes is 5, not 10"),
        ({"hue": "random", "num_hues": 5}, "data.num_classes is 10, not 5"),
        ({"channels": 1}, "data.channels is 1, not 3"),
        ({"resolution": 30}, "data.resolution is 30"),
    ],
)
def test_what_cannot_be_is_refused(opened, options, said):
    with pytest.raises(DataError, match=said):
        opened(**options)
