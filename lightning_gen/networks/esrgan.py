"""The generator of ESRGAN: dense blocks, residual within residual, without normalisation.

Wang et al. 2018, arXiv:1809.00219, section 3.1 and figure 4.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu

from lightning_gen.networks.srresnet import doublings
from lightning_gen.types import NonNegativeFloat, PositiveInt


class DenseBlock(nn.Module):
    """Five convolutions, each of all that came before; the last is scaled and added to the input.

    Args:
        width: Channels of input and output.
        growth: Channels that each of the first four convolutions adds.
        beta: Scale of the residual.
    """

    def __init__(self, width: PositiveInt, growth: PositiveInt, beta: NonNegativeFloat) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(width + i * growth, growth if i < 4 else width, 3, padding=1)
            for i in range(5)
        )
        self.beta = beta

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, width, H, W) to the same shape."""
        *inner, last = self.convs
        seen = x
        for conv in inner:
            seen = torch.cat([seen, leaky_relu(conv(seen), 0.2)], 1)
        return x + self.beta * last(seen)


class RRDB(nn.Module):
    """Three dense blocks in a row, scaled and added to the input once more."""

    def __init__(self, width: PositiveInt, growth: PositiveInt, beta: NonNegativeFloat) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(DenseBlock(width, growth, beta) for _ in range(3)))
        self.beta = beta

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, width, H, W) to the same shape."""
        return x + self.beta * self.blocks(x)


class RRDBGenerator(nn.Module):
    """Residual-in-residual dense blocks at the low resolution, then larger pixels, convolved.

    Note:
        The side is doubled as in the authors' code: nearest pixels, then a convolution.

    Args:
        channels_a: Channels of the small image.
        channels: Channels of the large image.
        resolution_a: Side of the small image; with ``resolution``, only the factor matters.
        resolution: Side of the large image: 2, 4 or 8 times that of the small one.
        width: Channels of every feature map.
        blocks: Blocks of three dense blocks.
        growth: Channels that a convolution adds in a dense block.
        beta: Scale of residuals, in a dense block and around three of them.
        init_scale: Initial weights are He's normal ones times this.

    Example:
        >>> G = RRDBGenerator(
        ...     channels_a=1, channels=1, resolution_a=7, resolution=28, width=4, blocks=1, growth=2
        ... )
        >>> G(torch.zeros(2, 1, 5, 6)).shape
        torch.Size([2, 1, 20, 24])
    """

    def __init__(
        self,
        *,
        channels_a: PositiveInt,
        channels: PositiveInt,
        resolution_a: PositiveInt,
        resolution: PositiveInt,
        width: PositiveInt = 64,
        blocks: PositiveInt = 23,
        growth: PositiveInt = 32,
        beta: NonNegativeFloat = 0.2,
        init_scale: NonNegativeFloat = 0.1,
    ) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels_a, width, 3, padding=1)
        self.trunk = nn.Sequential(
            *(RRDB(width, growth, beta) for _ in range(blocks)),
            nn.Conv2d(width, width, 3, padding=1),
        )
        times = doublings(resolution, resolution_a)
        self.ups = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(times))
        self.hidden = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, channels, 3, padding=1)
        for conv in (m for m in self.trunk.modules() if isinstance(m, nn.Conv2d)):
            nn.init.kaiming_normal_(conv.weight)
            conv.weight.data *= init_scale
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, channels_a, h, w) to (N, channels, r h, r w), about in [-1, 1]."""
        h = self.first(x)
        h = h + self.trunk(h)
        for up in self.ups:
            h = leaky_relu(up(interpolate(h, scale_factor=2)), 0.2)
        return self.last(leaky_relu(self.hidden(h), 0.2))
