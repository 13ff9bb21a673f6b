"""Mixture of Gaussians, by descending on the log-likelihood.

Bishop, Pattern Recognition and Machine Learning, section 9.2, 2006, ISBN 978-0-387-31073-2.
"""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lightning_gen.densities import ContinuousDensityModule
from lightning_gen.types import PositiveFloat, PositiveInt


class GaussianMixture(ContinuousDensityModule):
    r"""A point, or a dequantised image in [0, 1], is of one of K Gaussians.

    .. math:: \log p(x) = \log \sum_k \pi_k \mathcal{N}(x; \mu_k, \Sigma_k), \qquad
              \Sigma_k^{-1} = A_k^T A_k

    with a lower triangular :math:`A_k`, whose diagonal is positive.

    Note:
        The book maximises it by EM; here it is descended on. The Gaussians begin at data.

    References:
        Bishop, Pattern Recognition and Machine Learning, 2006, section 9.2.

    Args:
        channels: Channels of an image; None for points (2,).
        resolution: Its side in pixels; None for points.
        components: K.
        covariance: "full" or "diagonal".
        init_std: Standard deviation that all Gaussians begin with.
        family: Arguments of :class:`AlternatingModule`.
    """

    KINDS: ClassVar[dict[str, bool]] = {"full": True, "diagonal": False}

    def __init__(
        self,
        *,
        channels: PositiveInt | None = None,
        resolution: PositiveInt | None = None,
        components: PositiveInt = 8,
        covariance: str = "full",
        init_std: PositiveFloat = 0.3,
        **family: Any,
    ) -> None:
        super().__init__(channels=channels, resolution=resolution, **family)
        if covariance not in self.KINDS:
            raise ValueError(f"covariance must be full or diagonal, got {covariance!r}")
        d, full = math.prod(self.shape), self.KINDS[covariance]
        self.weights = nn.Parameter(torch.zeros(components))
        self.means = nn.Parameter(torch.randn(components, d))
        self.log_diagonal = nn.Parameter(torch.full((components, d), -math.log(init_std)))
        self.below = nn.Parameter(torch.zeros(components, d, d)) if full else None

    def on_fit_start(self) -> None:
        """Start the means at samples of the training split."""
        super().on_fit_start()
        x = self.first_images(len(self.weights))
        if x is not None:
            half = torch.full_like(x, 0.5)
            self.means.data.copy_(self.continuous(x, half).flatten(1))

    def whitened(self, y: Tensor) -> Tensor:
        """Offsets (N, K, d) from each mean, times A."""
        offset = y.flatten(1)[:, None] - self.means
        white = offset * self.log_diagonal.exp()
        if self.below is None:
            return white
        return white + torch.einsum("nkj,kij->nki", offset, self.below.tril(-1))

    def log_prob(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Log density (N,) of points (N, 2), or of images with noise in [0, 1]."""
        log_det = self.log_diagonal.sum(1) - x[0].numel() / 2 * math.log(2 * math.pi)
        normal = log_det - self.whitened(x).square().sum(2) / 2
        return (normal + self.weights.log_softmax(0)).logsumexp(1)

    @torch.no_grad()
    def sample(
        self, n: int, *, labels: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw n points, or n images whose pixels are bytes."""
        self.checked(labels)
        device = generator.device if generator is not None else self.device
        weights = self.weights.softmax(0).to(device)
        kind = weights.multinomial(n, replacement=True, generator=generator).to(self.device)
        z = torch.randn(n, self.means.shape[1], generator=generator, device=device).to(self.means)
        A = torch.diag_embed(self.log_diagonal.exp())
        if self.below is not None:
            A = A + self.below.tril(-1)
        y = torch.empty_like(z)
        for k in kind.unique():
            of = kind == k
            y[of] = self.means[k] + torch.linalg.solve_triangular(A[k], z[of].T, upper=False).T
        return self.discrete(y).view(n, *self.shape)
