"""Fully connected networks of BiGAN's permutation-invariant MNIST experiment.

Donahue, Krähenbühl, Darrell. 2016, arXiv:1605.09782, appendix C.1.

Unlike in the authors' code D sees the code beside the image, not before its second layer, batch
norm has scale and shift, pixels are in [-1, 1], and nothing decays the weights.
"""

import torch
from torch import Tensor, nn

from lightning_gen.networks.dcgan import normal_init
from lightning_gen.types import NonNegativeFloat, PositiveInt


def dense(
    inputs: int, units: int, outputs: int, slope: float, *, first_norm: bool
) -> nn.Sequential:
    """Two hidden layers with batch norm after each, or after the second only."""
    return nn.Sequential(
        nn.Linear(inputs, units),
        nn.BatchNorm1d(units) if first_norm else nn.Identity(),
        nn.LeakyReLU(slope),
        nn.Linear(units, units),
        nn.BatchNorm1d(units),
        nn.LeakyReLU(slope),
        nn.Linear(units, outputs),
    )


class BiGANGenerator(nn.Module):
    """z to an image.

    Args:
        latent_dim: Dimension of z.
        channels: Image channels.
        resolution: Image side in pixels.
        units: Units of each of two hidden layers.
        init_std: Standard deviation of the initial weights.

    Example:
        >>> G = BiGANGenerator(channels=1, resolution=28, units=8)
        >>> G(torch.zeros(2, 50)).shape
        torch.Size([2, 1, 28, 28])
    """

    def __init__(
        self,
        *,
        latent_dim: PositiveInt = 50,
        channels: PositiveInt,
        resolution: PositiveInt,
        units: PositiveInt = 1024,
        init_std: NonNegativeFloat = 0.02,
    ) -> None:
        super().__init__()
        self.shape = (channels, resolution, resolution)
        self.layers = dense(latent_dim, units, channels * resolution**2, 0.0, first_norm=True)
        normal_init(self, init_std)

    def forward(self, z: Tensor) -> Tensor:
        """Map latents (N, latent_dim) to images (N, C, H, W) in [-1, 1]."""
        return torch.tanh(self.layers(z) / 2).unflatten(1, self.shape)


class BiGANEncoder(nn.Module):
    """An image to z.

    Args:
        latent_dim: Dimension of z.
        channels: Image channels.
        resolution: Image side in pixels.
        units: Units of each of two hidden layers.
        init_std: Standard deviation of the initial weights.
    """

    def __init__(
        self,
        *,
        latent_dim: PositiveInt = 50,
        channels: PositiveInt,
        resolution: PositiveInt,
        units: PositiveInt = 1024,
        init_std: NonNegativeFloat = 0.02,
    ) -> None:
        super().__init__()
        self.layers = dense(channels * resolution**2, units, latent_dim, 0.2, first_norm=False)
        normal_init(self, init_std)

    def features(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to the penultimate layer (N, units)."""
        return self.layers[:-1](x.flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to codes (N, latent_dim) in [-1, 1]."""
        return torch.tanh(self.layers(x.flatten(1)))


class BiGANDiscriminator(nn.Module):
    """A pair of an image and a code to a logit.

    Args:
        latent_dim: Dimension of z.
        channels: Image channels.
        resolution: Image side in pixels.
        units: Units of each of two hidden layers.
        init_std: Standard deviation of the initial weights.
    """

    def __init__(
        self,
        *,
        latent_dim: PositiveInt = 50,
        channels: PositiveInt,
        resolution: PositiveInt,
        units: PositiveInt = 1024,
        init_std: NonNegativeFloat = 0.02,
    ) -> None:
        super().__init__()
        inputs = channels * resolution**2 + latent_dim
        self.layers = dense(inputs, units, 1, 0.2, first_norm=False)
        normal_init(self, init_std)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """Map images (N, C, H, W) and codes (N, latent_dim) to logits (N, 1)."""
        return self.layers(torch.cat([x.flatten(1), z], 1))
