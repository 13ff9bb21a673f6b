"""Laplacian pyramids: an image as a small one and what each doubling of its side adds.

Burt and Adelson. The Laplacian Pyramid as a Compact Image Code. 1983, IEEE Trans. Communications.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate


class Band(NamedTuple):
    """A level of the pyramid; its image is h + low.

    Attributes:
        h: What the level adds (N, C, H, W); at the coarsest level the image itself.
        low: The image of the level below at this size (N, C, H, W); zero at the coarsest level.
    """

    h: Tensor
    low: Tensor


def down(x: Tensor) -> Tensor:
    r"""Blur images with the weights (1, 3, 3, 1) / 8 along each side and keep every second pixel.

    Weights beyond the border are left out and the others grow to a sum of one.

    Args:
        x: Images (N, C, H, W), H and W even.

    Returns:
        Images (N, C, H / 2, W / 2).

    Example:
        >>> down(torch.arange(8.0).expand(1, 1, 8, 8))[0, 0, 0, 1:3]  # between 2 and 3, 4 and 5
        tensor([2.5000, 4.5000])
    """
    return interpolate(x, scale_factor=0.5, mode="bilinear", antialias=True)


def up(x: Tensor) -> Tensor:
    """Double the sides of images by linear interpolation between the centres of pixels.

    Args:
        x: Images (N, C, H, W).

    Returns:
        Images (N, C, 2 H, 2 W).

    Example:
        >>> up(torch.tensor([0.0, 4.0]).expand(1, 1, 2, 2))[0, 0, 0]
        tensor([0., 1., 3., 4.])
    """
    return interpolate(x, scale_factor=2.0, mode="bilinear")


def decompose(x: Tensor, levels: int) -> list[Band]:
    r"""Take images apart into bands of an octave each.

    .. math:: h_k = I_k - u(I_{k + 1}), \quad I_{k + 1} = d(I_k), \quad I_0 = x

    Args:
        x: Images (N, C, H, W).
        levels: Number of bands.

    Returns:
        The bands, the coarsest first.

    Raises:
        ValueError: If a side cannot be halved so often.

    Example:
        >>> x = torch.rand(1, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        >>> bands = decompose(x, 3)
        >>> [band.h.shape[-1] for band in bands]
        [7, 14, 28]
        >>> torch.allclose(reconstruct(band.h for band in bands), x)
        True
    """
    if any(side % 2 ** (levels - 1) for side in x.shape[-2:]):
        raise ValueError(
            f"levels={levels} needs sides that are multiples of {2 ** (levels - 1)}, "
            f"not {tuple(x.shape[-2:])}; take fewer levels or resize the images"
        )
    bands = []
    for _ in range(levels - 1):
        coarser = down(x)
        low = up(coarser)
        bands.append(Band(x - low, low))
        x = coarser
    bands.append(Band(x, torch.zeros_like(x)))
    return bands[::-1]


def reconstruct(h: Iterable[Tensor]) -> Tensor:
    r"""Put images together again: the inverse of :func:`decompose`.

    .. math:: I_k = u(I_{k + 1}) + h_k

    Args:
        h: What each level adds, the coarsest first; sides double from one to the next.

    Returns:
        Images (N, C, H, W).
    """
    x, *finer = h
    for band in finer:
        x = up(x) + band
    return x
