"""How far pictures are from those they should be: PSNR and SSIM, under a stated protocol.

References:
    Wang, Bovik, Sheikh, Simoncelli, *Image Quality Assessment: From Error Visibility to Structural
    Similarity*, 2004, doi:10.1109/TIP.2003.819861.
    Ledig et al., *Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial
    Network*, 2016 (arXiv:1609.04802), section 3.1: the Y channel, less a border of 4 pixels.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from lightning_gen.errors import MetricError
from lightning_gen.metrics.domains import Translated
from lightning_gen.metrics.translation_measure import Space, TranslationMeasure, distance

BT601 = (65.481, 128.553, 24.966)  # of RGB in [0, 1] to Y in [16, 235], as MATLAB's rgb2ycbcr
WINDOW = 11  # pixels of SSIM's Gaussian window


def luma(x: Tensor) -> Tensor:
    """The Y channel of studio range, as papers on super-resolution measure it.

    Args:
        x: Images (N, 1 or 3, H, W) of bytes' range [0, 255]; grey ones are their own Y.

    Returns:
        (N, 1, H, W): [16, 235] of colours, [0, 255] of grey images.

    Example:
        >>> luma(torch.tensor([0.0, 255.0]).view(2, 1, 1, 1).expand(2, 3, 1, 1)).flatten()
        tensor([ 16., 235.])
    """
    if x.shape[1] == 1:
        return x
    weights = torch.tensor(BT601, device=x.device).view(1, 3, 1, 1)
    return (x / 255 * weights).sum(1, keepdim=True) + 16


def comparable_pixels(x: Tensor, space: Space, border: int) -> Tensor:
    """Images as they are compared: rounded to bytes, in a colour space, without their border.

    Args:
        x: Images (N, C, H, W) in [-1, 1].
        space: All channels, or Y alone.
        border: Pixels left out on each side.

    Returns:
        (N, C, H - 2 border, W - 2 border), in [0, 255].
    """
    height, width = x.shape[2:]
    x = ((x.clamp(-1, 1) + 1) * 127.5).round()
    x = {"rgb": lambda x: x, "y": luma}[space](x)
    return x[:, :, border : height - border, border : width - border]


def psnr(x: Tensor, y: Tensor) -> Tensor:
    r"""Peak signal to noise ratio of each picture, :math:`10 \log_{10} 255^2 / \mathrm{MSE}`.

    Args:
        x: Pictures (N, C, H, W) in [0, 255].
        y: Those they should be.

    Returns:
        (N,) in dB; infinite where they are the same.

    Example:
        >>> psnr(torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 25.5))
        tensor([20.])
    """
    every = (1, 2, 3)
    return peak_signal_noise_ratio(x, y, data_range=255.0, reduction="none", dim=every)


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity of each picture, with a Gaussian window of 11 pixels.

    Args:
        x: Pictures (N, C, H, W) in [0, 255].
        y: Those they should be.

    Returns:
        (N,), 1 where they are the same.

    Raises:
        MetricError: They are smaller than the window.
    """
    if min(x.shape[2:]) < WINDOW:
        size = " x ".join(map(str, x.shape[2:]))
        raise MetricError(f"pictures of {size} pixels are smaller than SSIM's window of {WINDOW}")
    _, full = structural_similarity_index_measure(
        x.double(), y.double(), data_range=255.0, reduction="none", return_full_image=True
    )
    edge = (
        WINDOW // 2
    )  # windows that reach beyond the picture do not count, as in the authors' code
    return full[:, :, edge:-edge, edge:-edge].mean((1, 2, 3)).float()


class PairedMeasure(TranslationMeasure):
    """PSNR, SSIM and the mean absolute difference to the pictures of a pair."""

    name, scores = "paired", ("psnr", "ssim", "l1")

    @property
    def extractor(self) -> str:
        """The colour space."""
        return self.how.space

    def suits(self, source: Translated) -> bool:
        """Images have to be paired."""
        return "paired" in source.data.data.gives

    def options(self) -> Mapping[str, Any]:
        """What is left out."""
        return {"border": self.how.border}

    def values(self, source: Translated, j: int) -> Mapping[str, Tensor]:
        """Of each picture."""
        y, target = source.block(j), source.target(j)
        a, b = (comparable_pixels(image, self.how.space, self.how.border) for image in (y, target))
        return {"psnr": psnr(a, b), "ssim": ssim(a, b), "l1": distance(y, target)}
