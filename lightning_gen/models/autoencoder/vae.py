"""Auto-Encoding Variational Bayes.

Kingma, Welling. 2013, arXiv:1312.6114.
"""

import math
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from lightning_gen.core import ImageBatch
from lightning_gen.functional.dequantise import dequantise
from lightning_gen.functional.draws import drawn
from lightning_gen.functional.likelihoods import LIKELIHOODS, kl_standard_normal, log_normal
from lightning_gen.functional.precision import at_least_float32
from lightning_gen.models.autoencoder.gaussian_prior import GaussianPriorModule
from lightning_gen.networks.modes import evaluating


class VAE(GaussianPriorModule):
    r"""Codes that are normal a priori, and an encoder that learns what they are a posteriori.

    .. math:: \log p(x) \ge E_{q(z|x)}[\log p(x|z)] - KL(q(z|x) \| p(z)), \quad
              z = \mu(x) + \sigma(x) \epsilon, \quad \epsilon \sim N(0, I)

    Likelihoods are bounded with k codes of an image, by :math:`L_k` of Burda et al. 2015,
    arXiv:1509.00519, which is the bound above for k = 1 and rises to them with k.

    References:
        Kingma and Welling, Auto-Encoding Variational Bayes, 2013, arXiv:1312.6114.

    Args:
        likelihood: Of pixels -1 and 1 (bernoulli), of dequantised ones with means and standard
            deviations (gaussian) or means alone (fixed_gaussian), or of bytes (logistic).
        draw: Samples are drawn from the likelihood instead of being its means.
        family: Arguments of :class:`AutoencoderModule`.
    """

    likelihood_kind = "lower bound"
    measured: ClassVar[tuple[str, ...]] = ("likelihood", "reconstruction")
    importance_samples: int = 1  # codes of an image in training

    def __init__(
        self,
        *,
        likelihood: Literal["bernoulli", "gaussian", "fixed_gaussian", "logistic"] = "bernoulli",
        draw: bool = False,
        **family: Any,
    ) -> None:
        super().__init__(**family)
        self.likelihood, self.draw = LIKELIHOODS[likelihood], draw
        self.likelihood_space = self.likelihood.space

    def training_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Ascend the bound, with the noise of each code drawn beside."""
        x, labels = batch.image, batch.label if self.requires_labels else None
        if self.likelihood.continuous:
            x = 2 * dequantise(x, self.rand(*x.shape)) - 1
        epsilon = self.randn(len(x), self.importance_samples, self.latent_dim)
        with self.descending("model") as descend:
            for minibatch in self.micro(*(t for t in (x, epsilon, labels) if t is not None)):
                descend(-self.bound(*minibatch).mean())

    def bound(self, x: Tensor, epsilon: Tensor, *y: Tensor) -> Tensor:
        """The bound (N,) in nats, of images (N, C, H, W) and noise (N, k, latent_dim)."""
        z, mean, log_variance = self.posterior(x, epsilon, *y)
        log_p = self.log_prob(x, z, *y).mean(1)
        kl = kl_standard_normal(mean, log_variance).squeeze(1)
        self.record(elbo=(log_p - kl).mean(), reconstruction=log_p.mean(), kl=kl.mean())
        return log_p - self.price(kl)

    def price(self, kl: Tensor) -> Tensor:
        """What is to be paid in training for divergences (N,) from the prior: just these."""
        return kl

    def posterior(self, x: Tensor, epsilon: Tensor, *y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Codes (N, k, latent_dim) of noise; means and log variances (N, 1, latent_dim)."""
        mean, log_variance = at_least_float32(self.encoder(x, *y))[:, None].chunk(2, 2)
        return mean + (log_variance / 2).exp() * epsilon, mean, log_variance

    def log_prob(self, x: Tensor, z: Tensor, *y: Tensor) -> Tensor:
        """Log p(x|z) (N, k) of images (N, C, H, W) and codes (N, k, latent_dim) of each."""
        given = [labels.repeat_interleave(z.shape[1]) for labels in y]
        parameters = self.decoder(z.flatten(0, 1), *given).unflatten(0, z.shape[:2])
        return self.likelihood.log_prob(x[:, None], parameters)

    def log_prior(self, z: Tensor) -> Tensor:
        """Log p(z) (...) of codes (..., latent_dim)."""
        return log_normal(z)

    def log_weights(self, x: Tensor, epsilon: Tensor, *y: Tensor) -> Tensor:
        """Log p(x, z) / q(z|x) (N, k), of images (N, C, H, W) and noise (N, k, latent_dim)."""
        z, mean, log_variance = self.posterior(x, epsilon, *y)
        return self.log_prob(x, z, *y) + self.log_prior(z) - log_normal(z, mean, log_variance)

    @torch.no_grad()
    def log_likelihood(
        self, x: Tensor, *, samples: int | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """L_k (N,) in nats of images in [-1, 1], of k ``samples``, or of as many as in training."""
        k = samples or self.importance_samples
        with evaluating(self):
            return torch.cat([self.estimate(x_i, k, generator) for x_i in x.split(128)])

    def estimate(self, x: Tensor, k: int, generator: torch.Generator | None, *y: Tensor) -> Tensor:
        """L_k (N,) of few images, with their codes in chunks that fit the memory."""
        if self.likelihood.continuous:
            x = 2 * dequantise(x, drawn("rand", x.shape, x.device, generator)) - 1
        chunks = torch.empty(len(x), k, self.latent_dim).split(max(1, 2**22 // x.numel()), 1)
        epsilon = (drawn("randn", chunk.shape, x.device, generator) for chunk in chunks)
        log_w = torch.cat([self.log_weights(x, e, *y) for e in epsilon], 1)
        return log_w.logsumexp(1) - math.log(k)

    def code(self, x: Tensor, *y: Tensor) -> Tensor:
        """Means (N, latent_dim) of the codes of images (N, C, H, W)."""
        return at_least_float32(self.encoder(x, *y)).chunk(2, 1)[0]

    def picture(self, z: Tensor, *y: Tensor) -> Tensor:
        """Mean images (N, C, H, W) in [-1, 1] of codes (N, latent_dim)."""
        return self.likelihood.mean(self.decoder(z, *y))

    def active_units(self, x: Tensor) -> int:
        """How many units of the code tell images (N, C, H, W) apart: Var_x(E_q[z|x]) > 0.01."""
        return int((self.encode(x).var(0) > 0.01).sum())

    @torch.no_grad()
    def generate(
        self, z: Tensor, *y: Tensor, draw: bool = False, generator: torch.Generator | None = None
    ) -> Tensor:
        """Images (N, C, H, W) in [-1, 1] of codes (N, latent_dim): means, or drawn."""
        if not draw:
            return super().generate(z, *y)
        with evaluating(self):
            return self.likelihood.draw(self.decoder(z, *y), generator).float()

    def sample(
        self, n: int, *, labels: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw n images (n, C, H, W) in [-1, 1]: of codes of the prior, means unless ``draw``."""
        self.checked(labels)
        return self.generate(self.latents(n, generator), draw=self.draw, generator=generator)
