"""The pyramid against its formulas and against filters written out."""

from itertools import pairwise

import pytest
import torch
from torch.nn.functional import conv2d

from lightning_gen.functional.pyramid import decompose, down, reconstruct, up
from lightning_gen.networks.lapgan import level_sides

SIZES = [(28, [7, 14, 28]), (32, [8, 16, 32]), (64, [8, 16, 32, 64]), (96, [6, 12, 24, 48, 96])]


def noise(side, dtype=torch.float32):
    torch.manual_seed(side)
    return torch.rand(3, 2, side, side, dtype=dtype) * 2 - 1


@pytest.mark.parametrize(
    ("resolution", "sides"), [*SIZES, (20, [5, 10, 20]), (128, [8, 16, 32, 64, 128])]
)
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 5e-7), (torch.float64, 1e-15)])
def test_reconstruction_is_exact(resolution, sides, dtype, error):
    x = noise(resolution, dtype)
    bands = decompose(x, len(sides))
    assert [band.h.shape[-1] for band in bands] == sides == level_sides(resolution)
    assert (reconstruct(band.h for band in bands) - x).abs().max() <= error
    for coarser, finer in pairwise(bands):
        torch.testing.assert_close(finer.low, up(coarser.h + coarser.low))
        torch.testing.assert_close(coarser.h + coarser.low, down(finer.h + finer.low))
    assert bands[0].low.count_nonzero() == 0


def test_a_constant_stays_constant_and_has_no_bands():
    x = torch.full((1, 1, 28, 28), 0.7, dtype=torch.float64)
    for y in (down(x), up(x)):
        torch.testing.assert_close(y, torch.full_like(y, 0.7), rtol=0, atol=1e-15)
    assert all(band.h.abs().max() < 1e-15 for band in decompose(x, 3)[1:])


def test_the_filters_are_written_out_away_from_the_border():
    x, tent = noise(32, torch.float64), torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64)
    kernel = (tent.outer(tent) / 64).expand(2, 1, 4, 4)
    inside = (..., slice(1, -1), slice(1, -1))
    blurred = conv2d(x, kernel, stride=2, padding=1, groups=2)
    torch.testing.assert_close(down(x)[inside], blurred[inside])
    # 4 d is the transpose of u: both blur with the same weights.
    y = noise(16, torch.float64)
    y[..., [0, -1], :], y[..., [0, -1]] = 0, 0
    torch.testing.assert_close((up(y) * x).sum(), 4 * (y * down(x)).sum())


def test_a_smooth_image_has_little_energy_in_its_residuals_and_noise_has_much():
    t = torch.linspace(0, torch.pi, 64)
    smooth = (t.cos()[:, None] * t.sin())[None, None]
    shares = [
        [band.h.square().mean() / x.square().mean() for band in decompose(x, 4)[1:]]
        for x in (smooth, noise(64))
    ]
    assert max(shares[0]) < 1e-2 and shares[0][-1] < 1e-3
    assert shares[1][-1] > 0.5


def test_a_straight_line_has_residuals_at_the_border_only():
    ramp = torch.arange(64.0).expand(1, 1, 64, 64)
    finest = decompose(ramp, 2)[1].h
    assert finest[..., 3:-3].abs().max() < 1e-4
    assert finest.abs().max() > 1e-2


@pytest.mark.parametrize("side", [27, 30])
def test_sides_that_cannot_be_halved_are_refused(side):
    with pytest.raises(ValueError, match="multiples of 4"):
        decompose(noise(side), 3)
