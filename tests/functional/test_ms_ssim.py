"""MS-SSIM against a convolution written out, and against torchmetrics' parts."""

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d
from torch.nn.functional import avg_pool2d
from torchmetrics.functional.image import structural_similarity_index_measure

from lightning_gen.functional.ms_ssim import WEIGHTS, ms_ssim, similarity


def pair(side, channels=1, n=2):
    generator = torch.Generator().manual_seed(side)
    x = torch.rand(n, channels, side, side, generator=generator)
    return x, (0.7 * x + 0.3 * torch.rand(x.shape, generator=generator)).clamp(0, 1)


def written_out(x, y):
    """One pair of grey images (H, W): Wang's formulae, window and all."""
    total = 1.0
    for scale, weight in enumerate(WEIGHTS):
        size = min(11, *x.shape)
        place = np.arange(size) - (size - 1) / 2
        square = place[:, None] ** 2 + place**2
        window = np.exp(-square / (2 * (1.5 * size / 11) ** 2))
        window /= window.sum()

        def mean(z, window=window):
            return convolve2d(z, window, mode="valid")

        mu, nu = mean(x), mean(y)
        s, t, st = mean(x * x) - mu**2, mean(y * y) - nu**2, mean(x * y) - mu * nu
        contrast = (2 * st + 0.0009) / (s + t + 0.0009)
        luminance = (2 * mu * nu + 0.0001) / (mu**2 + nu**2 + 0.0001)
        term = (luminance * contrast).mean() if scale == 4 else contrast.mean()
        total *= max(term, 0) ** weight
        x, y = (z.reshape(len(z) // 2, 2, -1, 2).mean((1, 3)) if len(z) > 1 else z for z in (x, y))
    return total


@pytest.mark.parametrize("side", [16, 32, 64])
def test_by_its_definition(side):
    x, y = pair(side)
    sides = zip(x[:, 0].double().numpy(), y[:, 0].double().numpy(), strict=True)
    expected = [written_out(a, b) for a, b in sides]
    np.testing.assert_allclose(ms_ssim(x, y), expected, rtol=1e-4)
    assert 0.5 < expected[0] < 0.999


def test_a_scale_is_torchmetrics_without_its_border():
    x, y = pair(40, channels=3)
    ssim, contrast = similarity(x, y)
    options = {"data_range": 1.0, "reduction": "none"}
    _, whole = structural_similarity_index_measure(x, y, return_full_image=True, **options)
    torch.testing.assert_close(ssim, whole[..., 5:-5, 5:-5].mean((1, 2, 3)), rtol=1e-5, atol=0)
    _, theirs = structural_similarity_index_measure(
        x, y, return_contrast_sensitivity=True, **options
    )
    torch.testing.assert_close(contrast, theirs, rtol=1e-5, atol=0)


def test_the_product_over_scales_of_torchmetrics():
    x, y = pair(192, channels=3, n=1)
    a, b, expected = x, y, 1.0
    options = {"data_range": 1.0, "reduction": "none"}
    for scale, weight in enumerate(WEIGHTS):
        if scale < 4:
            part = structural_similarity_index_measure(
                a, b, return_contrast_sensitivity=True, **options
            )[1]
        else:
            full = structural_similarity_index_measure(a, b, return_full_image=True, **options)[1]
            part = full[..., 5:-5, 5:-5].mean((1, 2, 3))
        expected = expected * part**weight
        a, b = avg_pool2d(a, 2), avg_pool2d(b, 2)
    torch.testing.assert_close(ms_ssim(x, y), expected, rtol=1e-5, atol=0)


def test_equal_opposite_and_swapped():
    x, y = pair(64)
    torch.testing.assert_close(ms_ssim(x, x), torch.ones(2))
    torch.testing.assert_close(ms_ssim(x, y), ms_ssim(y, x))
    assert (ms_ssim(x, 1 - x) == 0).all()  # never a root of a negative number
    assert ms_ssim(torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 64, 64)) == 1
