"""Variational Inference with Normalizing Flows: a VAE whose posterior is bent.

Rezende, Mohamed. 2015, arXiv:1505.05770.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from lightning_gen.functional.likelihoods import log_normal
from lightning_gen.functional.precision import at_least_float32
from lightning_gen.models.autoencoder.vae import VAE
from lightning_gen.networks.planar import LAYERS, count
from lightning_gen.types import PositiveInt


class FlowVAE(VAE):
    r"""A VAE whose codes are draws of a Gaussian, bent by layers that the encoder says too.

    .. math:: \log p(x) \ge E_{q_0}\left[\log p(x, z_K) - \log q_0(z_0)
              + \sum_k \log |1 + u_k^T \psi_k(z_{k-1})|\right], \qquad
              z_k = z_{k-1} + u_k \tanh(w_k^T z_{k-1} + b_k)

    Note:
        The paper multiplies log p(x, z) by a temperature that rises in the first 10,000 steps;
        here it is 1 from the start.

    References:
        Rezende and Mohamed, Variational Inference with Normalizing Flows, 2015, arXiv:1505.05770,
        equations 10 to 15 and algorithm 1.

    Args:
        layers: K; the paper has 10 to 80 on MNIST.
        layer: Their kind; of "planar" the formula is above.
        family: Arguments of :class:`VAE`.
    """

    def __init__(
        self,
        *,
        layers: PositiveInt = 10,
        layer: Literal["planar", "radial"] = "planar",
        **family: Any,
    ) -> None:
        super().__init__(**family)
        self.layers, self.bend = layers, LAYERS[layer][0]
        self.each = count(layer, self.latent_dim)

    def bent(self, x: Tensor, epsilon: Tensor, *y: Tensor) -> tuple[Tensor, Tensor]:
        """Codes (N, k, latent_dim) of noise, and their log densities (N, k)."""
        code, theta = self.told(x, *y)[:, None].tensor_split([2 * self.latent_dim], 2)
        mean, log_variance = code.chunk(2, 2)
        z = mean + (log_variance / 2).exp() * epsilon
        log_q = log_normal(z, mean, log_variance.expand_as(z))
        for theta_k in theta.split(self.each, 2):
            z, log_det = self.bend(z, theta_k)
            log_q = log_q - log_det
        return z, log_q

    def told(self, x: Tensor, *y: Tensor) -> Tensor:
        """What the encoder says: means, log variances, and the layers' parameters."""
        return at_least_float32(self.encoder(x, *y))

    def bound(self, x: Tensor, epsilon: Tensor, *y: Tensor) -> Tensor:
        """The bound (N,) in nats, of images (N, C, H, W) and noise (N, k, latent_dim)."""
        z, log_q = self.bent(x, epsilon, *y)
        log_p, kl = self.log_prob(x, z, *y).mean(1), (log_q - self.log_prior(z)).mean(1)
        self.record(elbo=(log_p - kl).mean(), reconstruction=log_p.mean(), kl=kl.mean())
        return log_p - self.price(kl)

    def log_weights(self, x: Tensor, epsilon: Tensor, *y: Tensor) -> Tensor:
        """Log p(x, z) / q(z|x) (N, k), of images (N, C, H, W) and noise (N, k, latent_dim)."""
        z, log_q = self.bent(x, epsilon, *y)
        return self.log_prob(x, z, *y) + self.log_prior(z) - log_q

    def code(self, x: Tensor, *y: Tensor) -> Tensor:
        """What the means of the Gaussians become: codes (N, latent_dim) of images (N, C, H, W)."""
        noise = torch.zeros(len(x), 1, self.latent_dim, device=x.device)
        return self.bent(x, noise, *y)[0].squeeze(1)
