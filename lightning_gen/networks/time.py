"""Times, noise levels and classes as vectors that a denoiser is modulated by.

Vaswani et al. 2017, arXiv:1706.03762, section 3.5; Ho, Jain, Abbeel. 2020, arXiv:2006.11239.
"""

import math

import torch
from torch import Tensor, nn

from lightning_gen.types import PositiveFloat, PositiveInt


def sinusoids(t: Tensor, dim: int, highest: float = 100.0) -> Tensor:
    r"""Cosines and sines of times, :math:`\cos \omega_k t, \sin \omega_k t`.

    The frequencies rise geometrically from 1 to the highest, in radians.

    Args:
        t: Times (N,), of about unit range.
        dim: Features, even.
        highest: The highest frequency: it tells times apart that differ by about its inverse.

    Returns:
        (N, dim), in single precision at least.

    Example:
        >>> sinusoids(torch.zeros(1), 4)
        tensor([[1., 1., 0., 0.]])
    """
    t = t.to(torch.promote_types(t.dtype, torch.float32))
    octaves = torch.linspace(0, math.log(highest), dim // 2, device=t.device, dtype=t.dtype)
    angle = t[:, None] * octaves.exp()
    return torch.cat([angle.cos(), angle.sin()], 1)


class Condition(nn.Module):
    """A vector of the time and, in a conditional network, of the class.

    Args:
        dim: Features of the vector.
        num_classes: Classes, of which -1 is none of them; None for a network without classes.
        highest: Highest frequency of the time's features.

    Example:
        >>> condition = Condition(8, num_classes=3)
        >>> condition(torch.rand(2), torch.tensor([2, -1])).shape
        torch.Size([2, 8])
    """

    def __init__(
        self, dim: PositiveInt, num_classes: PositiveInt | None = None, highest: PositiveFloat = 100
    ) -> None:
        super().__init__()
        self.dim, self.highest = dim + dim % 2, highest
        self.layers = nn.Sequential(nn.Linear(self.dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.classes = nn.Embedding(num_classes + 1, dim) if num_classes else None

    def forward(self, t: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map times (N,) and classes (N,) to vectors (N, dim)."""
        vector = self.layers(sinusoids(t, self.dim, self.highest))
        if self.classes is None:
            return vector
        labels = labels if labels is not None else torch.full_like(t, -1, dtype=torch.long)
        return vector + self.classes(labels + 1)
