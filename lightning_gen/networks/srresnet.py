"""Generator and discriminator of SRGAN, for factors 2, 4, 8, ... and pictures of any size.

Ledig et al. 2016, arXiv:1609.04802, figure 4.
"""

from itertools import pairwise

from torch import Tensor, nn

from lightning_gen.types import PositiveInt


def doublings(resolution: int, resolution_a: int) -> int:
    """How often an image is doubled from one side to the other.

    Args:
        resolution: Side of the large image.
        resolution_a: Side of the small image.

    Raises:
        ValueError: The one is not 2, 4, 8, ... times the other.

    Example:
        >>> doublings(128, 32)
        2
    """
    factor = resolution // resolution_a
    if factor < 2 or factor & (factor - 1) or factor * resolution_a != resolution:
        raise ValueError(
            f"resolution={resolution} must be 2, 4 or 8 times resolution_a={resolution_a}; "
            "data=downsample makes such pairs"
        )
    return factor.bit_length() - 1


class ResidualBlock(nn.Module):
    """Two normalised convolutions beside the identity."""

    def __init__(self, width: PositiveInt) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.PReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, width, H, W) to the same shape."""
        return x + self.layers(x)


class SRResNetGenerator(nn.Module):
    """Residual blocks at the low resolution, then pixels shuffled out of channels.

    Note:
        The output goes through a hyperbolic tangent, since images are in [-1, 1]; the figure has
        none.

    Args:
        channels_a: Channels of the small image.
        channels: Channels of the large image.
        resolution_a: Side of the small image; with ``resolution``, only the factor matters.
        resolution: Side of the large image: 2, 4 or 8 times that of the small one.
        width: Channels of every feature map.
        blocks: Residual blocks.

    Example:
        >>> G = SRResNetGenerator(
        ...     channels_a=3, channels=3, resolution_a=8, resolution=32, width=4, blocks=1
        ... )
        >>> G(torch.zeros(2, 3, 10, 12)).shape
        torch.Size([2, 3, 40, 48])
    """

    def __init__(
        self,
        *,
        channels_a: PositiveInt,
        channels: PositiveInt,
        resolution_a: PositiveInt,
        resolution: PositiveInt,
        width: PositiveInt = 64,
        blocks: PositiveInt = 16,
    ) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(channels_a, width, 9, padding=4), nn.PReLU())
        self.trunk = nn.Sequential(
            *(ResidualBlock(width) for _ in range(blocks)),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )
        shuffles: list[nn.Module] = []
        for _ in range(doublings(resolution, resolution_a)):
            shuffles += [
                nn.Conv2d(width, 4 * width, 3, padding=1),
                nn.PixelShuffle(2),
                nn.PReLU(),
            ]
        self.up = nn.Sequential(*shuffles)
        self.last = nn.Sequential(nn.Conv2d(width, channels, 9, padding=4), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, channels_a, h, w) to (N, channels, r h, r w) in [-1, 1]."""
        h = self.first(x)
        return self.last(self.up(h + self.trunk(h)))


class SRGANDiscriminator(nn.Module):
    """Eight convolutions, every second of which halves the side, and two dense layers.

    Args:
        channels: Image channels.
        resolution: Image side in pixels.
        width: Channels of the first feature maps; they double with each halving but the last.
        units: Units of the hidden dense layer.

    Example:
        >>> D = SRGANDiscriminator(channels=1, resolution=28, width=4, units=8)
        >>> D(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 1])
    """

    def __init__(
        self,
        *,
        channels: PositiveInt,
        resolution: PositiveInt,
        width: PositiveInt = 64,
        units: PositiveInt = 1024,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1), nn.LeakyReLU(0.2)]
        widths = [width] + [width * 2**i for i in (0, 1, 1, 2, 2, 3, 3)]
        for i, (inner, outer) in enumerate(pairwise(widths)):
            layers += [
                nn.Conv2d(inner, outer, 3, stride=1 + (i + 1) % 2, padding=1, bias=False),
                nn.BatchNorm2d(outer),
                nn.LeakyReLU(0.2),
            ]
        self.body = nn.Sequential(*layers)
        side = -(-resolution // 16)
        self.head = nn.Sequential(
            nn.Linear(widths[-1] * side**2, units), nn.LeakyReLU(0.2), nn.Linear(units, 1)
        )

    def features(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to the last feature map, flattened."""
        return self.body(x).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to logits (N, 1)."""
        return self.head(self.features(x))
