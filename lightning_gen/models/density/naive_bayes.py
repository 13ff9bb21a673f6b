"""Naive Bayes: class-conditional independent Bernoulli pixels.

Bishop, Pattern Recognition and Machine Learning, section 8.2.2, 2006, ISBN 978-0-387-31073-2.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, softplus

from lightning_gen.densities import DensityModule
from lightning_gen.functional.pixels import unit_range
from lightning_gen.types import PositiveInt


class NaiveBayes(DensityModule):
    r"""Pixels are independent, given the class.

    .. math:: \log p(x, y) = \log \pi_y + \sum_i x_i \log \mu_{yi} + (1 - x_i) \log (1 - \mu_{yi})

    Descending on the mean of :math:`-\log p(x, y)` ends at the closed form: frequencies of the
    classes, and the mean image of each.

    References:
        Bishop, Pattern Recognition and Machine Learning, 2006, section 8.2.2.

    Args:
        channels: Channels of an image.
        resolution: Its side in pixels.
        num_classes: Classes y.
        family: Arguments of :class:`AlternatingModule`.
    """

    requires_labels: ClassVar[bool] = True

    def __init__(
        self,
        *,
        channels: PositiveInt,
        resolution: PositiveInt,
        num_classes: PositiveInt,
        **family: Any,
    ) -> None:
        super().__init__(**family)
        self.shape = (channels, resolution, resolution)
        self.weights = nn.Parameter(torch.zeros(num_classes))
        self.logits = nn.Parameter(torch.zeros(num_classes, channels * resolution**2))

    def joint(self, x: Tensor) -> Tensor:
        """Log probabilities (N, K) of images with each of the classes."""
        given = linear(unit_range(x).flatten(1), self.logits) - softplus(self.logits).sum(1)
        return given + self.weights.log_softmax(0)

    def log_prob(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Log probability (N,) of images with their labels; without these, of images alone."""
        joint = self.joint(x)
        return joint.logsumexp(1) if labels is None else joint.gather(1, labels[:, None])[:, 0]

    @torch.no_grad()
    def classify(self, x: Tensor) -> Tensor:
        """Most probable classes (N,) of images."""
        return self.joint(x).argmax(1)

    @torch.no_grad()
    def sample(
        self, n: int, *, labels: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw n images (n, C, H, W) of pixels -1 and 1, of labels (n,)."""
        labels = self.checked(labels)
        device = generator.device if generator is not None else self.device
        u = torch.rand(n, self.logits.shape[1], generator=generator, device=device)
        rates = self.logits[labels].sigmoid()
        return torch.where(u.to(self.device) < rates, 1.0, -1.0).view(n, *self.shape)
