"""Layers of equal learning rate, and the minibatch standard deviation, of ProGAN.

Karras, Aila, Laine, Lehtinen. 2017, arXiv:1710.10196, sections 3 and 4.1.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear

from lightning_gen.functional.precision import at_least_float32
from lightning_gen.types import PositiveFloat, PositiveInt

HE = math.sqrt(2)  # gain of a rectifier, He's constant times sqrt(fan_in)


class EqualizedLinear(nn.Module):
    r"""A linear layer whose weights are drawn from N(0, 1) and scaled when they are used.

    .. math:: h = \frac{g \lambda}{\sqrt{\text{fan in}}} W x + \lambda b,
              \quad W \sim N(0, 1 / \lambda^2)

    The initial layer is He's with gain g; Adam, whose steps do not depend on the size of a
    parameter, then moves every layer at the same relative speed, lambda times the others'.

    Args:
        inputs: Features in.
        outputs: Features out.
        bias: Whether to add one.
        bias_init: What the bias adds at the start.
        gain: g; sqrt(2) before a rectifier, 1 before nothing.
        lr_multiplier: lambda.

    Example:
        >>> layer = EqualizedLinear(8, 4, gain=1.0, bias_init=1.0)
        >>> layer(torch.zeros(1, 8)).detach()
        tensor([[1., 1., 1., 1.]])
    """

    def __init__(
        self,
        inputs: PositiveInt,
        outputs: PositiveInt,
        *,
        bias: bool = True,
        bias_init: float = 0.0,
        gain: PositiveFloat = HE,
        lr_multiplier: PositiveFloat = 1.0,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr_multiplier)
        value = torch.full((outputs,), bias_init / lr_multiplier)
        self.bias = nn.Parameter(value) if bias else None
        self.scale, self.lr_multiplier = gain / math.sqrt(inputs) * lr_multiplier, lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs) to (N, outputs)."""
        bias = None if self.bias is None else self.bias * self.lr_multiplier
        return linear(x, self.weight * self.scale, bias)


class EqualizedConv2d(nn.Module):
    """A convolution that keeps the side, with weights from N(0, 1) scaled when they are used.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        kernel: Side of the kernel.
        bias: Whether to add one; it starts at zero.
        gain: Of He's constant; sqrt(2) before a rectifier, 1 before nothing.

    Example:
        >>> EqualizedConv2d(3, 8, 3)(torch.zeros(2, 3, 7, 7)).shape
        torch.Size([2, 8, 7, 7])
    """

    def __init__(
        self,
        inputs: PositiveInt,
        outputs: PositiveInt,
        kernel: PositiveInt,
        *,
        bias: bool = True,
        gain: PositiveFloat = HE,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.scale = gain / math.sqrt(inputs * kernel**2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H, W)."""
        return conv2d(x, self.weight * self.scale, self.bias, padding="same")


class MinibatchStddev(nn.Module):
    """Tells the discriminator how much its minibatch varies, as further feature maps.

    The standard deviation over a group of images, of each feature at each place, averaged over
    features and places.

    Note:
        The paper takes the whole minibatch as one group; groups of four are the authors' code.
        A group is neighbours in the batch, so that the groups are the same on any number of
        devices. A batch that `group` does not divide is split into smaller groups.

    Args:
        group: Images of a group at most: the largest divisor of the batch size not above it.
        features: Feature maps appended, each of its own share of the channels.

    Example:
        >>> h = torch.tensor([0.0, 2.0, 5.0, 5.0]).view(4, 1, 1, 1)
        >>> MinibatchStddev(group=2)(h)[:, 1].flatten().round(decimals=2)
        tensor([1., 1., 0., 0.])
    """

    def __init__(self, group: PositiveInt = 4, features: PositiveInt = 1) -> None:
        super().__init__()
        self.group, self.features = group, features

    def forward(self, h: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C + features, H, W)."""
        N, C, H, W = h.shape
        group = max(g for g in range(1, min(self.group, N) + 1) if N % g == 0)
        groups = at_least_float32(h).reshape(-1, group, self.features, C // self.features, H, W)
        variance = (groups - groups.mean(1, keepdim=True)).square().mean(1)
        sigma = (variance + 1e-8).sqrt().mean((2, 3, 4))  # (N / group, features)
        maps = sigma.repeat_interleave(group, 0)[:, :, None, None].expand(-1, -1, H, W)
        return torch.cat([h, maps.to(h.dtype)], 1)
