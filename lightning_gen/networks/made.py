"""Layers whose masks make each output a function of the inputs before it, in some order.

Germain, Gregor, Murray, Larochelle. 2015, arXiv:1502.03509, section 4.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, relu

from lightning_gen.types import PositiveInt


class MADENetwork(nn.Module):
    r"""Pixels to the logits of each, given those before it, in one of several orders.

    Units have degrees m: of inputs and outputs the place in the order, of hidden units a random
    one. A connection stays where (equations 13 and 14)

    .. math:: m_k^l \geq m_d^{l - 1} \text{ to hidden units,} \qquad
        m_d > m_k^L \text{ to outputs.}

    Args:
        channels: Image channels.
        resolution: Image side in pixels.
        units: Units of each hidden layer.
        masks: Sets of degrees, to be chosen from.
        ordering: Of the pixels in each of them: "random" or "raster".

    Example:
        >>> network = MADENetwork(channels=1, resolution=3, units=[8], masks=2)
        >>> network(torch.zeros(5, 9), mask=1).shape
        torch.Size([5, 9])
    """

    def __init__(
        self,
        *,
        channels: PositiveInt,
        resolution: PositiveInt,
        units: Sequence[PositiveInt] = (8000, 8000),
        masks: PositiveInt = 32,
        ordering: Literal["random", "raster"] = "random",
    ) -> None:
        super().__init__()
        pixels = channels * resolution**2
        raster = torch.arange(pixels).view(channels, -1).T.flatten().expand(masks, -1)
        random = torch.rand(masks, pixels).argsort(1)
        orders = random if ordering in {"random"} else raster
        degrees, lowest = orders.argsort(1), torch.zeros(masks, 1)
        self.register_buffer("degrees_0", degrees)
        for i, width in enumerate(units):
            spread = (pixels - 1 - lowest) * torch.rand(masks, width)
            self.register_buffer(f"degrees_{i + 1}", (lowest + spread).long())
            lowest = (lowest + spread).long().amin(1, keepdim=True)
        widths = [pixels, *units, pixels]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    @property
    def orders(self) -> Tensor:
        """Places (masks, D) of the pixels, as they are drawn."""
        return self.get_buffer("degrees_0").argsort(1)

    def connections(self, mask: int) -> list[Tensor]:
        """The masks (outputs, inputs) of all layers."""
        degrees = [self.get_buffer(f"degrees_{i}")[mask] for i in range(len(self.layers))]
        hidden = [m[:, None] >= below for below, m in pairwise(degrees)]
        return [*hidden, degrees[0][:, None] > degrees[-1]]

    def weights(self, layer: int, masks: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Weights (outputs, inputs) of a layer that its mask leaves, and biases (outputs,)."""
        affine: Any = self.layers[layer]
        return affine.weight * masks[layer], affine.bias

    def affine(self, layer: int, x: Tensor, masks: Sequence[Tensor]) -> Tensor:
        """Map (N, inputs) to (N, outputs) by a layer, where its mask lets through."""
        return linear(x, *self.weights(layer, masks))

    def hidden(self, a: Tensor, masks: Sequence[Tensor]) -> Tensor:
        """The last hidden units (N, units), of the first ones before their ReLU."""
        for i in range(1, len(masks) - 1):
            a = self.affine(i, relu(a), masks)
        return relu(a)

    def forward(self, x: Tensor, mask: int = 0) -> Tensor:
        """Map pixels (N, D) in [0, 1] to logits (N, D)."""
        masks = self.connections(mask)
        h = self.hidden(self.affine(0, x, masks), masks)
        return self.affine(len(masks) - 1, h, masks)
