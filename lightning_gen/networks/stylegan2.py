"""Generator and discriminator of StyleGAN2 (configurations E and F), for any resolution.

Karras, Laine, Aittala, Hellsten, Lehtinen, Aila. 2019, arXiv:1912.04958; the mapping network,
style mixing and truncation are of Karras, Laine, Aila. 2018, arXiv:1812.04948.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from lightning_gen.functional.precision import at_least_float32
from lightning_gen.networks.dcgan import scales
from lightning_gen.networks.equalized import EqualizedConv2d, EqualizedLinear, MinibatchStddev
from lightning_gen.networks.modulated import DownConv2d, ModulatedConv2d, Resample, lrelu
from lightning_gen.types import Fraction, PositiveFloat, PositiveInt


class MappingNetwork(nn.Module):
    """Fully connected layers from normalised latents z to w, learnt slowly.

    Args:
        latent_dim: Dimension of z.
        style_dim: Dimension of w and of the hidden layers.
        layers: Number of layers.
        lr_multiplier: Learning rate, as a share of the other layers'.

    Example:
        >>> f = MappingNetwork(latent_dim=8, style_dim=16)
        >>> z = torch.ones(1, 8)
        >>> bool(torch.allclose(f(z), f(3 * z)))
        True
    """

    def __init__(
        self,
        *,
        latent_dim: PositiveInt = 512,
        style_dim: PositiveInt = 512,
        layers: PositiveInt = 8,
        lr_multiplier: PositiveFloat = 0.01,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            EqualizedLinear(inner, outer, gain=1.0, lr_multiplier=lr_multiplier)
            for inner, outer in pairwise([latent_dim, *[style_dim] * layers])
        )

    def forward(self, z: Tensor) -> Tensor:
        """Map latents (N, latent_dim) to (N, style_dim)."""
        w = z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()
        for layer in self.layers:
            w = lrelu(layer(w))
        return w


class StyledLayer(nn.Module):
    """A modulated convolution, noise of a learnt strength, a bias and a leaky rectifier.

    The noise is new for every image in training mode, from torch's global generator, and one fixed
    image in evaluation mode.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        side: Side of the output.
        style_dim: Dimension of w.
        up: Whether it is twice that of the input.
    """

    noise: Tensor

    def __init__(
        self,
        inputs: PositiveInt,
        outputs: PositiveInt,
        *,
        side: PositiveInt,
        style_dim: PositiveInt,
        up: bool,
    ) -> None:
        super().__init__()
        half = side // 2 if up else None
        self.conv = ModulatedConv2d(inputs, outputs, 3, style_dim=style_dim, up=half)
        self.strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(outputs, 1, 1))
        self.register_buffer("noise", torch.randn(1, 1, side, side))

    def forward(self, h: Tensor, w: Tensor) -> Tensor:
        """Map (N, inputs, H, W) and w (N, style_dim) to (N, outputs, side, side)."""
        h = self.conv(h, w)
        noise = torch.randn_like(h[:, :1]) if self.training else self.noise.to(h.dtype)
        return lrelu(h + self.strength * noise + self.bias.to(h.dtype))


class ToImage(nn.Module):
    """A modulated convolution 1 x 1 to an image, neither demodulated nor rectified."""

    def __init__(self, inputs: PositiveInt, channels: PositiveInt, style_dim: PositiveInt) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(inputs, channels, 1, style_dim=style_dim, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, h: Tensor, w: Tensor) -> Tensor:
        """Map (N, inputs, H, W) and w (N, style_dim) to (N, C, H, W)."""
        return at_least_float32(self.conv(h, w)) + self.bias


def widths(sides: list[int], base: int, width: int) -> list[int]:
    """Channels of the feature maps of these sides: inverse to the side, and no more than width.

    Example:
        >>> widths([4, 64, 128, 1024], 32768, 512)
        [512, 512, 256, 32]
    """
    return [max(1, min(base // side, width)) for side in sides]


class StyleGAN2Generator(nn.Module):
    """Mapping network and synthesis network; each scale adds its image to the doubled last one.

    The images are not squashed: training pulls them into [-1, 1], and sampling clamps them. In
    training mode most images take their styles from two latent vectors, the second a normal one.

    Args:
        latent_dim: Dimension of z.
        channels: Image channels.
        resolution: Image side in pixels.
        style_dim: Dimension of w.
        mapping_layers: Layers of the mapping network.
        width: Channels of a feature map at most.
        base: Channels times side of those that have fewer.
        mixing: Probability that an image has two latent vectors in training mode.

    Example:
        >>> G = StyleGAN2Generator(latent_dim=8, channels=3, resolution=32, style_dim=8, width=4)
        >>> G(torch.zeros(2, 8)).shape, G.num_styles
        (torch.Size([2, 3, 32, 32]), 8)
    """

    w_mean: Tensor

    def __init__(
        self,
        *,
        latent_dim: PositiveInt = 512,
        channels: PositiveInt,
        resolution: PositiveInt,
        style_dim: PositiveInt = 512,
        mapping_layers: PositiveInt = 8,
        width: PositiveInt = 512,
        base: PositiveInt = 32_768,
        mixing: Fraction = 0.9,
    ) -> None:
        super().__init__()
        self.mixing = mixing
        sides = scales(resolution)
        maps = widths(sides, base, width)
        self.mapping = MappingNetwork(
            latent_dim=latent_dim, style_dim=style_dim, layers=mapping_layers
        )
        self.register_buffer("w_mean", torch.zeros(style_dim))
        self.constant = nn.Parameter(torch.randn(1, maps[0], sides[0], sides[0]))
        self.layers = nn.ModuleList()
        for i, (inner, outer, side) in enumerate(zip(maps[:1] + maps, maps, sides, strict=False)):
            if i > 0:
                self.layers.append(
                    StyledLayer(inner, outer, side=side, style_dim=style_dim, up=True)
                )
            self.layers.append(StyledLayer(outer, outer, side=side, style_dim=style_dim, up=False))
        self.to_image = nn.ModuleList(ToImage(m, channels, style_dim) for m in maps)
        self.upsample = nn.ModuleList(Resample(side, up=True) for side in sides[:-1])
        self.num_styles = len(self.layers) + 1

    def styles(
        self,
        z: Tensor,
        mate: Tensor | None = None,
        crossover: Tensor | None = None,
        psi: float = 1.0,
    ) -> Tensor:
        """The w of every layer (N, num_styles, style_dim).

        Args:
            z: Latents (N, latent_dim) of the coarse layers; of all, without a mate.
            mate: Latents (N, latent_dim) of the fine layers; drawn in training mode.
            crossover: How many layers (N,) are coarse.
            psi: Truncation: w is moved to w_mean + psi (w - w_mean).
        """
        if self.training and mate is None:
            mate, crossover = torch.randn_like(z), self.crossovers(z)
        w = self.mapping(z)[:, None].expand(-1, self.num_styles, -1)
        if mate is not None and crossover is not None:
            coarse = torch.arange(self.num_styles, device=z.device) < crossover[:, None]
            w = torch.where(coarse[:, :, None], w, self.mapping(mate)[:, None])
        return w if psi == 1 else self.w_mean + psi * (w - self.w_mean)

    def crossovers(self, z: Tensor) -> Tensor:
        """Draw how many layers (N,) keep the w of z: some of them, or all of them."""
        some = torch.randint(1, self.num_styles, (len(z),), device=z.device)
        mixes = torch.rand(len(z), device=z.device) < self.mixing
        return torch.where(mixes, some, self.num_styles)

    def synthesis(self, w: Tensor) -> Tensor:
        """Map the w of every layer (N, num_styles, style_dim) to images (N, C, H, W)."""
        h = self.layers[0](self.constant.expand(len(w), -1, -1, -1), w[:, 0])
        x = self.to_image[0](h, w[:, 1])
        for i, to_image in enumerate(self.to_image[1:]):
            h = self.layers[2 * i + 1](h, w[:, 2 * i + 1])
            h = self.layers[2 * i + 2](h, w[:, 2 * i + 2])
            x = self.upsample[i](x) + to_image(h, w[:, 2 * i + 3])
        return x

    def forward(
        self,
        z: Tensor,
        mate: Tensor | None = None,
        crossover: Tensor | None = None,
        psi: float = 1.0,
    ) -> Tensor:
        """Map latents (N, latent_dim) to images (N, C, H, W); arguments as of :meth:`styles`."""
        return self.synthesis(self.styles(z, mate, crossover, psi))


class ResidualDown(nn.Module):
    """Two convolutions beside a linear skip connection, halving the side."""

    def __init__(self, inner: PositiveInt, outer: PositiveInt, side: PositiveInt) -> None:
        super().__init__()
        self.conv = EqualizedConv2d(inner, inner, 3, gain=1.0)
        self.down = DownConv2d(inner, outer, side)
        self.halve = Resample(side, down=True)
        self.skip = EqualizedConv2d(inner, outer, 1, gain=1.0, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inner, H, W) to (N, outer, H / 2, W / 2)."""
        h = lrelu(self.down(lrelu(self.conv(x))))
        return (h + self.skip(self.halve(x))) / math.sqrt(2)  # the variances add


