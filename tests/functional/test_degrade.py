"""What is taken from images: against Pillow's grey and bicubic, and SciPy's Sobel."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from lightning_gen.functional.degrade import downsample, edges, grey


def pictures(n=3, channels=3, side=32, smooth=0):
    pixels = np.random.RandomState(0).uniform(0, 255, (n, channels, side, side))
    pixels = ndimage.gaussian_filter(pixels, (0, 0, smooth, smooth))
    pixels = (pixels - pixels.min()) / (pixels.max() - pixels.min()) * 255
    return pixels.round().astype(np.uint8)


def floats(pixels):
    return torch.from_numpy(pixels).float() / 127.5 - 1


def levels(x):
    return ((x + 1) * 127.5).numpy()


def test_grey_is_that_of_pillow():
    pixels = pictures()
    found = levels(grey(floats(pixels)))
    for image, ours in zip(pixels, found, strict=True):
        theirs = np.asarray(Image.fromarray(image.transpose(1, 2, 0)).convert("L"))
        np.testing.assert_allclose(ours[0], theirs, atol=0.51)
    one = floats(pictures(channels=1))
    assert grey(one) is one


def test_grey_of_known_colours():
    colours = torch.eye(3).mul(2).sub(1).view(3, 3, 1, 1)
    np.testing.assert_allclose(levels(grey(colours)).flatten() / 255, [0.299, 0.587, 0.114], 1e-5)


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("smooth", [0, 2])
def test_downsample_is_that_of_pillow(factor, smooth):
    pixels = pictures(smooth=smooth)
    found = levels(downsample(floats(pixels), factor))
    for image, ours in zip(pixels, found, strict=True):
        size = (32 // factor, 32 // factor)
        theirs = Image.fromarray(image.transpose(1, 2, 0)).resize(size, Image.Resampling.BICUBIC)
        np.testing.assert_allclose(ours, np.asarray(theirs).transpose(2, 0, 1), atol=1.01)


def test_downsample_keeps_the_range_and_refuses_other_sides():
    checks = torch.ones(1, 1, 16, 16)
    checks[..., 5:] = -1
    assert downsample(checks, 2).abs().max() <= 1
    assert downsample(checks, 1) is checks
    assert downsample(torch.zeros(2, 3, 8, 12), 4).shape == (2, 3, 2, 3)
    with pytest.raises(ValueError, match=r"sides \(28, 28\) are no multiples of factor=8"):
        downsample(torch.zeros(1, 1, 28, 28), 8)


def test_edges_are_the_greatest_sobel_gradient_of_the_channels():
    pixels = pictures(smooth=1)
    found = edges(floats(pixels), strength=3.0)
    for image, ours in zip(pixels / 255, found, strict=True):
        slope = [
            np.hypot(*(ndimage.sobel(c, axis, mode="nearest") / 4 for axis in (0, 1)))
            for c in image
        ]
        np.testing.assert_allclose(ours[0], 1 - 2 * np.tanh(3 * np.max(slope, 0)), atol=1e-5)


def test_edges_are_dark_on_white_between_colours_of_one_luma_too():
    flat = edges(torch.full((1, 3, 8, 8), -0.3))
    assert torch.equal(flat, torch.ones(1, 1, 8, 8))
    halves = torch.tensor([1.0, -1.0, -1.0]).view(1, 3, 1, 1).repeat(1, 1, 8, 8)
    halves[..., 4:] = torch.tensor([-1.0, 0.0187, -1.0]).view(1, 3, 1, 1)  # a green as dark
    assert (grey(halves) - grey(halves).mean()).abs().max() < 1e-3
    sketch = edges(halves)
    assert (sketch[..., 3:5] < -0.9).all() and (sketch[..., :3] == 1).all()


@pytest.mark.parametrize("degrade", [grey, edges, lambda x: downsample(x, 2)])
def test_inputs_are_left_alone_and_images_do_not_mix(degrade):
    x = floats(pictures())
    before = x.clone()
    whole = degrade(x)
    assert torch.equal(x, before) and whole.abs().max() <= 1
    torch.testing.assert_close(whole[1:2], degrade(x[1:2]))
