"""A small U-Net that is told the time, for denoising.

Ho, Jain, Abbeel. Denoising Diffusion Probabilistic Models, 2020, arXiv:2006.11239, appendix B;
Dhariwal, Nichol. Diffusion Models Beat GANs on Image Synthesis, 2021, arXiv:2105.05233.
"""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, silu

from lightning_gen.networks.time import Condition
from lightning_gen.types import HalfOpenFraction, NonNegativeInt, PositiveInt


def zeroed(layer: nn.Conv2d | nn.Linear) -> nn.Conv2d | nn.Linear:
    """A layer that gives zero before it has learnt anything."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def groups(width: int) -> int:
    """Groups of a group norm: as many as divide the channels, 8 at most."""
    return next(g for g in (8, 4, 2, 1) if width % g == 0)


class Attention(nn.Module):
    """Every place looks at all others, beside the identity.

    Args:
        width: Channels.

    Example:
        >>> Attention(8)(torch.zeros(2, 8, 7, 7)).shape
        torch.Size([2, 8, 7, 7])
    """

    def __init__(self, width: PositiveInt) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups(width), width)
        self.qkv, self.out = nn.Conv2d(width, 3 * width, 1), zeroed(nn.Conv2d(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, width, H, W) to the same shape."""
        q, k, v = self.qkv(self.norm(x)).flatten(2).chunk(3, 1)
        # Written out: of so few places it is faster on a CPU than the fused kernel's backward.
        weights = (q.mT @ k * x.shape[1] ** -0.5).softmax(-1)
        return x + self.out((v @ weights.to(v.dtype).mT).unflatten(2, x.shape[2:]))


class ResidualBlock(nn.Module):
    """Two convolutions beside the identity, and attention behind them on request.

    The condition scales and shifts what lies between the convolutions.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        condition: Features of the condition.
        attention: Whether there is attention.
        dropout: Rate before the second convolution.

    Example:
        >>> block = ResidualBlock(4, 8, condition=6)
        >>> block(torch.zeros(2, 4, 7, 7), torch.zeros(2, 6)).shape
        torch.Size([2, 8, 7, 7])
    """

    def __init__(
        self,
        inputs: PositiveInt,
        outputs: PositiveInt,
        condition: PositiveInt,
        attention: bool = False,
        dropout: HalfOpenFraction = 0.0,
    ) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups(inputs), inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.modulation = zeroed(nn.Linear(condition, 2 * outputs))
        self.norm2 = nn.GroupNorm(groups(outputs), outputs)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = zeroed(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.attention = Attention(outputs) if attention else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H, W)."""
        h = self.conv1(silu(self.norm1(x)))
        scale, shift = self.modulation(condition)[:, :, None, None].chunk(2, 1)
        h = self.norm2(h) * (1 + scale) + shift
        return self.attention(self.skip(x) + self.conv2(self.dropout(silu(h))))


class DiffusionUNet(nn.Module):
    """Residual blocks on the way down and up again, where each sees its opposite's map.

    Sides that are odd are halved upwards (7 to 4). With ``patch`` 2 the images are folded to half
    their side and four times their channels first, which spares the dearest convolutions.

    Args:
        channels: Image channels.
        resolution: Image side in pixels.
        width: Channels at the first resolution.
        multipliers: Of the channels at each resolution.
        blocks: Residual blocks at each resolution on the way down; one more on the way up.
        attention: Sides of feature maps that have attention.
        patch: Side of the patches that images are folded by.
        num_classes: Classes of a conditional network, None for none.
        dropout: Rate inside the residual blocks.

    Example:
        >>> net = DiffusionUNet(channels=1, resolution=28, width=8, attention=[7])
        >>> net(torch.zeros(2, 1, 28, 28), torch.rand(2)).shape
        torch.Size([2, 1, 28, 28])
    """

    def __init__(
        self,
        *,
        channels: PositiveInt,
        resolution: PositiveInt,
        width: PositiveInt = 32,
        multipliers: Sequence[PositiveInt] = (1, 2),
        blocks: PositiveInt = 1,
        attention: Sequence[NonNegativeInt] = (7, 8),
        patch: PositiveInt = 1,
        num_classes: PositiveInt | None = None,
        dropout: HalfOpenFraction = 0.0,
    ) -> None:
        super().__init__()
        if resolution % patch:
            raise ValueError(f"resolution={resolution} must be a multiple of patch={patch}")
        dim = 4 * width
        self.condition = Condition(dim, num_classes)
        self.fold, self.unfold = nn.PixelUnshuffle(patch), nn.PixelShuffle(patch)
        self.first = nn.Conv2d(channels * patch**2, width, 3, padding=1)
        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        self.up, self.grow = nn.ModuleList(), nn.ModuleList()
        side, now, kept, sides = resolution // patch, width, [width], []

        def blocks_of(inputs: Sequence[int], outputs: int, side: int) -> nn.ModuleList:
            mixed = side in attention
            return nn.ModuleList(ResidualBlock(i, outputs, dim, mixed, dropout) for i in inputs)

        for multiplier in multipliers:
            outputs = width * multiplier
            self.down.append(blocks_of([now] + [outputs] * (blocks - 1), outputs, side))
            self.shrink.append(nn.Conv2d(outputs, outputs, 3, 2, padding=1))
            kept += [outputs] * (blocks + 1)
            sides.append(side)
            side, now = (side + 1) // 2, outputs
        self.shrink = self.shrink[:-1]  # the last level has no smaller one
        kept.pop()
        self.middle = blocks_of([now, now], now, sides[-1])
        for multiplier, side in reversed(list(zip(multipliers, sides, strict=True))):
            outputs = width * multiplier
            inputs = [now + kept.pop()] + [outputs + kept.pop() for _ in range(blocks)]
            self.up.append(blocks_of(inputs, outputs, side))
            self.grow.append(nn.Conv2d(outputs, outputs, 3, padding=1))
            now = outputs
        self.grow = self.grow[:-1]
        self.norm = nn.GroupNorm(groups(now), now)
        self.last = zeroed(nn.Conv2d(now, channels * patch**2, 3, padding=1))

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map images (N, C, H, W), times (N,) and classes (N,) to the images' shape."""
        condition = silu(self.condition(t, labels))
        kept = [self.first(self.fold(x))]
        level: Any
        for level, shrink in zip_longest(self.down, self.shrink):
            for block in level:
                kept.append(block(kept[-1], condition))
            if shrink is not None:
                kept.append(shrink(kept[-1]))
        h = kept[-1]
        for block in self.middle:
            h = block(h, condition)
        for level, grow in zip_longest(self.up, self.grow):
            for block in level:
                h = block(torch.cat([h, kept.pop()], 1), condition)
            if grow is not None:
                h = grow(interpolate(h, kept[-1].shape[-2:]))
        return self.unfold(self.last(silu(self.norm(h))))
