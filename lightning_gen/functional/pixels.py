"""From images in [-1, 1] to the ranges that papers measure them in."""

from torch import Tensor


def unit_range(x: Tensor) -> Tensor:
    """Images in [-1, 1] as grey values in [0, 1].

    Args:
        x: Images, any shape.

    Example:
        >>> import torch
        >>> unit_range(torch.tensor([-1.0, 0.0, 1.0]))
        tensor([0.0000, 0.5000, 1.0000])
    """
    return (x + 1) / 2


def grey_levels(x: Tensor) -> Tensor:
    """Images in [-1, 1] that were bytes, as whole numbers 0 to 255 again, exactly.

    Args:
        x: Images, any shape.

    Example:
        >>> import torch
        >>> levels = torch.arange(256.0)
        >>> torch.equal(grey_levels(levels / 127.5 - 1), levels)
        True
    """
    return ((x + 1) * 127.5).round()
