"""The Neural Autoregressive Distribution Estimator: a hidden layer a pixel, with weights in common.

Larochelle, Murray. 2011, https://proceedings.mlr.press/v15/larochelle11a.html; Uria, Côté, Gregor,
Murray, Larochelle, Neural Autoregressive Distribution Estimation, 2016, arXiv:1605.02226.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from lightning_gen.functional.nade import nade_logits
from lightning_gen.functional.pixels import unit_range
from lightning_gen.models.autoregressive.autoregressive import AutoregressiveModule
from lightning_gen.types import PositiveInt


class NADE(AutoregressiveModule):
    r"""Each pixel adds its weights to the hidden units that all later pixels are predicted from.

    .. math:: h_i = \sigma \Big( c + \sum_{j < i} W_j x_j \Big), \qquad
        p(x_i = 1 | x_{<i}) = \sigma(b_i + V_i \cdot h_i), \quad x_i \in \{0, 1\}

    References:
        Larochelle & Murray, 2011; Uria et al., 2016, arXiv:1605.02226.

    Args:
        hidden: Hidden units H.
        ordering: Of the pixels: "random", as in the paper, or "raster".
        family: Arguments of :class:`AutoregressiveModule`.
    """

    def __init__(
        self,
        *,
        hidden: PositiveInt = 500,
        ordering: Literal["random", "raster"] = "random",
        **family: Any,
    ) -> None:
        super().__init__(likelihood="bernoulli", **family)
        pixels = len(self.order)
        if ordering in {"random"}:
            self.order.copy_(torch.randperm(pixels))
        self.W = nn.Parameter(torch.randn(pixels, hidden) / pixels**0.5)
        self.c = nn.Parameter(torch.zeros(hidden))
        self.V = nn.Parameter(torch.randn(pixels, hidden) / hidden**0.5)
        self.b = nn.Parameter(torch.zeros(pixels))

    def logits(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits (N, 1, C, H, W) of the pixels of images (N, C, H, W)."""
        v = unit_range(self.in_order(x))
        return self.in_place(nade_logits(v, self.W, self.c, self.V, self.b)[:, None])

    def draw_pixels(self, u: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images of quantiles u (N, C, H, W), each added to the hidden units after it."""
        x, a = self.in_order(torch.zeros_like(u)), self.c.expand(len(u), -1)
        for i, u_i in enumerate(self.in_order(u).T):
            logit = (self.b[i] + a.sigmoid() @ self.V[i])[:, None]
            x[:, i] = self.conditional.draw(logit, u_i, self.temperature)
            a = a + unit_range(x[:, i : i + 1]) * self.W[i]
        return self.in_place(x[:, None])[:, 0]
