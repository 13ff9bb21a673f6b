"""Wasserstein Auto-Encoders.

Tolstikhin, Bousquet, Gelly, Schölkopf. 2017, arXiv:1711.01558.
"""

from typing import Any

import torch
from torch import Tensor

from lightning_gen.core import ImageBatch
from lightning_gen.functional.mmd import inverse_multiquadratics, squared_mmd
from lightning_gen.functional.pixels import unit_range
from lightning_gen.functional.precision import at_least_float32 as full
from lightning_gen.models.autoencoder.gaussian_prior import GaussianPriorModule
from lightning_gen.types import NonNegativeFloat, PositiveFloat


class WAE(GaussianPriorModule):
    r"""An autoencoder whose codes are drawn to a normal prior by their discrepancy from it.

    .. math:: \min_{Q, G} E_x E_{\tilde z \sim Q(z|x)} \|x - G(\tilde z)\|^2
              + \lambda \, \mathrm{MMD}_k(Q_Z, P_Z)

    (WAE-MMD, Algorithm 2) with codes :math:`\tilde z` that Q gives without chance, the kernel k of
    inverse multiquadratics, and pixels in [0, 1].

    Note:
        Codes are compared within a micro-batch of a device: more devices, or ``accumulate``, make
        the estimate noisier, not biased. The authors' code sums the kernel over seven scales,
        as here, and weights the squared error by 0.05, which ``mmd_weight`` 200 is here.

    References:
        Tolstikhin et al., Wasserstein Auto-Encoders, 2017, arXiv:1711.01558.

    Args:
        mmd_weight: The paper's lambda.
        prior_std: Standard deviation of the prior.
        family: Arguments of :class:`AutoencoderModule`.
    """

    def __init__(
        self,
        *,
        mmd_weight: NonNegativeFloat = 10.0,
        prior_std: PositiveFloat = 1.0,
        **family: Any,
    ) -> None:
        super().__init__(**family)
        self.mmd_weight, self.prior_std = mmd_weight, prior_std
        self.kernel = inverse_multiquadratics(prior_std**2)

    def picture(self, z: Tensor) -> Tensor:
        """Images (N, C, H, W) in [-1, 1] of codes (N, latent_dim)."""
        return torch.tanh(full(self.decoder(z)) / 2)

    def training_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Descend on the error of what comes back, and on the discrepancy of the codes."""
        z = self.prior_std * self.randn(len(batch.image), self.latent_dim)
        with self.descending("model") as descend:
            for x_i, z_i in self.micro(batch.image, z):
                z_tilde = full(self.code(x_i))
                difference = unit_range(x_i) - unit_range(self.picture(z_tilde))
                error = difference.square().flatten(1).sum(1).mean()
                mmd = squared_mmd(z_tilde, z_i, self.kernel)
                descend(error + self.mmd_weight * mmd)
        self.record(error=error, mmd=mmd)
