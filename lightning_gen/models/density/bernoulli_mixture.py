"""Mixture of independent Bernoulli pixels, by descending on the log-likelihood.

Bishop, Pattern Recognition and Machine Learning, section 9.3.3, 2006, ISBN 978-0-387-31073-2.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, softplus

from lightning_gen.densities import DensityModule
from lightning_gen.functional.pixels import unit_range
from lightning_gen.types import PositiveInt


class BernoulliMixture(DensityModule):
    r"""An image is of one of K kinds; within a kind, pixels are independent.

    .. math:: \log p(x) = \log \sum_k \pi_k \prod_i \mu_{ki}^{x_i} (1 - \mu_{ki})^{1 - x_i}

    Note:
        The book maximises it by EM; here it is descended on, by the logits of :math:`\pi` and
        :math:`\mu`. Kinds begin between the mean of the data and an image each.

    References:
        Bishop, Pattern Recognition and Machine Learning, 2006, section 9.3.3.

    Args:
        channels: Channels of an image.
        resolution: Its side in pixels.
        components: K.
        family: Arguments of :class:`AlternatingModule`.
    """

    def __init__(
        self,
        *,
        channels: PositiveInt,
        resolution: PositiveInt,
        components: PositiveInt = 100,
        **family: Any,
    ) -> None:
        super().__init__(**family)
        self.shape = (channels, resolution, resolution)
        self.weights = nn.Parameter(torch.zeros(components))
        self.logits = nn.Parameter(torch.randn(components, channels * resolution**2))

    def on_fit_start(self) -> None:
        """Start the kinds at images of the training split."""
        super().on_fit_start()
        K = len(self.weights)
        images = self.first_images(max(K, 1000))
        if images is not None:
            self.start_from(images[:K], images.mean(0))

    def start_from(self, images: Tensor, mean: Tensor) -> None:
        """Put the kinds a quarter of the way from the mean to images (K, C, H, W)."""
        rates = unit_range(mean + 0.25 * (images - mean)).clamp(1e-3, 1 - 1e-3)
        self.logits.data.copy_(rates.logit().flatten(1))

    def joint(self, x: Tensor) -> Tensor:
        """Log probabilities (N, K) of an image and of its kind."""
        given = linear(unit_range(x).flatten(1), self.logits) - softplus(self.logits).sum(1)
        return given + self.weights.log_softmax(0)

    def log_prob(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Log probability (N,) of pixels -1 and 1."""
        return self.joint(x).logsumexp(1)

    @torch.no_grad()
    def sample(
        self, n: int, *, labels: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw n images (n, C, H, W) of pixels -1 and 1."""
        self.checked(labels)
        device = generator.device if generator is not None else self.device
        weights = self.weights.softmax(0).to(device)
        kind = weights.multinomial(n, replacement=True, generator=generator).to(self.device)
        u = torch.rand(n, self.logits.shape[1], generator=generator, device=device)
        pixels = torch.where(u.to(self.device) < self.logits[kind].sigmoid(), 1.0, -1.0)
        return pixels.view(n, *self.shape)
