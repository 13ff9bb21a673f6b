"""Generator and discriminator that grow level by level, of ProGAN.

Karras, Aila, Laine, Lehtinen. 2017, arXiv:1710.10196, figures 1 and 2, table 2.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, leaky_relu

from lightning_gen.functional.precision import at_least_float32
from lightning_gen.networks.dcgan import scales
from lightning_gen.networks.equalized import (
    HE,
    EqualizedConv2d,
    EqualizedLinear,
    MinibatchStddev,
)
from lightning_gen.types import PositiveInt


def pixel_norm(h: Tensor) -> Tensor:
    """Bring the feature vector of each pixel to unit mean square (section 4.2).

    Args:
        h: Features (N, C, ...), normalised over C.

    Example:
        >>> pixel_norm(torch.tensor([[3.0, 4.0]]))  # of length sqrt(2)
        tensor([[0.8485, 1.1314]])
    """
    square = at_least_float32(h).square().mean(1, keepdim=True)
    return h * (square + 1e-8).rsqrt().to(h.dtype)


def shrink(x: Tensor, side: int) -> Tensor:
    """Average images (N, C, H, W) down to a smaller side."""
    return avg_pool2d(x, x.shape[-1] // side) if side < x.shape[-1] else x


def enlarge(x: Tensor, side: int) -> Tensor:
    """Repeat the pixels of images (N, C, H, W) up to a larger side."""
    return interpolate(x, scale_factor=side // x.shape[-1]) if side > x.shape[-1] else x


class Growing(nn.Module):
    """A network of levels that come one after another; level 0 has the smallest images.

    The buffer ``growth`` says which are there: k is level k alone, and k + alpha is level k + 1
    with weight alpha beside level k with weight 1 - alpha.

    Args:
        resolution: Side in pixels of the images of the last level.
    """

    growth: Tensor

    def __init__(self, resolution: PositiveInt) -> None:
        super().__init__()
        self.sides = scales(resolution)
        self.register_buffer("growth", torch.zeros(()))

    @property
    def present(self) -> tuple[int, int, float]:
        """The finished level, the top level (the one above while it fades in), and alpha."""
        growth = self.growth.item()
        return int(growth), math.ceil(growth), growth % 1

    def fade(self, x: Tensor) -> Tensor:
        """Show real images (N, C, H, W) as they are at this growth, in full size.

        While a level fades in they are mixed with those of the level below, as G's images are.
        """
        k, top, alpha = self.present
        y = shrink(x, self.sides[top])
        if top > k:
            y = enlarge(shrink(y, self.sides[k]), self.sides[top]).lerp(y, alpha)
        return enlarge(y, self.sides[-1])


class Activated(nn.Sequential):
    """A layer and a leaky rectifier of slope 0.2."""

    def forward(self, h: Tensor) -> Tensor:
        """Map (N, inputs, ...) to (N, outputs, ...)."""
        return leaky_relu(super().forward(h), 0.2)


class Normalized(Activated):
    """A layer, a leaky rectifier and the pixel norm."""

    def forward(self, h: Tensor) -> Tensor:
        """Map (N, inputs, ...) to (N, outputs, ...)."""
        return pixel_norm(super().forward(h))


class FromLatent(nn.Module):
    """A transposed convolution of z, all of whose side is one kernel; a bias a channel."""

    def __init__(self, latent_dim: PositiveInt, width: PositiveInt, side: PositiveInt) -> None:
        super().__init__()
        gain = HE / side  # the kernel counts as fan in
        self.linear = EqualizedLinear(latent_dim, width * side**2, bias=False, gain=gain)
        self.bias = nn.Parameter(torch.zeros(width, 1, 1))
        self.shape = (width, side, side)

    def forward(self, z: Tensor) -> Tensor:
        """Map latents (N, latent_dim) to (N, width, side, side)."""
        return self.linear(z).unflatten(1, self.shape) + self.bias


class ProGANGenerator(Growing):
    """Convolutions from a point of the hypersphere to an image, at the levels that are there.

    A level of side s has min(width, width_times_side / s) channels: with the paper's values 512 up
    to 32 pixels, and half as many at each doubling after.

    Args:
        latent_dim: Dimension of z.
        channels: Image channels.
        resolution: Image side in pixels of the last level.
        width: Channels of a level at most.
        width_times_side: Channels of a level times its side, at most.

    Example:
        >>> G = ProGANGenerator(latent_dim=8, channels=3, resolution=32, width=4)
        >>> G(torch.ones(2, 8)).shape
        torch.Size([2, 3, 32, 32])
    """

    def __init__(
        self,
        *,
        latent_dim: PositiveInt = 512,
        channels: PositiveInt,
        resolution: PositiveInt,
        width: PositiveInt = 512,
        width_times_side: PositiveInt = 16_384,
    ) -> None:
        super().__init__(resolution)
        first, *others = widths = channels_of(self.sides, width, width_times_side)
        self.blocks = nn.ModuleList(
            [
                nn.Sequential(
                    Normalized(FromLatent(latent_dim, first, self.sides[0])),
                    Normalized(EqualizedConv2d(first, first, 3)),
                )
            ]
        )
        for inner, outer in zip(widths, others, strict=False):
            self.blocks.append(
                nn.Sequential(
                    nn.Upsample(scale_factor=2),
                    Normalized(EqualizedConv2d(inner, outer, 3)),
                    Normalized(EqualizedConv2d(outer, outer, 3)),
                )
            )
        self.to_image = nn.ModuleList(EqualizedConv2d(w, channels, 1, gain=1.0) for w in widths)

    def forward(self, z: Tensor) -> Tensor:
        """Map latents (N, latent_dim) to images (N, C, H, W), about in [-1, 1], in full size."""
        k, top, alpha = self.present
        h = pixel_norm(z)
        for block in self.blocks[: k + 1]:
            h = block(h)
        x = self.to_image[k](h)
        if top > k:
            x = enlarge(x, self.sides[top]).lerp(self.to_image[top](self.blocks[top](h)), alpha)
        return enlarge(x, self.sides[-1])


class ProGANDiscriminator(Growing):
    """The mirror of the generator, with the minibatch standard deviation at its smallest level.

    Args:
        channels: Image channels.
        resolution: Image side in pixels of the last level.
        width: Channels of a level at most.
        width_times_side: Channels of a level times its side, at most.
        group: Images over which the standard deviation is taken.

    Example:
        >>> D = ProGANDiscriminator(channels=3, resolution=32, width=4)
        >>> D(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 1])
    """

    def __init__(
        self,
        *,
        channels: PositiveInt,
        resolution: PositiveInt,
        width: PositiveInt = 512,
        width_times_side: PositiveInt = 16_384,
        group: PositiveInt = 4,
    ) -> None:
        super().__init__(resolution)
        first, *others = widths = channels_of(self.sides, width, width_times_side)
        self.from_image = nn.ModuleList(Activated(EqualizedConv2d(channels, w, 1)) for w in widths)
        self.blocks = nn.ModuleList(
            [
                nn.Sequential(
                    MinibatchStddev(group),
                    Activated(EqualizedConv2d(first + 1, first, 3)),
                    nn.Flatten(),
                    Activated(EqualizedLinear(first * self.sides[0] ** 2, first)),
                )
            ]
        )
        for outer, inner in zip(widths, others, strict=False):
            self.blocks.append(
                nn.Sequential(
                    Activated(EqualizedConv2d(inner, inner, 3)),
                    Activated(EqualizedConv2d(inner, outer, 3)),
                    nn.AvgPool2d(2),
                )
            )
        self.head = EqualizedLinear(first, 1, gain=1.0)

    def features(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) in full size to features (N, width)."""
        k, top, alpha = self.present
        x = shrink(x, self.sides[top])
        h = self.from_image[top](x)
        if top > k:
            h = self.from_image[k](shrink(x, self.sides[k])).lerp(self.blocks[top](h), alpha)
        for i in reversed(range(k + 1)):
            h = self.blocks[i](h)
        return h

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) in full size to logits (N, 1)."""
        return self.head(self.features(x))


def channels_of(sides: list[int], width: int, width_times_side: int) -> list[int]:
    """Channels of the levels of these sides.

    Example:
        >>> channels_of([4, 32, 64, 1024], 512, 16_384)
        [512, 512, 256, 16]
    """
    return [max(1, min(width, width_times_side // side)) for side in sides]
