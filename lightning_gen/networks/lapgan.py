"""The networks of LAPGAN: one at each level of a Laplacian pyramid, for any size of image.

Denton, Chintala, Szlam, Fergus. 2015, arXiv:1506.05751, section 4, and the authors' code.
"""

import torch
from torch import Tensor, nn

from lightning_gen.functional.precision import at_least_float32
from lightning_gen.functional.pyramid import up
from lightning_gen.networks.dcgan import scales
from lightning_gen.types import HalfOpenFraction, PositiveInt


def level_sides(resolution: int) -> list[int]:
    """Sides of the pyramid's images, from the coarsest of 5 to 8 pixels to the whole.

    Args:
        resolution: Side of the image: 4 to 7 times a power of two.

    Example:
        >>> level_sides(28), level_sides(32), level_sides(64)
        ([7, 14, 28], [8, 16, 32], [8, 16, 32, 64])
    """
    return [side for side in scales(resolution) if 2 * side > 8]


class LAPGANCoarseGenerator(nn.Module):
    """Two dense layers of rectifiers from noise to the coarsest image; the output is linear.

    Args:
        latent_dim: Dimension of the noise.
        channels: Image channels.
        side: Side of the image.
        units: Units of each hidden layer.
    """

    def __init__(
        self,
        *,
        latent_dim: PositiveInt,
        channels: PositiveInt,
        side: PositiveInt,
        units: PositiveInt,
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.layers = nn.Sequential(
            nn.Linear(latent_dim, units),
            nn.ReLU(),
            nn.Linear(units, units),
            nn.ReLU(),
            nn.Linear(units, channels * side**2),
            nn.Unflatten(1, (channels, side, side)),
        )

    def forward(self, z: Tensor, low: Tensor | None = None) -> Tensor:
        """Map noise (N, latent_dim) to images (N, C, side, side); there is no coarser one."""
        return self.layers(z)


class LAPGANResidualGenerator(nn.Module):
    """Three convolutions from noise and the coarser image to what the finer one adds to it.

    The noise is one more plane of the image; the output is linear.

    Args:
        channels: Image channels.
        side: Side of the image.
        width: Channels of each hidden layer.
    """

    def __init__(self, *, channels: PositiveInt, side: PositiveInt, width: PositiveInt) -> None:
        super().__init__()
        self.latent_dim = side**2
        self.layers = nn.Sequential(
            nn.Conv2d(channels + 1, width, 7, padding=3),
            nn.ReLU(),
            nn.Conv2d(width, width, 7, padding=3),
            nn.ReLU(),
            nn.Conv2d(width, channels, 5, padding=2),
        )

    def forward(self, z: Tensor, low: Tensor) -> Tensor:
        """Map noise (N, side^2) and low-pass images (N, C, side, side) to their residuals."""
        return self.layers(torch.cat([z.view_as(low[:, :1]), low], 1))


class LAPGANGenerator(nn.Module):
    """A pyramid of generators, climbed from noise to an image.

    Args:
        latent_dim: Dimension of the coarsest level's noise.
        channels: Image channels.
        resolution: Image side in pixels.
        units: Units of each hidden layer of the coarsest level.
        width: Channels of each hidden layer of the other levels.

    Example:
        >>> G = LAPGANGenerator(latent_dim=8, channels=3, resolution=32, units=4, width=4)
        >>> G.latent_dims
        [8, 256, 1024]
        >>> G(torch.zeros(2, 8 + 256 + 1024)).shape
        torch.Size([2, 3, 32, 32])
    """

    def __init__(
        self,
        *,
        latent_dim: PositiveInt = 100,
        channels: PositiveInt,
        resolution: PositiveInt,
        units: PositiveInt = 1200,
        width: PositiveInt = 64,
    ) -> None:
        super().__init__()
        coarsest, *finer = level_sides(resolution)
        self.levels = nn.ModuleList(
            [
                LAPGANCoarseGenerator(
                    latent_dim=latent_dim, channels=channels, side=coarsest, units=units
                ),
                *(LAPGANResidualGenerator(channels=channels, side=s, width=width) for s in finer),
            ]
        )
        self.latent_dims = [level.latent_dim for level in self.levels]

    def forward(self, z: Tensor) -> Tensor:
        """Map latents (N, sum of latent_dims), the coarsest first, to images in [-1, 1]."""
        coarsest, *finer = zip(self.levels, z.split(self.latent_dims, 1), strict=True)
        x = at_least_float32(coarsest[0](coarsest[1]))
        for level, z_k in finer:
            low = up(x)
            x = low + level(z_k, low)
        return x.clamp(-1, 1)


class LAPGANDiscriminator(nn.Module):
    """A pyramid of discriminators, each of the images of its level.

    The coarsest is two dense layers, the others two convolutions, all with rectifiers and dropout.

    Args:
        channels: Image channels.
        resolution: Image side in pixels.
        units: Units of each hidden layer of the coarsest level.
        width: Channels of each hidden layer of the other levels.
        dropout: Probability to drop a hidden unit.

    Example:
        >>> D = LAPGANDiscriminator(channels=1, resolution=28, units=4, width=4)
        >>> [D_k(torch.zeros(2, 1, s, s)).shape for D_k, s in zip(D.levels, (7, 14, 28))]
        [torch.Size([2, 1]), torch.Size([2, 1]), torch.Size([2, 1])]
    """

    def __init__(
        self,
        *,
        channels: PositiveInt,
        resolution: PositiveInt,
        units: PositiveInt = 600,
        width: PositiveInt = 64,
        dropout: HalfOpenFraction = 0.5,
    ) -> None:
        super().__init__()
        coarsest, *finer = level_sides(resolution)
        dense = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels * coarsest**2, units),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(units, units),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(units, 1),
        )
        convolutional = (
            nn.Sequential(
                nn.Conv2d(channels, width, 5),
                nn.ReLU(),
                nn.Conv2d(width, width, 5, 2),
                nn.ReLU(),
                nn.Flatten(),
                nn.Dropout(dropout),
                nn.Linear(width * ((side - 7) // 2) ** 2, 1),
            )
            for side in finer
        )
        self.levels = nn.ModuleList([dense, *convolutional])

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to logits (N, 1) of the finest level."""
        return self.levels[-1](x)
