"""Two stacks of shifted convolutions, of the rows above a place and of its own, in a U.

Salimans, Karpathy, Chen, Kingma. 2017, arXiv:1701.05517, section 2.3 to 2.5.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import elu

from lightning_gen.functional.logistic_mixture import numbers
from lightning_gen.networks.pixelcnn import ShiftedConv2d, Windowed
from lightning_gen.types import HalfOpenFraction, PositiveInt

KERNELS = {"vertical": (2, 3), "horizontal": (2, 2)}


def both_signs(x: Tensor) -> Tensor:
    """ELU of channels and of their negatives, twice as many."""
    return elu(torch.cat([x, -x], 1))


class GatedResidual(nn.Module):
    """Two convolutions and a gate, beside the identity, with features from elsewhere.

    Args:
        width: Channels.
        stack: "vertical", which sees the rows above and its own, or "horizontal": of its own the
            left part.
        beside: Channels of the features from elsewhere, 0 for none.
        scale: Pixels, a side, for a place.
        dropout: Probability to drop a number between the convolutions.

    Example:
        >>> GatedResidual(4, "vertical")(torch.zeros(2, 4, 8, 8)).shape
        torch.Size([2, 4, 8, 8])
    """

    def __init__(
        self,
        width: PositiveInt,
        stack: str,
        *,
        beside: int = 0,
        scale: PositiveInt = 1,
        dropout: HalfOpenFraction = 0.0,
    ) -> None:
        super().__init__()
        kernel = KERNELS[stack]
        self.first = ShiftedConv2d(2 * width, width, kernel, (1, 1), scale=scale)
        self.beside = ShiftedConv2d(2 * beside, width, (1, 1), (0, 0)) if beside else None
        self.dropout = nn.Dropout(dropout)
        self.second = ShiftedConv2d(2 * width, 2 * width, kernel, (1, 1), scale=scale)

    def forward(self, x: Tensor, beside: Tensor | None = None) -> Tensor:
        """Map (N, width, H, W) to the same shape."""
        h = self.first(both_signs(x))
        if self.beside is not None and beside is not None:
            h = h + self.beside(both_signs(beside))
        a, b = self.second(self.dropout(both_signs(h))).chunk(2, 1)
        return x + a * b.sigmoid()


class Enlarge(Windowed):
    """Each place twice, in rows and columns.

    Example:
        >>> Enlarge()(torch.zeros(2, 4, 7, 7)).shape
        torch.Size([2, 4, 14, 14])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C, 2 H, 2 W), or the window of it."""
        y = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        if self.window is None:
            return y
        fine, coarse = self.places(1), self.places(2)
        r, c = (
            slice(f.start - 2 * g.start, f.stop - 2 * g.start)
            for f, g in zip(fine, coarse, strict=True)
        )
        return y[:, :, r, c]


class Stack(nn.Module):
    """One of the stacks: down to half the side and up again, with short cuts across.

    Args:
        width: Channels.
        blocks: Residual blocks on the way down, below, and on the way up.
        stack: "vertical" or "horizontal".
        beside: Channels that come from the other stack, 0 for none.
        dropout: Of the blocks.
    """

    def __init__(
        self, width: PositiveInt, blocks: PositiveInt, stack: str, beside: int, dropout: float
    ) -> None:
        super().__init__()

        def chain(beside: int, scale: int) -> nn.ModuleList:
            block = partial(GatedResidual, width, stack, dropout=dropout)
            return nn.ModuleList(block(beside=beside, scale=scale) for _ in range(blocks))

        self.down, self.low, self.up = chain(beside, 1), chain(beside, 2), chain(beside + width, 1)
        self.halve = ShiftedConv2d(width, width, KERNELS[stack], (1, 1), stride=2, scale=2)
        self.enlarge = Enlarge()

    def forward(self, x: Tensor, others: Sequence[Tensor] = ()) -> list[Tensor]:
        """Features after each block, from those (N, width, H, W) before and the other stack's."""
        other, made = iter(others), []
        for block in self.down:
            x = block(x, next(other, None))
            made.append(x)
        across = list(made)
        x = self.halve(x)
        for block in self.low:
            x = block(x, next(other, None))
            made.append(x)
        x = self.enlarge(x)
        for block in self.up:
            beside = [across.pop(), *[f for f in [next(other, None)] if f is not None]]
            x = block(x, torch.cat(beside, 1))
            made.append(x)
        return made


class PixelCNNPPNetwork(nn.Module):
    """The two stacks, and what they start from.

    Args:
        channels: Image channels.
        resolution: Image side in pixels, even.
        components: Of the mixture of a pixel.
        width: Channels.
        blocks: Residual blocks on the way down, below, and on the way up.
        dropout: Probability to drop a number between a block's convolutions.

    Example:
        >>> network = PixelCNNPPNetwork(channels=1, resolution=8, width=4, blocks=1)
        >>> network(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 30, 8, 8])
    """

    def __init__(
        self,
        *,
        channels: PositiveInt,
        resolution: PositiveInt,
        components: PositiveInt = 10,
        width: PositiveInt = 160,
        blocks: PositiveInt = 5,
        dropout: HalfOpenFraction = 0.5,
    ) -> None:
        super().__init__()
        if resolution % 2:
            raise ValueError(f"resolution={resolution} must be even")
        inputs = channels + 1  # ones tell the image from what is around it
        self.rows_above = ShiftedConv2d(inputs, width, (2, 3), (2, 1))
        self.row_above = ShiftedConv2d(inputs, width, (1, 3), (1, 1))
        self.left = ShiftedConv2d(inputs, width, (2, 1), (1, 1))
        self.vertical = Stack(width, blocks, "vertical", 0, dropout)
        self.horizontal = Stack(width, blocks, "horizontal", width, dropout)
        self.last = ShiftedConv2d(width, numbers(channels, components), (1, 1), (0, 0))

    def above(self, x: Tensor, labels: Tensor | None = None) -> list[Tensor]:
        """Features of the vertical stack, of the rows above each row."""
        return self.vertical(self.rows_above(framed(x)))

    def given(self, x: Tensor, above: Sequence[Tensor], labels: Tensor | None = None) -> Tensor:
        """Map images (N, C, H, W) in [-1, 1], and what is above, to numbers of their places."""
        start = self.row_above(framed(x)) + self.left(framed(x))
        return self.last(elu(self.horizontal(start, above)[-1]))

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map images (N, C, H, W) in [-1, 1] to numbers of their places."""
        return self.given(x, self.above(x, labels), labels)


def framed(x: Tensor) -> Tensor:
    """Images (N, C, H, W) with a channel of ones."""
    return torch.cat([x, torch.ones_like(x[:, :1])], 1)
