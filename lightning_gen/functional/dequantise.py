"""Bytes as numbers of a continuous range, whose density is finite."""

import torch
from torch import Tensor

from lightning_gen.functional.pixels import grey_levels


def dequantise(x: Tensor, u: Tensor) -> Tensor:
    r"""Images that were bytes k as (k + u) / 256 in [0, 1).

    References:
        Theis, van den Oord, Bethge, A note on the evaluation of generative models, 2015,
        arXiv:1511.01844.

    Args:
        x: Images in [-1, 1], any shape.
        u: Noise in [0, 1), the same shape.

    Example:
        >>> dequantise(torch.tensor([-1.0, 1.0]), torch.tensor([0.0, 0.5]))
        tensor([0.0000, 0.9980])
    """
    return (grey_levels(x) + u) / 256


def quantise(y: Tensor) -> Tensor:
    """Images in [-1, 1] of the bytes whose range numbers of [0, 1] lie in.

    Example:
        >>> x = torch.tensor([-1.0, 0.2, 1.0])
        >>> quantise(dequantise(x, torch.rand(3)))
        tensor([-1.0000,  0.2000,  1.0000])
    """
    return (y * 256).floor().clamp(0, 255) / 127.5 - 1


def to_logits(y: Tensor, alpha: float) -> Tensor:
    r"""Numbers of [0, 1] on the whole line, :math:`\text{logit}(\alpha + (1 - 2 \alpha) y)`.

    Example:
        >>> to_logits(torch.tensor([0.0, 0.5]), alpha=0.25)
        tensor([-1.0986,  0.0000])
    """
    return torch.logit(alpha + (1 - 2 * alpha) * y)


def from_logits(logits: Tensor, alpha: float) -> Tensor:
    """Inverse of :func:`to_logits`.

    Example:
        >>> from_logits(to_logits(torch.tensor([0.25]), alpha=0.1), alpha=0.1)
        tensor([0.2500])
    """
    return (logits.sigmoid() - alpha) / (1 - 2 * alpha)
