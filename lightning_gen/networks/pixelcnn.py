"""Convolutions that see only places before their own, how they draw fast, and PixelCNN.

van den Oord, Kalchbrenner, Kavukcuoglu. 2016, arXiv:1601.06759.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear, pad

from lightning_gen.functional.conditionals import CONDITIONALS
from lightning_gen.types import PositiveInt


class Windowed(nn.Module):
    """A layer that can make a window of its places alone, within :func:`stepping`.

    Attributes:
        window: Rows and columns of the image that are to be made; None for all.
        side: Rows and columns of the image.
        kept: What was given for other windows, for layers that see these.
        fixed: Weights of layers that have any, as they are used.
    """

    window: tuple[slice, slice] | None = None
    side: tuple[int, int] = (0, 0)
    kept: Tensor | None = None
    fixed: Any = None

    def places(self, scale: int) -> list[slice]:
        """Rows and columns of the window, in a grid one of whose places is scale pixels a side."""
        window = self.window or ()
        return [slice(s.start // scale, (s.stop - 1) // scale + 1) for s in window]


@contextmanager
def stepping(network: nn.Module, height: int, width: int) -> Iterator[Callable[[int, slice], None]]:
    """A network of images makes the windows of them that are asked for, one after the other.

    Convolutions keep what they were given for windows before, so each costs what is in it. The
    first layer is given the whole image again, as far as it is known.

    Args:
        network: The network.
        height: Of the image.
        width: Of the image.

    Yields:
        A function of the row and the columns that come next.

    Example:
        >>> convolution, x = MaskedConv2d(1, 1, 3, own=False), torch.randn(1, 1, 4, 4)
        >>> whole = convolution(x)
        >>> with torch.no_grad(), stepping(convolution, 4, 4) as at:
        ...     at(2, slice(1, 2))
        ...     torch.allclose(convolution(x), whole[:, :, 2:3, 1:2])
        True
    """
    layers: list[Any] = [layer for layer in network.modules() if hasattr(layer, "window")]

    def at(row: int, columns: slice) -> None:
        for layer in layers:
            layer.window = (slice(row, row + 1), columns)

    for layer in layers:
        layer.side = (height, width)
        layer.fixed = layer.connected.detach() if hasattr(layer, "connected") else None
    try:
        yield at
    finally:
        for layer in layers:
            layer.window = layer.kept = layer.fixed = None


class ShiftedConv2d(nn.Conv2d, Windowed):
    """A convolution whose kernel begins above its place and left of it.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        kernel: Rows and columns of the kernel.
        shift: How many rows above and columns left of its place it begins, at least half of it.
        stride: Places in, a side, for one out.
        scale: Pixels, a side, for a place out.

    Example:
        >>> above = ShiftedConv2d(1, 1, (1, 3), (1, 1))  # the three places above
        >>> above(torch.zeros(2, 1, 5, 5)).shape
        torch.Size([2, 1, 5, 5])
    """

    def __init__(
        self,
        inputs: PositiveInt,
        outputs: PositiveInt,
        kernel: tuple[int, int],
        shift: tuple[int, int],
        *,
        stride: PositiveInt = 1,
        scale: PositiveInt = 1,
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding=shift)
        self.shift, self.scale = shift, scale

    @property
    def connected(self) -> Tensor:
        """The weights that count."""
        return self.weight

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride), or their window."""
        s = self.stride[0]
        if self.window is None:
            y = self._conv_forward(x, self.connected, self.bias)
            return y[:, :, : x.shape[2] // s, : x.shape[3] // s]
        patch = x if self.kernel_size == (1, 1) else self.seen(x)
        if patch.shape[2:] == self.kernel_size:  # a single place, which is faster as a product
            return linear(patch.flatten(1), self.fixed.flatten(1), self.bias)[:, :, None, None]
        return conv2d(patch, self.fixed, self.bias, s)

    def seen(self, x: Tensor) -> Tensor:
        """What the window's places see of x, the whole grid or the part in the window."""
        s, (above, left), (rows, columns) = self.stride[0], self.shift, self.kernel_size
        finer = self.scale // s
        height, width = (side // finer for side in self.side)
        if self.kept is None:
            self.kept = pad(x.new_zeros(*x.shape[:2], height, width), (left, left, above, 0))
        grid = self.kept[:, :, above:, left : left + width]
        whole = x.shape[2:] == grid.shape[2:]
        r, c = [slice(None)] * 2 if whole else self.places(finer)
        grid[:, :, r, c] = x
        r, c = self.places(self.scale)
        r, c = (
            slice(p.start * s, (p.stop - 1) * s + k)
            for p, k in zip((r, c), (rows, columns), strict=True)
        )
        return self.kept[:, :, r, c]


class MaskedConv2d(ShiftedConv2d):
    """A convolution that sees only places before its own, row by row, and its own on request.

    The rows below its own place, which the papers' masks cut off, are not there.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        kernel: Side of the kernel, odd.
        own: Whether it sees its own place (the papers' mask B) or not (mask A).
        above: Whether it sees the rows above, or its own alone.
        groups: Colours that channels are for, in order: at its own place a channel sees the
            colours before its own (mask A), and its own (mask B).

    Example:
        >>> MaskedConv2d(1, 1, 3, own=False).mask[0, 0].int().tolist()
        [[1, 1, 1], [1, 0, 0]]
    """

    mask: Tensor

    def __init__(
        self,
        inputs: PositiveInt,
        outputs: PositiveInt,
        kernel: PositiveInt,
        *,
        own: bool,
        above: bool = True,
        groups: PositiveInt = 1,
    ) -> None:
        half = kernel // 2
        size, up = ((half + 1, kernel), half) if above else ((1, half + 1), 0)
        super().__init__(inputs, outputs, size, (up, half))
        mask = torch.ones(outputs, inputs, *size, dtype=torch.bool)
        colour_in, colour_out = (torch.arange(n) * groups // n for n in (inputs, outputs))
        mask[:, :, -1, half:] = False
        mask[:, :, -1, half] = colour_out[:, None] >= colour_in + (not own)
        self.register_buffer("mask", mask, persistent=False)

    @property
    def connected(self) -> Tensor:
        """The weights that the mask leaves."""
        return self.weight * self.mask


def head(width: int, hidden: int, outputs: int, groups: int) -> nn.Sequential:
    """The layers that end a PixelCNN: ReLU and 1 x 1 convolution, twice.

    Args:
        width: Channels in.
        hidden: Channels between them.
        outputs: Channels out.
        groups: Colours that channels are for.
    """
    return nn.Sequential(
        nn.ReLU(),
        MaskedConv2d(width, hidden, 1, own=True, groups=groups),
        nn.ReLU(),
        MaskedConv2d(hidden, outputs, 1, own=True, groups=groups),
    )


class PixelCNNNetwork(nn.Module):
    """Masked convolutions in residual blocks (figure 5, left).

    Args:
        channels: Image channels.
        likelihood: Of a pixel, as of the model.
        width: Channels in a block, the paper's h: there are twice as many between blocks.
        blocks: Residual blocks.
        hidden: Channels of the last layer but one.

    Example:
        >>> network = PixelCNNNetwork(channels=1, likelihood="categorical", width=4, blocks=2)
        >>> network(torch.zeros(2, 1, 7, 7)).shape
        torch.Size([2, 256, 7, 7])
    """

    def __init__(
        self,
        *,
        channels: PositiveInt,
        likelihood: str,
        width: PositiveInt = 16,
        blocks: PositiveInt = 15,
        hidden: PositiveInt = 32,
    ) -> None:
        super().__init__()
        colours = partial(MaskedConv2d, own=True, groups=channels)
        self.first = MaskedConv2d(channels, 2 * width, 7, own=False, groups=channels)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.ReLU(),
                colours(2 * width, width, 1),
                nn.ReLU(),
                colours(width, width, 3),
                nn.ReLU(),
                colours(width, 2 * width, 1),
            )
            for _ in range(blocks)
        )
        outputs = channels * CONDITIONALS[likelihood].parameters
        self.head = head(2 * width, hidden, outputs, channels)

    def above(self, x: Tensor, labels: Tensor | None = None) -> list[Tensor]:
        """What is to be known of the rows above a row: nothing, beside the image."""
        return []

    def given(self, x: Tensor, above: Sequence[Tensor], labels: Tensor | None = None) -> Tensor:
        """Map images (N, C, H, W) in [-1, 1] to parameters (N, C P, H, W), colour by colour."""
        h = self.first(x)
        for block in self.blocks:
            h = h + block(h)
        return self.head(h)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map images (N, C, H, W) in [-1, 1] to parameters (N, C P, H, W), colour by colour."""
        return self.given(x, self.above(x, labels), labels)
