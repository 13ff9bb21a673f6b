"""Velocities of an ordinary differential equation.

Grathwohl, Chen, Bettencourt, Sutskever, Duvenaud. 2018, arXiv:1810.01367.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from lightning_gen.types import PositiveInt


class ConvField(nn.Module):
    """Convolutions, each of which sees the time in a channel beside the others; smooth.

    Args:
        channels: Of what moves.
        width: Channels between.
        layers: Layers, the last included.
        kernel: Sides of the kernels; 1 for what has no neighbours.

    Example:
        >>> ConvField(2, width=8)(torch.zeros(()), torch.ones(1, 2, 4, 4)).shape
        torch.Size([1, 2, 4, 4])
    """

    def __init__(
        self,
        channels: PositiveInt,
        width: PositiveInt = 64,
        layers: PositiveInt = 4,
        kernel: PositiveInt = 3,
    ) -> None:
        super().__init__()
        widths = [channels, *[width] * (layers - 1), channels]
        self.layers = nn.ModuleList(
            nn.Conv2d(inner + 1, outer, kernel, padding="same") for inner, outer in pairwise(widths)
        )

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """Velocities (N, C, H, W) of y (N, C, H, W) at the time t."""
        for i, layer in enumerate(self.layers):
            y = layer(torch.cat([t.expand_as(y[:, :1]), softplus(y) if i else y], 1))
        return y
