"""Strided convolutions into a code and out of it, without anything at the output."""

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from lightning_gen.networks.dcgan import scales
from lightning_gen.types import PositiveInt

NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "none": lambda channels: nn.Identity(),
}


class ConvolutionalEncoder(nn.Module):
    """Images to codes: each convolution halves the side and doubles the channels.

    Args:
        latent_dim: Dimension of a code.
        channels: Image channels.
        resolution: Image side in pixels: 4, 5, 6 or 7 times a power of two.
        width: Channels of the first feature map.
        norm: Batch normalisation of the feature maps, or none.

    Example:
        >>> import torch
        >>> sizes = {"latent_dim": 2, "channels": 1, "resolution": 28, "width": 4}
        >>> ConvolutionalEncoder(**sizes)(torch.zeros(5, 1, 28, 28)).shape
        torch.Size([5, 2])
    """

    def __init__(
        self,
        *,
        latent_dim: PositiveInt,
        channels: PositiveInt,
        resolution: PositiveInt,
        width: PositiveInt = 32,
        norm: Literal["batch", "none"] = "none",
    ) -> None:
        super().__init__()
        sides = scales(resolution)
        widths = [channels, *(width * 2**i for i in range(len(sides) - 1))]
        layers: list[nn.Module] = []
        for inner, outer in pairwise(widths):
            layers += [nn.Conv2d(inner, outer, 4, 2, 1), NORMS[norm](outer), nn.ReLU()]
        self.layers = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(widths[-1] * sides[0] ** 2, latent_dim)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) in [-1, 1] to codes (N, latent_dim)."""
        return self.layers(x)


class ConvolutionalDecoder(nn.Module):
    """Codes to pixels, of which a model says what they mean: the encoder's mirror image.

    Args:
        latent_dim: Dimension of a code.
        channels: Image channels.
        resolution: Image side in pixels: 4, 5, 6 or 7 times a power of two.
        width: Channels of the last hidden feature map.
        norm: Batch normalisation of the feature maps, or none.

    Example:
        >>> import torch
        >>> sizes = {"latent_dim": 2, "channels": 1, "resolution": 28, "width": 4}
        >>> ConvolutionalDecoder(**sizes)(torch.zeros(5, 2)).shape
        torch.Size([5, 1, 28, 28])
    """

    def __init__(
        self,
        *,
        latent_dim: PositiveInt,
        channels: PositiveInt,
        resolution: PositiveInt,
        width: PositiveInt = 32,
        norm: Literal["batch", "none"] = "none",
    ) -> None:
        super().__init__()
        sides = scales(resolution)
        widths = [width * 2**i for i in reversed(range(len(sides) - 1))]
        layers: list[nn.Module] = [
            nn.Linear(latent_dim, widths[0] * sides[0] ** 2),
            nn.Unflatten(1, (widths[0], sides[0], sides[0])),
        ]
        for inner, outer in pairwise([*widths, channels]):
            layers += [NORMS[norm](inner), nn.ReLU(), nn.ConvTranspose2d(inner, outer, 4, 2, 1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        """Map codes (N, latent_dim) to real numbers (N, C, H, W)."""
        return self.layers(z)
