"""Convolutional generator and discriminator of DCGAN, for any channels and resolution.

Radford, Metz, Chintala. 2015, arXiv:1511.06434.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from lightning_gen.types import NonNegativeFloat, PositiveInt


def scales(resolution: int) -> list[int]:
    """Sides of the feature maps from the smallest to the image, each twice the one before.

    Args:
        resolution: Side of the image: 4 to 7 times a power of two.

    Raises:
        ValueError: If halving the side does not end between 4 and 7.

    Example:
        >>> scales(64), scales(28)
        ([4, 8, 16, 32, 64], [7, 14, 28])
    """
    sides = [resolution]
    while sides[0] > 7 and sides[0] % 2 == 0:
        sides.insert(0, sides[0] // 2)
    if not 4 <= sides[0] <= 7 or len(sides) < 2:
        raise ValueError(
            f"resolution={resolution} must be 4, 5, 6 or 7 times 2, 4, 8, ...; 28, 32, 64, 128 are"
        )
    return sides


def normal_init(network: nn.Module, std: float, *, scales: bool = True) -> None:
    """Draw weights from N(0, std^2), biases are zero, and batch-norm scales from N(1, std^2).

    Args:
        network: The network.
        std: Standard deviation.
        scales: Draw the scales too, as DCGAN does.
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.normal_(module.weight, 0.0, std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif scales and isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, std)


class DCGANGenerator(nn.Module):
    """Fractionally strided convolutions from a latent vector to an image.

    Note:
        Kernels are 4 x 4, which tile evenly under stride 2 (the paper draws 5 x 5); ``width=128``
        at 64 x 64 gives the paper's 1024-512-256-128 channels.

    Args:
        latent_dim: Dimension of z.
        channels: Image channels.
        resolution: Image side in pixels.
        width: Channels of the last hidden feature map; they double towards z.
        init_std: Standard deviation of the initial weights.

    Example:
        >>> G = DCGANGenerator(latent_dim=8, channels=3, resolution=32, width=4)
        >>> G(torch.zeros(2, 8)).shape
        torch.Size([2, 3, 32, 32])
    """

    def __init__(
        self,
        *,
        latent_dim: PositiveInt = 100,
        channels: PositiveInt,
        resolution: PositiveInt,
        width: PositiveInt = 64,
        init_std: NonNegativeFloat = 0.02,
    ) -> None:
        super().__init__()
        sides = scales(resolution)
        widths = [width * 2**i for i in reversed(range(len(sides) - 1))]
        layers: list[nn.Module] = [
            nn.ConvTranspose2d(latent_dim, widths[0], sides[0], bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
        ]
        for inner, outer in pairwise(widths):
            layers += [
                nn.ConvTranspose2d(inner, outer, 4, 2, 1, bias=False),
                nn.BatchNorm2d(outer),
                nn.ReLU(inplace=True),
            ]
        layers += [nn.ConvTranspose2d(widths[-1], channels, 4, 2, 1), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        normal_init(self, init_std)

    def forward(self, z: Tensor) -> Tensor:
        """Map latents (N, latent_dim) to images (N, C, H, W) in [-1, 1]."""
        return self.layers(z[:, :, None, None])


class DCGANDiscriminator(nn.Module):
    """Strided convolutions from an image to a logit.

    Args:
        channels: Image channels.
        resolution: Image side in pixels.
        width: Channels of the first feature map; they double towards the logit.
        norm: Normalisation of the hidden layers but the first: batch (the paper's), layer (over
            each image, for critics with a gradient penalty) or none.
        init_std: Standard deviation of the initial weights.

    Example:
        >>> DCGANDiscriminator(channels=3, resolution=32, width=4)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 1])
    """

    def __init__(
        self,
        *,
        channels: PositiveInt,
        resolution: PositiveInt,
        width: PositiveInt = 64,
        norm: Literal["batch", "layer", "none"] = "batch",
        init_std: NonNegativeFloat = 0.02,
    ) -> None:
        super().__init__()
        norms: dict[str, Callable[[int], nn.Module]] = {
            "batch": nn.BatchNorm2d,
            "layer": lambda c: nn.GroupNorm(1, c),
            "none": lambda c: nn.Identity(),
        }
        sides = scales(resolution)
        widths = [channels] + [width * 2**i for i in range(len(sides) - 1)]
        layers: list[nn.Module] = []
        for i, (inner, outer) in enumerate(pairwise(widths)):
            layers += [
                nn.Conv2d(inner, outer, 4, 2, 1, bias=i == 0 or norm == "none"),
                nn.Identity() if i == 0 else norms[norm](outer),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        self.body = nn.Sequential(*layers)
        self.head = nn.Conv2d(widths[-1], 1, sides[0])
        normal_init(self, init_std)

    def features(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to the last feature map, flattened."""
        return self.body(x).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to logits (N, 1)."""
        return self.head(self.body(x)).flatten(1)
