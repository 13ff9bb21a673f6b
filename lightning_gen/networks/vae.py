"""Fully connected networks between images and distributions of codes.

Kingma, Welling. 2013, arXiv:1312.6114; Burda, Grosse, Salakhutdinov. 2015, arXiv:1509.00519;
Tomczak, Welling. 2017, arXiv:1705.07120.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from lightning_gen.functional.likelihoods import LIKELIHOODS
from lightning_gen.functional.pixels import unit_range
from lightning_gen.types import NonNegativeInt, PositiveInt

Activation = Literal["relu", "tanh", "softplus", "gated"]
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
    "gated": nn.GLU,  # half of a layer's units are gates of the other half
}


def glorot(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer with Glorot's initial weights, and no biases."""
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def dense(widths: Sequence[int], activation: str) -> nn.Sequential:
    """Hidden layers between features of these widths, and a linear output."""
    layers: list[nn.Module] = []
    gates = 2 if activation in {"gated"} else 1
    for inputs, units in pairwise(widths[:-1]):
        layers += [glorot(inputs, gates * units), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers, glorot(*widths[-2:]))


def beside(h: Tensor, labels: Tensor | None, num_classes: int) -> Tensor:
    """Features (N, d), beside the labels (N,) as unit vectors where there are classes."""
    if not num_classes:
        return h
    if labels is None:
        raise ValueError("labels must be given to a network of num_classes > 0")
    return torch.cat([h, one_hot(labels, num_classes).to(h.dtype)], 1)


class VAEEncoder(nn.Module):
    """An image to the mean and the log variance of a Gaussian over codes.

    Args:
        latent_dim: Dimension of a code.
        channels: Image channels.
        resolution: Image side in pixels.
        units: Units of each hidden layer, from the image to the code.
        activation: Of the hidden layers.
        num_classes: Classes, if labels are seen beside the image.

    Example:
        >>> VAEEncoder(latent_dim=3, channels=1, resolution=4)(torch.zeros(2, 1, 4, 4)).shape
        torch.Size([2, 6])
    """

    def __init__(
        self,
        *,
        latent_dim: PositiveInt,
        channels: PositiveInt,
        resolution: PositiveInt,
        units: Sequence[PositiveInt] = (400,),
        activation: Activation = "relu",
        num_classes: NonNegativeInt = 0,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        inputs = channels * resolution**2 + num_classes
        self.layers = dense([inputs, *units, 2 * latent_dim], activation)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map images (N, C, H, W) in [-1, 1] to means and log variances (N, 2 * latent_dim)."""
        return self.layers(beside(unit_range(x).flatten(1), labels, self.num_classes))


class VAEDecoder(nn.Module):
    """A code to the parameters of a likelihood of images.

    Args:
        latent_dim: Dimension of a code.
        channels: Image channels.
        resolution: Image side in pixels.
        likelihood: It says how many numbers a pixel has; see :mod:`functional.likelihoods`.
        units: Units of each hidden layer, from the image to the code.
        activation: Of the hidden layers.
        num_classes: Classes, if labels are seen beside the code.

    Example:
        >>> VAEDecoder(latent_dim=3, channels=1, resolution=4)(torch.zeros(2, 3)).shape
        torch.Size([2, 1, 4, 4])
    """

    def __init__(
        self,
        *,
        latent_dim: PositiveInt,
        channels: PositiveInt,
        resolution: PositiveInt,
        likelihood: Literal["bernoulli", "gaussian", "fixed_gaussian", "logistic"] = "bernoulli",
        units: Sequence[PositiveInt] = (400,),
        activation: Activation = "relu",
        num_classes: NonNegativeInt = 0,
    ) -> None:
        super().__init__()
        self.num_classes, self.likelihood = num_classes, LIKELIHOODS[likelihood]
        self.shape = (self.likelihood.parameters * channels, resolution, resolution)
        outputs = self.shape[0] * resolution**2
        self.layers = dense([latent_dim + num_classes, *reversed(units), outputs], activation)

    @torch.no_grad()
    def start_at(self, mean: Tensor) -> None:
        """Set the output biases to the parameters of the mean image (C, H, W) in [-1, 1]."""
        self.layers[-1].get_parameter("bias").copy_(self.likelihood.start(mean).flatten())

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map codes (N, latent_dim) to parameters (N, parameters * C, H, W)."""
        return self.layers(beside(z, labels, self.num_classes)).unflatten(1, self.shape)
