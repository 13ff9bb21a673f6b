"""MADE: Masked Autoencoder for Distribution Estimation.

Germain, Gregor, Murray, Larochelle. 2015, arXiv:1502.03509.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from lightning_gen.core import ImageBatch
from lightning_gen.functional.draws import drawn
from lightning_gen.functional.pixels import unit_range
from lightning_gen.models.autoregressive.autoregressive import AutoregressiveModule
from lightning_gen.networks.made import MADENetwork
from lightning_gen.networks.modes import evaluating


class MADE(AutoregressiveModule):
    r"""An autoencoder, whose masked weights let each pixel depend on those before it alone.

    .. math:: p(x) = \frac{1}{M} \sum_m \prod_i p_m(x_i | x_{o_m(<i)})

    Each step of training takes the next of M sets of masks, with its order of the pixels (order-
    and connectivity-agnostic training); the density is the mixture of them all, averaged as
    probabilities.

    References:
        Germain et al., 2015, arXiv:1502.03509.

    Args:
        network: Pixels to logits, with its masks.
        family: Arguments of :class:`AutoregressiveModule`.

    Attributes:
        order: Of the first set of masks.
    """

    def __init__(self, *, network: MADENetwork, **family: Any) -> None:
        super().__init__(likelihood="bernoulli", **family)
        self.network = network
        self.masks = len(network.orders)
        self.order.copy_(network.orders[0])

    def logits(self, x: Tensor, labels: Tensor | None = None, mask: int = 0) -> Tensor:
        """Logits (N, 1, C, H, W) of the pixels of images (N, C, H, W), by a set of masks."""
        return self.network(unit_range(x).flatten(1), mask).view_as(x)[:, None]

    def log_prob_of(self, mask: int, x: Tensor) -> Tensor:
        """Log probability (N,) of images by one set of masks."""
        return self.conditional.log_prob(x, self.logits(x, mask=mask)).flatten(1).sum(1)

    def log_prob(self, x: Tensor, labels: Tensor | None = None, masks: int | None = None) -> Tensor:
        """Log probability (N,) of images by the first so many sets of masks, or by all."""
        each = torch.stack([self.log_prob_of(m, x) for m in range(masks or self.masks)])
        return each.logsumexp(0) - math.log(len(each))

    def training_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Descend on the mean negative log-likelihood by the next set of masks."""
        with self.descending("model") as descend:
            for (x,) in self.micro(batch.image):
                descend(-self.log_prob_of(self.iteration % self.masks, x).mean())

    @torch.no_grad()
    def log_likelihood(
        self,
        x: Tensor,
        labels: Tensor | None = None,
        *,
        samples: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Log probability (N,) of images (N, C, H, W), by ``samples`` sets of masks, or by all."""
        with evaluating(self):
            return self.log_prob(x, masks=min(samples or self.masks, self.masks))

    @torch.no_grad()
    def sample(
        self, n: int, *, labels: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw n images (n, C, H, W) of pixels -1 and 1, each by a set of masks drawn for it."""
        self.checked(labels)
        of = (drawn("rand", (n,), self.device, generator) * self.masks).long()
        u = drawn("rand", (n, *self.shape), self.device, generator)
        x = torch.empty_like(u)
        with evaluating(self):
            for mask in of.unique().tolist():
                x[of == mask] = self.draw_pixels(u[of == mask], mask=mask)
        return x

    def draw_pixels(self, u: Tensor, labels: Tensor | None = None, mask: int = 0) -> Tensor:
        """Images of quantiles u (N, C, H, W); a pixel costs what is above the first layer."""
        masks = self.network.connections(mask)
        (W, a), (V, b) = (self.network.weights(i, masks) for i in (0, len(masks) - 1))
        x, u, a = torch.empty_like(u.flatten(1)), u.flatten(1), a.expand(len(u), -1)
        for i in self.network.orders[mask].tolist():
            logit = linear(self.network.hidden(a, masks), V[i : i + 1], b[i : i + 1])
            x[:, i] = self.conditional.draw(logit, u[:, i], self.temperature)
            a = a + unit_range(x[:, i : i + 1]) * W[:, i]
        return x.unflatten(1, self.shape)
