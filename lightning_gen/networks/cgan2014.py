"""The fully connected networks of the conditional GAN's MNIST experiment.

Mirza, Osindero. 2014, arXiv:1411.1784, section 4.1.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from lightning_gen.networks.maxout import Maxout, start_sigmoid_at, uniform_init
from lightning_gen.types import HalfOpenFraction, NonNegativeFloat, PositiveInt


class CGAN2014Generator(nn.Module):
    """z and y through layers of their own, then a joint one, to a sigmoid output in [-1, 1].

    Note:
        The paper draws z from the unit hypercube and does not say how weights begin. Here z of
        U(-1, 1) is scaled to a variance of one, as in the code of 2014 that the authors built on,
        and weights begin twice as large as there: with less of either the noise of dropout takes
        the place of z, and all samples of a class, or of all classes, are one image.

    Args:
        latent_dim: Dimension of z.
        num_classes: Labels.
        channels: Image channels.
        resolution: Image side in pixels.
        z_units: Rectifiers on z.
        y_units: Rectifiers on y.
        units: Rectifiers of the joint layer.
        dropout: Probability to drop a hidden unit in training.
        irange: Initial weights are uniform on [-irange, irange].

    Example:
        >>> G = CGAN2014Generator(num_classes=10, channels=1, resolution=28)
        >>> G(torch.zeros(2, 100), torch.tensor([0, 9])).shape
        torch.Size([2, 1, 28, 28])
    """

    def __init__(
        self,
        *,
        latent_dim: PositiveInt = 100,
        num_classes: PositiveInt,
        channels: PositiveInt,
        resolution: PositiveInt,
        z_units: PositiveInt = 200,
        y_units: PositiveInt = 1000,
        units: PositiveInt = 1200,
        dropout: HalfOpenFraction = 0.5,
        irange: NonNegativeFloat = 0.1,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.shape = (channels, resolution, resolution)
        self.z_layer = nn.Sequential(nn.Linear(latent_dim, z_units), nn.ReLU(), nn.Dropout(dropout))
        self.y_layer = nn.Sequential(
            nn.Linear(num_classes, y_units), nn.ReLU(), nn.Dropout(dropout)
        )
        self.joint = nn.Sequential(
            nn.Linear(z_units + y_units, units),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(units, channels * resolution**2),
        )
        uniform_init(self, irange)

    def start_at(self, mean: Tensor) -> None:
        """Set the output biases so that h = 0 gives the mean image (C, H, W) in [-1, 1]."""
        start_sigmoid_at(self.joint[-1], mean)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Map latents (N, latent_dim) of U(-1, 1) and labels (N,) to images in [-1, 1]."""
        label = one_hot(y, self.num_classes).to(z.dtype)
        hidden = torch.cat([self.z_layer(math.sqrt(3) * z), self.y_layer(label)], 1)
        return torch.tanh(self.joint(hidden) / 2).unflatten(1, self.shape)


class CGAN2014Discriminator(nn.Module):
    """x and y through maxout layers of their own, then a joint one, to a logit.

    Args:
        num_classes: Labels.
        channels: Image channels.
        resolution: Image side in pixels.
        x_units: Maxout units on x, of 5 pieces.
        y_units: Maxout units on y, of 5 pieces.
        units: Maxout units of the joint layer, of 4 pieces.
        dropout: Probability to drop a hidden unit in training.
        irange: Initial weights are uniform on [-irange, irange].

    Example:
        >>> D = CGAN2014Discriminator(num_classes=10, channels=1, resolution=28)
        >>> D(torch.zeros(2, 1, 28, 28), torch.tensor([0, 9])).shape
        torch.Size([2, 1])
    """

    def __init__(
        self,
        *,
        num_classes: PositiveInt,
        channels: PositiveInt,
        resolution: PositiveInt,
        x_units: PositiveInt = 240,
        y_units: PositiveInt = 50,
        units: PositiveInt = 240,
        dropout: HalfOpenFraction = 0.5,
        irange: NonNegativeFloat = 0.005,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.x_layer = nn.Sequential(
            Maxout(channels * resolution**2, x_units, 5), nn.Dropout(dropout)
        )
        self.y_layer = nn.Sequential(Maxout(num_classes, y_units, 5), nn.Dropout(dropout))
        self.joint = nn.Sequential(
            Maxout(x_units + y_units, units, 4), nn.Dropout(dropout), nn.Linear(units, 1)
        )
        uniform_init(self, irange)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Map images (N, C, H, W) in [-1, 1] and labels (N,) to logits (N, 1)."""
        pixels = (x.flatten(1) + 1) / 2
        label = one_hot(y, self.num_classes).to(pixels.dtype)
        return self.joint(torch.cat([self.x_layer(pixels), self.y_layer(label)], 1))
