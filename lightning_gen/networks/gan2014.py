"""The fully connected networks of the first GAN's MNIST experiment.

Goodfellow et al. 2014, arXiv:1406.2661, and the authors' configuration of it.
"""

import torch
from torch import Tensor, nn

from lightning_gen.networks.maxout import Maxout, start_sigmoid_at, uniform_init
from lightning_gen.types import HalfOpenFraction, NonNegativeFloat, PositiveInt


class GAN2014Generator(nn.Module):
    """Two layers of rectifiers and a sigmoid output, scaled to [-1, 1].

    Note:
        2 sigmoid(h) - 1 = tanh(h / 2), which is how it is computed. The authors' code draws z from
        N(0, I), and its output biases start at the mean image (:meth:`start_at`).

    Args:
        latent_dim: Dimension of z.
        channels: Image channels.
        resolution: Image side in pixels.
        units: Units of each hidden layer.
        irange: Initial weights are uniform on [-irange, irange].

    Example:
        >>> GAN2014Generator(channels=1, resolution=28, units=8)(torch.zeros(2, 100)).shape
        torch.Size([2, 1, 28, 28])
    """

    def __init__(
        self,
        *,
        latent_dim: PositiveInt = 100,
        channels: PositiveInt,
        resolution: PositiveInt,
        units: PositiveInt = 1200,
        irange: NonNegativeFloat = 0.05,
    ) -> None:
        super().__init__()
        self.shape = (channels, resolution, resolution)
        self.layers = nn.Sequential(
            nn.Linear(latent_dim, units),
            nn.ReLU(),
            nn.Linear(units, units),
            nn.ReLU(),
            nn.Linear(units, channels * resolution**2),
        )
        uniform_init(self, irange)

    def start_at(self, mean: Tensor) -> None:
        """Set the output biases so that h = 0 gives the mean image (C, H, W) in [-1, 1]."""
        start_sigmoid_at(self.layers[-1], mean)

    def forward(self, z: Tensor) -> Tensor:
        """Map latents (N, latent_dim) to images (N, C, H, W) in [-1, 1]."""
        return torch.tanh(self.layers(z) / 2).unflatten(1, self.shape)


class GAN2014Discriminator(nn.Module):
    """Two maxout layers with dropout on the input and the hidden units.

    Args:
        channels: Image channels.
        resolution: Image side in pixels.
        units: Units of each maxout layer.
        pieces: Affine pieces of each unit.
        irange: Initial weights are uniform on [-irange, irange].
        input_dropout: Probability to drop a pixel.
        hidden_dropout: Probability to drop a hidden unit.

    Example:
        >>> GAN2014Discriminator(channels=1, resolution=28)(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 1])
    """

    def __init__(
        self,
        *,
        channels: PositiveInt,
        resolution: PositiveInt,
        units: PositiveInt = 240,
        pieces: PositiveInt = 5,
        irange: NonNegativeFloat = 0.005,
        input_dropout: HalfOpenFraction = 0.2,
        hidden_dropout: HalfOpenFraction = 0.5,
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Dropout(input_dropout),
            Maxout(channels * resolution**2, units, pieces),
            nn.Dropout(hidden_dropout),
            Maxout(units, units, pieces),
            nn.Dropout(hidden_dropout),
            nn.Linear(units, 1),
        )
        uniform_init(self, irange)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) in [-1, 1] to logits (N, 1); pixels are scaled to [0, 1]."""
        return self.layers((x.flatten(1) + 1) / 2)
