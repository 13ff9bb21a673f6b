"""Importance Weighted Autoencoders.

Burda, Grosse, Salakhutdinov. 2015, arXiv:1509.00519.
"""

import math
from typing import Any

from torch import Tensor

from lightning_gen.models.autoencoder.vae import VAE
from lightning_gen.types import PositiveInt


class IWAE(VAE):
    r"""A VAE that ascends a tighter bound, of k codes of each image (equation 8).

    .. math:: L_k = E_{z_1, \dots, z_k \sim q(z|x)}\left[\log \frac1k \sum_{i=1}^k w_i\right],
              \quad w_i = \frac{p(x, z_i)}{q(z_i|x)}

    Its gradient is that of :math:`\sum_i \tilde w_i \log w_i` with the normalised weights
    :math:`\tilde w_i` held fast (equation 14), which is what the logarithm of the sum has.

    References:
        Burda et al., Importance Weighted Autoencoders, 2015, arXiv:1509.00519.

    Args:
        importance_samples: k; the paper has 5 and 50 beside the VAE's 1.
        family: Arguments of :class:`VAE`.
    """

    def __init__(self, *, importance_samples: PositiveInt = 5, **family: Any) -> None:
        super().__init__(**family)
        self.importance_samples = importance_samples

    def bound(self, x: Tensor, epsilon: Tensor, *y: Tensor) -> Tensor:
        """L_k (N,) in nats, of images (N, C, H, W) and noise (N, k, latent_dim)."""
        log_w = self.log_weights(x, epsilon, *y)
        L_k = log_w.logsumexp(1) - math.log(log_w.shape[1])
        share = log_w.detach().softmax(1)
        self.record(elbo=log_w.mean(), bound=L_k.mean(), effective=1 / share.square().sum(1).mean())
        return L_k
