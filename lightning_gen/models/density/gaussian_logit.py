"""One Gaussian with full covariance, of images in logit space.

Papamakarios et al., Masked autoregressive flow for density estimation, 2017, arXiv:1705.07057.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from lightning_gen.densities import ContinuousDensityModule
from lightning_gen.functional.draws import drawn
from lightning_gen.randomness import fold
from lightning_gen.types import Fraction, PositiveInt

SHOWN = 5_000  # images whose logits tell location and scale


class GaussianLogit(ContinuousDensityModule):
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
        super().__init__(
            channels=channels, resolution=resolution, space="logit", alpha=alpha, **family
        )
        d = math.prod(self.shape)
        self.mean = nn.Parameter(torch.zeros(d))
        self.log_diagonal = nn.Parameter(torch.zeros(d))
        self.below = nn.Parameter(torch.zeros(d, d))
        self.register_buffer("location", torch.zeros(d))
        self.register_buffer("scale", torch.ones(d))

    def on_fit_start(self) -> None:
        """Learn location and scale of the logits from the first images."""
        super().on_fit_start()
        x = self.first_images(SHOWN)
        if x is not None:
            draws = torch.Generator().manual_seed(fold(self.seed, "noise"))
            y = self.continuous(x, drawn("rand", x.shape, x.device, draws)).flatten(1)
            self.location.copy_(y.mean(0))
            self.scale.copy_(y.std(0))

    def factor(self) -> Tensor:
        """The matrix A (d, d) of standardised logits."""
        return self.below.tril(-1) + torch.diag(self.log_diagonal.exp())

    def log_prob(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Log density (N,) of logits (N, C, H, W)."""
        x = x.flatten(1)
        white = linear((x - self.location) / self.scale - self.mean, self.factor())
        log_det = (self.log_diagonal - self.scale.log()).sum()
        return log_det - white.square().sum(1) / 2 - x.shape[1] / 2 * math.log(2 * math.pi)

    @torch.no_grad()
    def sample(
        self, n: int, *, labels: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw n images (n, C, H, W) whose pixels are bytes."""
        self.checked(labels)
        z = drawn("randn", (n, len(self.mean)), self.device, generator).to(self.mean)
        white = torch.linalg.solve_triangular(self.factor(), z.T, upper=False).T
        y = (white + self.mean) * self.scale + self.location
        return self.discrete(y).view(n, *self.shape)
