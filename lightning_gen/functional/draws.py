"""Random numbers that are the same on every device, and the noise that bytes are spread by."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from lightning_gen.functional.pixels import grey_levels


def drawn(
    draw: Literal["rand", "randn"],
    size: Sequence[int],
    device: torch.device,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Numbers of torch.rand or torch.randn on a device, of any device's generator.

    Args:
        draw: Which.
        size: Their shape.
        device: Where they go.
        generator: A CPU generator gives the same numbers everywhere; None uses torch's.

    Example:
        >>> drawn("rand", (2, 3), torch.device("cpu")).shape
        torch.Size([2, 3])
    """
    of = generator.device if generator is not None else device
    numbers = {"rand": torch.rand, "randn": torch.randn}[draw]
    return numbers(*size, generator=generator, device=of).to(device)


def dequantise(x: Tensor, noise: Tensor) -> Tensor:
    """Spread bytes evenly over their width: images in [-1, 1] become (level + noise) / 256, scaled.

    Args:
        x: Images in [-1, 1] that were bytes.
        noise: Of U[0, 1), of their shape.

    Returns:
        Images in [-1, 1).

    Example:
        >>> black_and_white = torch.tensor([-1.0, 1.0])
        >>> dequantise(black_and_white, torch.full((2,), 0.5))
        tensor([-0.9961,  0.9961])
    """
    return (grey_levels(x) + noise) / 128 - 1
