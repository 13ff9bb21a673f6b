"""Fully connected encoders and decoders: what goes in and out of a code through hidden layers."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from lightning_gen.types import HalfOpenFraction, PositiveInt

Activation = Literal["linear", "logistic", "tanh", "relu"]
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "linear": nn.Identity,
    "logistic": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
}
# Glorot's rule with the gain that keeps the variance; a logistic unit's slope is a quarter.
GAINS = {"linear": 1.0, "logistic": 4.0, "tanh": 1.0, "relu": 2**0.5}


def layers(
    widths: Sequence[int], hidden: str, last: str = "linear", dropout: float = 0.0
) -> nn.Sequential:
    """Affine layers between features of these widths, each with its activation.

    Args:
        widths: Features in, of each hidden layer, and out.
        hidden: Activation of the hidden layers.
        last: Activation of the last one.
        dropout: Probability to drop a hidden unit.
    """
    made: list[nn.Module] = []
    for i, (inner, outer) in enumerate(pairwise(widths)):
        activation = last if i == len(widths) - 2 else hidden
        affine = nn.Linear(inner, outer)
        nn.init.xavier_uniform_(affine.weight, GAINS[activation])
        nn.init.zeros_(affine.bias)
        made += [affine, ACTIVATIONS[activation]()]
        made += [nn.Dropout(dropout)] if dropout and i < len(widths) - 2 else []
    return nn.Sequential(*made)


class DenseEncoder(nn.Module):
    """Images to codes.

    Args:
        latent_dim: Dimension of a code.
        channels: Image channels.
        resolution: Image side in pixels.
        units: Units of each hidden layer, from the image to the code.
        activation: Of the hidden layers.
        code: Activation of the code.
        dropout: Probability to drop a hidden unit.

    Example:
        >>> DenseEncoder(latent_dim=2, channels=1, resolution=28)(torch.zeros(5, 1, 28, 28)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        *,
        latent_dim: PositiveInt,
        channels: PositiveInt,
        resolution: PositiveInt,
        units: Sequence[PositiveInt] = (1000, 500, 250),
        activation: Activation = "logistic",
        code: Activation = "linear",
        dropout: HalfOpenFraction = 0.0,
    ) -> None:
        super().__init__()
        widths = [channels * resolution**2, *units, latent_dim]
        self.layers = layers(widths, activation, code, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) in [-1, 1], scaled to [0, 1], to codes (N, latent_dim)."""
        return self.layers((x.flatten(1) + 1) / 2)


class DenseDecoder(nn.Module):
    """Codes to pixels, of which a model says what they mean.

    Args:
        latent_dim: Dimension of a code.
        channels: Image channels.
        resolution: Image side in pixels.
        units: Units of each hidden layer, from the image to the code, as those of the encoder.
        activation: Of the hidden layers.
        dropout: Probability to drop a hidden unit.

    Example:
        >>> DenseDecoder(latent_dim=2, channels=1, resolution=28)(torch.zeros(5, 2)).shape
        torch.Size([5, 1, 28, 28])
    """

    def __init__(
        self,
        *,
        latent_dim: PositiveInt,
        channels: PositiveInt,
        resolution: PositiveInt,
        units: Sequence[PositiveInt] = (1000, 500, 250),
        activation: Activation = "logistic",
        dropout: HalfOpenFraction = 0.0,
    ) -> None:
        super().__init__()
        self.shape = (channels, resolution, resolution)
        widths = [latent_dim, *reversed(units), channels * resolution**2]
        self.layers = layers(widths, activation, dropout=dropout)

    def forward(self, z: Tensor) -> Tensor:
        """Map codes (N, latent_dim) to real numbers (N, C, H, W)."""
        return self.layers(z).unflatten(1, self.shape)


class TiedDecoder(nn.Module):
    """A decoder whose only parameters are biases: its weights are those of the encoder, transposed.

    Args:
        channels: Image channels.
        resolution: Image side in pixels.
        units: Units of each hidden layer, from the image to the code, as those of the encoder.
        activation: Of the hidden layers.

    Example:
        >>> shape = {"channels": 1, "resolution": 28, "units": [8]}
        >>> E, decoder = DenseEncoder(latent_dim=2, **shape), TiedDecoder(**shape)
        >>> decoder(torch.zeros(5, 2), E).shape
        torch.Size([5, 1, 28, 28])
    """

    def __init__(
        self,
        *,
        channels: PositiveInt,
        resolution: PositiveInt,
        units: Sequence[PositiveInt] = (1000, 500, 250),
        activation: Activation = "logistic",
    ) -> None:
        super().__init__()
        self.shape = (channels, resolution, resolution)
        self.activation = ACTIVATIONS[activation]()
        widths = [*reversed(units), channels * resolution**2]
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(width)) for width in widths)

    def forward(self, z: Tensor, encoder: DenseEncoder) -> Tensor:
        """Map codes (N, latent_dim) to real numbers (N, C, H, W) by the encoder's weights."""
        affine: list[Any] = [m for m in encoder.layers if hasattr(m, "weight")]
        for i, (bias, layer) in enumerate(zip(self.biases, reversed(affine), strict=True)):
            z = linear(z if i == 0 else self.activation(z), layer.weight.T, bias)
        return z.unflatten(1, self.shape)


class CodeDiscriminator(nn.Module):
    """Codes to logits, of being drawn from a prior.

    Args:
        latent_dim: Dimension of a code.
        units: Units of each hidden layer.
        activation: Of the hidden layers.

    Example:
        >>> CodeDiscriminator(latent_dim=2, units=[8])(torch.zeros(5, 2)).shape
        torch.Size([5, 1])
    """

    def __init__(
        self,
        *,
        latent_dim: PositiveInt,
        units: Sequence[PositiveInt] = (1000, 1000),
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        self.layers = layers([latent_dim, *units, 1], activation)

    def forward(self, z: Tensor) -> Tensor:
        """Map codes (N, latent_dim) to logits (N, 1)."""
        return self.layers(z)
