"""Pictures that are too large for one pass: in overlapping tiles, blended where they overlap."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.functional import pad


def padded(f: Callable[[Tensor], Tensor], x: Tensor, multiple: int) -> Tensor:
    """Apply a network whose inputs have to be a multiple of some size to images of any.

    The edge is reflected (repeated, where an image is too small for that) as far as is missing, and
    the result is cut to size; it may be larger than the input by a whole factor.

    Args:
        f: The network.
        x: Images (N, C, H, W).
        multiple: What height and width have to be multiples of.

    Example:
        >>> padded(lambda x: x.repeat_interleave(2, 2).repeat_interleave(2, 3),
        ...        torch.zeros(1, 1, 5, 7), 4).shape
        torch.Size([1, 1, 10, 14])
    """
    height, width = x.shape[2:]
    down, right = -height % multiple, -width % multiple
    mode = "reflect" if down < height and right < width else "replicate"
    y = f(pad(x, (0, right, 0, down), mode=mode))
    factor = y.shape[2] // (height + down)
    return y[:, :, : height * factor, : width * factor]


def starts(size: int, tile: int, overlap: int) -> Iterator[int]:
    """Where tiles begin along a side: evenly, the last one at the end.

    Example:
        >>> list(starts(10, 4, 2)), list(starts(3, 4, 2))
        ([0, 2, 4, 6], [0])
    """
    if size <= tile:
        return iter([0])
    count = -(-(size - tile) // (tile - overlap)) + 1
    return (round(i * (size - tile) / (count - 1)) for i in range(count))


def window(size: int, overlap: int) -> Tensor:
    """Weights (size,) of a tile: rising from its edges over the overlap, never zero."""
    edge = (torch.arange(size) + 1).clamp(max=overlap + 1)
    return torch.minimum(edge, edge.flip(0)) / (overlap + 1)


def tiled(f: Callable[[Tensor], Tensor], x: Tensor, tile: int, overlap: int) -> Tensor:
    """Apply a network tile by tile.

    Args:
        f: Images (N, C, h, w) to images (N, C', s h, s w), s a whole factor.
        x: Images (N, C, H, W).
        tile: Height and width of a tile in pixels of x.
        overlap: Pixels shared by neighbours at least, fewer than ``tile``.

    Returns:
        (N, C', s H, s W). A network that looks at each pixel by itself gives the same as in one
        pass; one that normalises by an image's own statistics does not.

    Example:
        >>> x = torch.rand(1, 3, 50, 41)
        >>> torch.allclose(tiled(lambda x: 1 - x, x, 16, 4), 1 - x)
        True
    """
    height, width = x.shape[2:]
    if max(height, width) <= tile:
        return f(x)
    total = weights = torch.zeros(())
    for top in starts(height, tile, overlap):
        for left in starts(width, tile, overlap):
            y = f(x[:, :, top : top + tile, left : left + tile])
            s = y.shape[2] // min(tile, height)
            if total.ndim == 0:
                total = y.new_zeros(*y.shape[:2], s * height, s * width)
                weights = y.new_zeros(s * height, s * width)
            w = window(y.shape[2], s * overlap)[:, None] * window(y.shape[3], s * overlap)
            here = slice(s * top, s * top + y.shape[2]), slice(s * left, s * left + y.shape[3])
            total[:, :, here[0], here[1]] += y * w.to(y)
            weights[here] += w.to(y)
    return total / weights
