"""One Gaussian with full covariance, of images in logit space.

Papamakarios et al., Masked autoregressive flow for density estimation, 2017, arXiv:1705.07057.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from lightning_gen.core import ImageBatch
from lightning_gen.functional.dequantise import dequantise, from_logits, quantise, to_logits
from lightning_gen.functional.draws import drawn
from lightning_gen.models.density.density import DensityModule
from lightning_gen.networks.modes import evaluating
from lightning_gen.randomness import fold
from lightning_gen.types import Fraction, PositiveInt

SHOWN = 5_000  # images whose logits tell location and scale


class GaussianLogit(DensityModule):
    r"""Logits of dequantised pixels are jointly normal: the paper's simplest baseline.

    .. math::
        y = \text{logit}(\alpha + (1 - 2 \alpha) \tfrac{k + u}{256}), \qquad
        \log p(y) = \log |\det A| - \tfrac12 \|A (y - \mu)\|^2 - \tfrac d2 \log 2 \pi

    with a lower triangular A of positive diagonal, so :math:`A^T A` is the precision.

    Note:
        The paper takes the closed form, as ``lightning_gen.baselines.known.gaussian_logit`` does;
        here :math:`-\log p` is descended on, in logits that the first images tell location and
        scale of. It is convex in the entries of A.

    References:
        Papamakarios et al., 2017, arXiv:1705.07057, table 2.

    Args:
        channels: Channels of an image.
        resolution: Its side in pixels.
        alpha: How far pixels stay from 0 and 1.
        family: Arguments of :class:`AlternatingModule`.
    """

    likelihood_space = "logit"
    location: Tensor
    scale: Tensor

    def __init__(
        self,
        *,
        channels: PositiveInt,
        resolution: PositiveInt,
        alpha: Fraction = 1e-6,
        **family: Any,
    ) -> None:
        super().__init__(**family)
        self.shape, self.alpha = (channels, resolution, resolution), alpha
        d = math.prod(self.shape)
        self.mean = nn.Parameter(torch.zeros(d))
        self.log_diagonal = nn.Parameter(torch.zeros(d))
        self.below = nn.Parameter(torch.zeros(d, d))
        self.register_buffer("location", torch.zeros(d))
        self.register_buffer("scale", torch.ones(d))

    def on_fit_start(self) -> None:
        """Learn location and scale of the logits from the first images."""
        super().on_fit_start()
        data = getattr(self.trainer, "datamodule", None)
        if self.iteration == 0 and data is not None:
            split = data.splits[0]
            x = data.real(split, torch.arange(min(SHOWN, data.size(split)))).image
            draws = torch.Generator().manual_seed(fold(self.seed, "noise"))
            y = self.logits(x, torch.rand(x.shape, generator=draws))
            self.location.copy_(y.mean(0))
            self.scale.copy_(y.std(0))

    def logits(self, x: Tensor, u: Tensor) -> Tensor:
        """Logits (N, d) of images [-1, 1] with noise u in [0, 1)."""
        return to_logits(dequantise(x, u).double(), self.alpha).float().flatten(1)

    def factor(self) -> Tensor:
        """The matrix A (d, d) of standardised logits."""
        return self.below.tril(-1) + torch.diag(self.log_diagonal.exp())

    def log_prob(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Log density (N,) of logits (N, d)."""
        white = linear((x - self.location) / self.scale - self.mean, self.factor())
        log_det = (self.log_diagonal - self.scale.log()).sum()
        return log_det - white.square().sum(1) / 2 - x.shape[1] / 2 * math.log(2 * math.pi)

    def training_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Descend on the mean negative log-likelihood, with noise anew."""
        y = self.logits(batch.image, self.rand(*batch.image.shape))
        with self.descending("model") as descend:
            for (part,) in self.micro(y):
                descend(-self.log_prob(part).mean())

    @torch.no_grad()
    def log_likelihood(
        self, x: Tensor, *, samples: int | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Log density (N,) of the logits of images, with noise that the generator draws."""
        u = drawn("rand", x.shape, x.device, generator)
        with evaluating(self):
            return self.log_prob(self.logits(x, u))

    @torch.no_grad()
    def sample(
        self, n: int, *, labels: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw n images (n, C, H, W) whose pixels are bytes."""
        if labels is not None:
            raise ValueError("GaussianLogit is not conditional: labels must be None")
        z = drawn("randn", (n, len(self.mean)), self.device, generator).to(self.mean)
        white = torch.linalg.solve_triangular(self.factor(), z.T, upper=False).T
        y = (white + self.mean) * self.scale + self.location
        return quantise(from_logits(y, self.alpha)).view(n, *self.shape)
