"""A fully connected network that is told the time, for denoising points of the plane."""

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from lightning_gen.networks.time import Condition
from lightning_gen.types import PositiveFloat, PositiveInt


class MLPDenoiser(nn.Module):
    """Hidden layers beside the identity, each shifted by the condition.

    Args:
        inputs: Components of a point.
        units: Units of each hidden layer.
        layers: Hidden layers.
        num_classes: Classes of a conditional network, None for none.
        highest: Highest frequency, in radians, of the features of coordinates of unit size: how
            fine the details of the plane are that it sees.

    Example:
        >>> MLPDenoiser(units=8)(torch.zeros(5, 2), torch.rand(5)).shape
        torch.Size([5, 2])
    """

    octaves: Tensor

    def __init__(
        self,
        *,
        inputs: PositiveInt = 2,
        units: PositiveInt = 128,
        layers: PositiveInt = 3,
        num_classes: PositiveInt | None = None,
        highest: PositiveFloat = 16.0,
    ) -> None:
        super().__init__()
        self.condition = Condition(units, num_classes)
        self.register_buffer("octaves", highest ** torch.linspace(0, 1, 8), persistent=False)
        self.first = nn.Linear(inputs * 17, units)
        self.shifts = nn.ModuleList(nn.Linear(units, units) for _ in range(layers))
        self.layers = nn.ModuleList(nn.Linear(units, units) for _ in range(layers))
        self.last = nn.Linear(units, inputs)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map points (N, inputs), times (N,) and classes (N,) to the points' shape."""
        condition = silu(self.condition(t, labels))
        angle = (x[..., None] * self.octaves).flatten(1)
        h = self.first(torch.cat([x, angle.cos(), angle.sin()], 1))
        for layer, shift in zip(self.layers, self.shifts, strict=True):
            h = h + layer(silu(h + shift(condition)))
        return self.last(silu(h))
