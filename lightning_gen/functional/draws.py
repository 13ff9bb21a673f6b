"""Random numbers that are the same on every device."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor


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
