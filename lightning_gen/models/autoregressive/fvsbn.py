"""Fully visible sigmoid belief network: each pixel is a logistic regression on those before it.

Neal, Connectionist Learning of Belief Networks, 1992, doi:10.1016/0004-3702(92)90065-6; Frey,
Hinton, Dayan, Does the Wake-Sleep Algorithm Produce Good Density Estimators?, 1995,
https://papers.nips.cc/paper/1153 (of pixels); Gan, Henao, Carlson, Carin, 2015, arXiv:1509.08062.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from lightning_gen.functional.pixels import unit_range
from lightning_gen.models.autoregressive.autoregressive import AutoregressiveModule


class FVSBN(AutoregressiveModule):
    r"""Logits of pixels are linear in the pixels before them.

    .. math:: p(x_i = 1 | x_{<i}) = \sigma \Big( b_i + \sum_{j < i} S_{ij} x_j \Big),
        \quad x_i \in \{0, 1\}

    References:
        Neal, 1992; Frey, Hinton, Dayan, 1995.

    Args:
        family: Arguments of :class:`AutoregressiveModule`.
    """

    def __init__(self, **family: Any) -> None:
        super().__init__(likelihood="bernoulli", **family)
        pixels = len(self.order)
        self.S = nn.Parameter(torch.zeros(pixels, pixels))
        self.b = nn.Parameter(torch.zeros(pixels))

    def logits(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits (N, 1, C, H, W) of the pixels of images (N, C, H, W)."""
        before = unit_range(self.in_order(x))
        return self.in_place(linear(before, self.S.tril(-1), self.b)[:, None])

    def draw_pixels(self, u: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images of quantiles u (N, C, H, W), with one product a pixel."""
        S, u_in_order = self.S.tril(-1), self.in_order(u)
        before = torch.zeros_like(u_in_order)
        for i in range(len(S)):
            logit = linear(before, S[i : i + 1], self.b[i : i + 1])
            x_i = self.conditional.draw(logit, u_in_order[:, i], self.temperature)
            before[:, i] = unit_range(x_i)
        return self.in_place(2 * before[:, None] - 1)[:, 0]
