"""VAE with a VampPrior.

Tomczak, Welling. 2017, arXiv:1705.07120.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from lightning_gen.functional.draws import drawn
from lightning_gen.functional.latent import lerp
from lightning_gen.functional.likelihoods import log_normal
from lightning_gen.functional.precision import at_least_float32
from lightning_gen.models.autoencoder.vae import VAE
from lightning_gen.types import NonNegativeInt, PositiveInt


class VampPrior(VAE):
    r"""A VAE whose prior is a mixture of its posteriors at K images that are learnt too.

    .. math:: p(z) = \frac1K \sum_{k=1}^K q(z|u_k)

    The divergence from the prior is that of the code that was drawn, :math:`\log q(z|x) -
    \log p(z)`, and costs less in the first images (a warm-up).

    Note:
        Pseudo-inputs are kept in (-1, 1) by a hyperbolic tangent, not by clipping, so that a
        gradient reaches all their pixels. They start at training images, an option of the
        authors' code.

    References:
        Tomczak and Welling, VAE with a VampPrior, 2017, arXiv:1705.07120.

    Args:
        channels: Channels of an image.
        resolution: Its side in pixels.
        pseudo_inputs: K.
        warmup: Images until a nat of divergence costs a nat; the paper's 100 epochs.
        family: Arguments of :class:`VAE`.
    """

    def __init__(
        self,
        *,
        channels: PositiveInt,
        resolution: PositiveInt,
        pseudo_inputs: PositiveInt = 500,
        warmup: NonNegativeInt = 5_000_000,
        **family: Any,
    ) -> None:
        super().__init__(**family)
        self.warmup = warmup
        self.u = nn.Parameter(0.1 * torch.randn(pseudo_inputs, channels, resolution, resolution))

    def on_fit_start(self) -> None:
        """Start the pseudo-inputs at training images."""
        super().on_fit_start()
        images = self.first_images(len(self.u))
        if images is not None:
            self.u.data.copy_((0.9 * images).atanh())

    def components(self) -> tuple[Tensor, Tensor]:
        """Means and log variances (K, latent_dim) of the prior's components."""
        mean, log_variance = at_least_float32(self.encoder(self.u.tanh())).chunk(2, 1)
        return mean, log_variance

    def log_prior(self, z: Tensor) -> Tensor:
        """Log p(z) (...) of codes (..., latent_dim)."""
        # The squares of all differences by matrix products, which cancel: in double precision.
        mean, log_variance = (of.double() for of in self.components())
        precision, zz = (-log_variance).exp(), z.double()
        square = zz.square() @ precision.T - 2 * zz @ (mean * precision).T
        log_q = log_normal(torch.zeros_like(mean), mean, log_variance) - square / 2
        return (log_q.logsumexp(-1) - math.log(len(mean))).to(z.dtype)

    def bound(self, x: Tensor, epsilon: Tensor, *y: Tensor) -> Tensor:
        """The bound (N,) in nats, of images (N, C, H, W) and noise (N, k, latent_dim)."""
        z, mean, log_variance = self.posterior(x, epsilon)
        log_p = self.log_prob(x, z).mean(1)
        kl = (log_normal(z, mean, log_variance) - self.log_prior(z)).mean(1)
        self.record(elbo=(log_p - kl).mean(), reconstruction=log_p.mean(), kl=kl.mean())
        return log_p - self.price(kl)

    def price(self, kl: Tensor) -> Tensor:
        """What is to be paid in training for divergences (N,): a share, until it is warm."""
        return kl * (min(1.0, self.images_before / self.warmup) if self.warmup else 1.0)

    @torch.no_grad()
    def latents(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Codes (n, latent_dim) of the prior: of one of the components each."""
        mean, log_variance = self.components()
        u = drawn("rand", (n,), self.device, generator)
        k = (u * len(mean)).long()
        epsilon = drawn("randn", (n, self.latent_dim), self.device, generator)
        return mean[k] + (log_variance[k] / 2).exp() * epsilon

    def path(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        """Codes between a and b (..., latent_dim), at shares t (...) of the way, on lines."""
        return lerp(a, b, t)
