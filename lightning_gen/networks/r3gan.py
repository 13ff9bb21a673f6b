"""Residual networks of R3GAN: grouped inverted bottlenecks, no normalisation anywhere.

Huang, Gokaslan, Kuleshov, Tompkin. 2025, arXiv:2501.05441, section 3 and appendix D.
"""

import math

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from lightning_gen.networks.dcgan import scales
from lightning_gen.types import PositiveInt

GAIN = math.sqrt(2 / (1 + 0.2**2))  # of a leaky rectifier of slope 0.2
GROUP = 16  # channels of a group


class Block(nn.Module):
    """x plus 1 x 1, grouped 3 x 3 and 1 x 1 convolutions with biases and leaky rectifiers between.

    Fix-up initialisation (arXiv:1901.09321): the last convolution starts at zero and the others
    are scaled down by the number of residual blocks, so that depth needs no normalisation.

    Args:
        channels: Channels in and out.
        depth: Residual blocks of the network.
    """

    def __init__(self, channels: PositiveInt, depth: PositiveInt) -> None:
        super().__init__()
        inner = 2 * channels
        groups = max(1, inner // GROUP) if inner % GROUP == 0 else 1
        first = nn.Conv2d(channels, inner, 1)
        second = nn.Conv2d(inner, inner, 3, padding=1, groups=groups)
        last = nn.Conv2d(inner, channels, 1, bias=False)
        for conv in (first, second):
            msr_init(conv, GAIN * depth**-0.25)
        nn.init.zeros_(last.weight)
        self.layers = nn.Sequential(first, nn.LeakyReLU(0.2), second, nn.LeakyReLU(0.2), last)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        return x + self.layers(x)


class R3GANGenerator(nn.Module):
    """A learnt basis modulated by z, then residual stages with bilinear doubling between them.

    Args:
        latent_dim: Dimension of z.
        channels: Image channels.
        resolution: Image side in pixels.
        width: Channels of every stage.
        blocks: Residual blocks of a stage.

    Example:
        >>> import torch
        >>> G = R3GANGenerator(latent_dim=8, channels=3, resolution=32, width=16)
        >>> G(torch.zeros(2, 8)).shape
        torch.Size([2, 3, 32, 32])
    """

    def __init__(
        self,
        *,
        latent_dim: PositiveInt = 64,
        channels: PositiveInt,
        resolution: PositiveInt,
        width: PositiveInt = 128,
        blocks: PositiveInt = 2,
    ) -> None:
        super().__init__()
        sides = scales(resolution)
        depth = blocks * len(sides)
        self.shape = (width, sides[0], sides[0])
        self.basis = nn.Linear(latent_dim, width * sides[0] ** 2)
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(width, depth) for _ in range(blocks))) for _ in sides
        )
        self.to_image = nn.Conv2d(width, channels, 1)
        msr_init(self.basis, 1.0)
        msr_init(self.to_image, 1.0)

    def forward(self, z: Tensor) -> Tensor:
        """Map latents (N, latent_dim) to images (N, C, H, W) in [-1, 1]."""
        h = self.stages[0](self.basis(z).unflatten(1, self.shape))
        for stage in self.stages[1:]:
            h = stage(interpolate(h, scale_factor=2, mode="bilinear", align_corners=False))
        return self.to_image(h).tanh()


class R3GANDiscriminator(nn.Module):
    """The mirror of the generator: residual stages with halving between them, to a logit.

    Args:
        channels: Image channels.
        resolution: Image side in pixels.
        width: Channels of every stage.
        blocks: Residual blocks of a stage.

    Example:
        >>> import torch
        >>> D = R3GANDiscriminator(channels=3, resolution=32, width=16)
        >>> D(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 1])
    """

    def __init__(
        self,
        *,
        channels: PositiveInt,
        resolution: PositiveInt,
        width: PositiveInt = 128,
        blocks: PositiveInt = 2,
    ) -> None:
        super().__init__()
        sides = scales(resolution)
        depth = blocks * len(sides)
        self.from_image = nn.Conv2d(channels, width, 1)
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(width, depth) for _ in range(blocks))) for _ in sides
        )
        self.reduce = nn.Conv2d(width, width, sides[0], groups=width, bias=False)
        self.head = nn.Linear(width, 1, bias=False)
        for layer in (self.from_image, self.reduce, self.head):
            msr_init(layer, 1.0)

    def features(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to features (N, width)."""
        h = self.stages[0](self.from_image(x))
        for stage in self.stages[1:]:
            h = stage(avg_pool2d(h, 2))
        return self.reduce(h).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to logits (N, 1)."""
        return self.head(self.features(x))


def msr_init(layer: nn.Conv2d | nn.Linear, gain: float) -> None:
    """Draw weights from N(0, gain^2 / fan_in); biases are zero."""
    fan_in = layer.weight[0].numel()
    nn.init.normal_(layer.weight, 0.0, gain / math.sqrt(fan_in))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
