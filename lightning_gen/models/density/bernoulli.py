"""Independent Bernoulli pixels by maximum likelihood, the simplest model of an image.

Bishop, Pattern Recognition and Machine Learning, section 2.1, 2006, ISBN 978-0-387-31073-2.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from lightning_gen.densities import DensityModule
from lightning_gen.functional.draws import drawn
from lightning_gen.functional.pixels import unit_range
from lightning_gen.types import PositiveInt


class Bernoulli(DensityModule):
    r"""Each pixel is white with a probability of its own, whatever the others are.

    .. math:: \log p(x) = \sum_i x_i \log \mu_i + (1 - x_i) \log (1 - \mu_i)

    Minimising the divergence from the data, by gradients of the logits, ends at the closed form:
    :math:`\mu_i` is the mean of pixel i.

    References:
        Bishop, Pattern Recognition and Machine Learning, 2006, section 2.1.

    Args:
        channels: Channels of an image.
        resolution: Its side in pixels.
        family: Arguments of :class:`AlternatingModule`.
    """

    def __init__(self, *, channels: PositiveInt, resolution: PositiveInt, **family: Any) -> None:
        super().__init__(**family)
        self.logits = nn.Parameter(torch.zeros(channels, resolution, resolution))

    def log_prob(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Log probability (N,) of pixels -1 and 1 (of grey ones, the negative cross-entropy)."""
        logits, target = self.logits.expand_as(x).float(), unit_range(x)
        return -binary_cross_entropy_with_logits(logits, target, reduction="none").flatten(1).sum(1)

    def sample(
        self, n: int, *, labels: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw n images (n, C, H, W) of pixels -1 and 1."""
        self.checked(labels)
        u = drawn("rand", (n, *self.logits.shape), self.device, generator)
        return torch.where(u < self.logits.detach().sigmoid(), 1.0, -1.0)
