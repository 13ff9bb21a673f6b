"""Maxout units, and how the fully connected networks of their time begin.

Goodfellow, Warde-Farley, Mirza, Courville, Bengio. Maxout Networks. 2013, arXiv:1302.4389.
"""

from typing import Any

import torch
from torch import Tensor, nn

from lightning_gen.types import PositiveInt


class Maxout(nn.Module):
    r"""The largest of several affine pieces.

    .. math:: h_i(x) = \max_{j} (x^T W_{\cdot ij} + b_{ij})

    References:
        Goodfellow et al., Maxout Networks, 2013, arXiv:1302.4389, equation 1.

    Args:
        inputs: Input features.
        units: Output features.
        pieces: Affine pieces of each unit.

    Example:
        >>> import torch
        >>> Maxout(3, 4, pieces=2)(torch.zeros(5, 3)).shape
        torch.Size([5, 4])
    """

    def __init__(self, inputs: PositiveInt, units: PositiveInt, pieces: PositiveInt) -> None:
        super().__init__()
        self.units, self.pieces = units, pieces
        self.linear = nn.Linear(inputs, units * pieces)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs) to (N, units)."""
        return self.linear(x).unflatten(1, (self.units, self.pieces)).amax(2)


def uniform_init(network: nn.Module, irange: float) -> None:
    """Draw the weights of linear layers from U(-irange, irange); biases are zero."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.uniform_(module.weight, -irange, irange)
            nn.init.zeros_(module.bias)


@torch.no_grad()
def start_sigmoid_at(layer: Any, mean: Tensor) -> None:
    """Set the biases of a layer below a sigmoid so that no input gives the mean image.

    Args:
        layer: A linear layer.
        mean: (C, H, W) in [-1, 1].
    """
    marginal = ((mean.flatten() + 1) / 2).clamp(1e-3, 1 - 1e-3)
    layer.bias.copy_(marginal.logit())
