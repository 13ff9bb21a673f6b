"""Packing: a discriminator that looks at several samples at once.

Lin, Khetan, Fanti, Oh. 2018, arXiv:1712.04086.
"""

from collections.abc import Callable

from torch import Tensor, nn

from lightning_gen.types import PositiveInt


class Packed(nn.Module):
    """Any discriminator on packs of samples: only its first layer grows.

    Args:
        D: Makes the discriminator, given its number of input channels (features, for points).
        channels: Channels of a single image; features of a single point.
        pack: Samples in a pack, the paper's m.
        points: Whether samples are points (N, d), whose features D calls ``inputs``.

    Example:
        >>> import torch
        >>> D = Packed(lambda inputs: nn.Linear(inputs, 1), channels=2, pack=3, points=True)
        >>> D(torch.zeros(12, 2)).shape
        torch.Size([4, 1])
    """

    def __init__(
        self,
        D: Callable[..., nn.Module],
        channels: PositiveInt,
        pack: PositiveInt = 2,
        points: bool = False,
    ) -> None:
        super().__init__()
        self.pack = pack
        self.D = D(**{"inputs" if points else "channels": channels * pack})

    def forward(self, x: Tensor) -> Tensor:
        """Map samples (N, C, ...) to a logit of each pack (N / m, 1)."""
        return self.D(x.unflatten(0, (-1, self.pack)).flatten(1, 2))