class StyleGAN2Discriminator(nn.Module):
    """Residual blocks from an image to a logit, with the minibatch standard deviation at the end.

    Args:
        channels: Image channels.
        resolution: Image side in pixels.
        width: Channels of a feature map at most.
        base: Channels times side of those that have fewer.

    Example:
        >>> D = StyleGAN2Discriminator(channels=3, resolution=32, width=4)
        >>> D(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 1])
    """

    def __init__(
        self,
        *,
        channels: PositiveInt,
        resolution: PositiveInt,
        width: PositiveInt = 512,
        base: PositiveInt = 32_768,
    ) -> None:
        super().__init__()
        sides = scales(resolution)[::-1]
        maps = widths(sides, base, width)
        self.from_image = EqualizedConv2d(channels, maps[0], 1, gain=1.0)
        blocks = zip(maps, maps[1:], sides, strict=False)
        self.blocks = nn.Sequential(*(ResidualDown(*block) for block in blocks))
        self.stddev = MinibatchStddev(group=4)
        self.conv = EqualizedConv2d(maps[-1] + 1, maps[-1], 3, gain=1.0)
        self.hidden = EqualizedLinear(maps[-1] * sides[-1] ** 2, maps[-1], gain=1.0)
        self.head = EqualizedLinear(maps[-1], 1, gain=1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to logits (N, 1)."""
        h = self.blocks(lrelu(self.from_image(x)))
        h = lrelu(self.conv(self.stddev(h)))
        return self.head(lrelu(self.hidden(h.flatten(1))))
