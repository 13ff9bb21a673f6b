"""The encoders, generators and discriminators of UNIT.

Liu, Breuel, Kautz. 2017, arXiv:1703.00848, appendix A.

As in the authors' code for photographs all but the first and last convolutions of encoders and
generators have instance norm. Edges of the residual blocks are reflected, as CycleGAN's are, and
not padded with zeros.
"""

from itertools import pairwise

from torch import Tensor, nn

from lightning_gen.networks.dcgan import normal_init
from lightning_gen.networks.resnet_translator import ResidualBlock
from lightning_gen.types import NonNegativeFloat, PositiveInt


def normalised(convolution: nn.Conv2d | nn.ConvTranspose2d) -> list[nn.Module]:
    """A convolution, instance norm, and a rectifier."""
    return [convolution, nn.InstanceNorm2d(convolution.out_channels), nn.ReLU()]


class UNITEncoder(nn.Module):
    """The first layers of an encoder, a domain's own: a 7 x 7 convolution, two strided, blocks.

    Args:
        channels: Image channels.
        width: Channels of the first feature map, a quarter of those of the last.
        blocks: Residual blocks.
        init_std: Standard deviation of the initial weights.

    Example:
        >>> import torch
        >>> UNITEncoder(channels=1, width=2, blocks=1)(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 8, 7, 7])
    """

    def __init__(
        self,
        *,
        channels: PositiveInt,
        width: PositiveInt = 64,
        blocks: PositiveInt = 3,
        init_std: NonNegativeFloat = 0.02,
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 7, padding=3),
            nn.LeakyReLU(),
            *normalised(nn.Conv2d(width, 2 * width, 3, 2, 1, bias=False)),
            *normalised(nn.Conv2d(2 * width, 4 * width, 3, 2, 1, bias=False)),
            *(ResidualBlock(4 * width) for _ in range(blocks)),
        )
        normal_init(self, init_std)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to (N, 4 width, H/4, W/4)."""
        return self.layers(x)


class UNITShared(nn.Module):
    """The layers next to the latent space, which both domains share.

    Args:
        width: A quarter of the channels.
        blocks: Residual blocks.
        init_std: Standard deviation of the initial weights.
    """

    def __init__(
        self,
        *,
        width: PositiveInt = 64,
        blocks: PositiveInt = 1,
        init_std: NonNegativeFloat = 0.02,
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(ResidualBlock(4 * width) for _ in range(blocks)))
        normal_init(self, init_std)

    def forward(self, h: Tensor) -> Tensor:
        """Map (N, 4 width, h, w) to the same shape."""
        return self.layers(h)


class UNITGenerator(nn.Module):
    """The last layers of a generator, a domain's own: blocks and two transposed convolutions.

    Args:
        channels: Image channels.
        width: Channels of the last feature map, a quarter of those of the first.
        blocks: Residual blocks.
        init_std: Standard deviation of the initial weights.
    """

    def __init__(
        self,
        *,
        channels: PositiveInt,
        width: PositiveInt = 64,
        blocks: PositiveInt = 3,
        init_std: NonNegativeFloat = 0.02,
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(ResidualBlock(4 * width) for _ in range(blocks)),
            *normalised(nn.ConvTranspose2d(4 * width, 2 * width, 3, 2, 1, 1, bias=False)),
            *normalised(nn.ConvTranspose2d(2 * width, width, 3, 2, 1, 1, bias=False)),
            nn.Conv2d(width, channels, 1),
            nn.Tanh(),
        )
        normal_init(self, init_std)

    def forward(self, h: Tensor) -> Tensor:
        """Map (N, 4 width, h, w) to images (N, C, 4 h, 4 w) in [-1, 1]."""
        return self.layers(h)


class UNITDiscriminator(nn.Module):
    """Strided 3 x 3 convolutions without normalisation from an image to a map of logits.

    Args:
        channels: Image channels.
        width: Channels of the first feature map; they double with each layer.
        layers: Strided convolutions.
        init_std: Standard deviation of the initial weights.

    Example:
        >>> import torch
        >>> D = UNITDiscriminator(channels=1, width=2, layers=3)
        >>> D(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 1, 4, 4])
    """

    def __init__(
        self,
        *,
        channels: PositiveInt,
        width: PositiveInt = 64,
        layers: PositiveInt = 6,
        init_std: NonNegativeFloat = 0.02,
    ) -> None:
        super().__init__()
        widths = [channels, *(width * 2**i for i in range(layers))]
        modules: list[nn.Module] = []
        for inner, outer in pairwise(widths):
            modules += [nn.Conv2d(inner, outer, 3, 2, 1), nn.LeakyReLU()]
        self.layers = nn.Sequential(*modules, nn.Conv2d(widths[-1], 1, 1))
        normal_init(self, init_std)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to logits (N, 1, h, w)."""
        return self.layers(x)
