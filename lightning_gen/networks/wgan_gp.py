"""The residual critic of WGAN-GP's experiment on CIFAR-10, for any channels and resolution.

Gulrajani, Ahmed, Arjovsky, Dumoulin, Courville. 2017, arXiv:1704.00028, and the authors'
gan_cifar_resnet.py.
"""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, relu

from lightning_gen.networks.dcgan import scales
from lightning_gen.types import PositiveInt


class ResidualBlock(nn.Module):
    """Two rectified convolutions beside a skip connection, halving the side or not."""

    def __init__(
        self, inner: PositiveInt, outer: PositiveInt, *, half: bool, first: bool = False
    ) -> None:
        super().__init__()
        self.halves, self.first = half, first
        self.conv1 = nn.Conv2d(inner, outer, 3, padding=1)
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1)
        self.skip = nn.Conv2d(inner, outer, 1) if half else nn.Identity()
        for conv in (m for m in self.modules() if isinstance(m, nn.Conv2d)):
            nn.init.xavier_uniform_(conv.weight, 1.0 if conv is self.skip else 2**0.5)
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inner, H, W) to (N, outer, H, W) or (N, outer, H / 2, W / 2)."""
        h = self.conv2(relu(self.conv1(x if self.first else relu(x))))
        if not self.halves:
            return self.skip(x) + h
        # The first block halves before its skip's convolution, the others after: the same map.
        return self.skip(avg_pool2d(x, 2)) + avg_pool2d(h, 2)


class WGANGPCritic(nn.Module):
    """Four residual blocks without normalisation, a mean over places, and a linear output.

    Args:
        channels: Image channels.
        resolution: Image side in pixels.
        width: Channels of every feature map; the paper's 128.

    Example:
        >>> import torch
        >>> WGANGPCritic(channels=3, resolution=32, width=4)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 1])
    """

    def __init__(
        self, *, channels: PositiveInt, resolution: PositiveInt, width: PositiveInt = 128
    ) -> None:
        super().__init__()
        stages = len(scales(resolution))
        halvings = min(2, stages - 1) + max(0, stages - 4)  # 32 to 8 pixels, and larger ones too
        widths = [channels] + [width] * (halvings + 2)
        self.blocks = nn.Sequential(
            *(
                ResidualBlock(inner, outer, half=i < halvings, first=i == 0)
                for i, (inner, outer) in enumerate(pairwise(widths))
            )
        )
        self.head = nn.Linear(width, 1)

    def features(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to the means (N, width) of the last feature maps."""
        return relu(self.blocks(x)).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to values (N, 1)."""
        return self.head(self.features(x))
