"""Improved Training of Wasserstein GANs.

Gulrajani, Ahmed, Arjovsky, Dumoulin, Courville. 2017, arXiv:1704.00028.
"""

from typing import Any, ClassVar

import torch

from lightning_gen.core import ImageBatch
from lightning_gen.functional.gradients import gradient_norm
from lightning_gen.functional.precision import at_least_float32 as full
from lightning_gen.models.gan.adversarial import AdversarialModule
from lightning_gen.types import NonNegativeFloat, PositiveInt


class WGANGP(AdversarialModule):
    r"""A critic whose gradient norm is pulled to one between real and generated data (Algorithm 1).

    .. math:: L = D(\tilde x) - D(x) + \lambda (\| \nabla_{\hat x} D(\hat x) \|_2 - 1)^2,
              \quad \hat x = \epsilon x + (1 - \epsilon) \tilde x

    Note:
        The penalty is per sample, so D must not use batch normalisation (section 4).

    References:
        Gulrajani et al., Improved Training of Wasserstein GANs, 2017, arXiv:1704.00028.

    Args:
        gp_weight: The paper's lambda.
        n_critic: Critic steps for one generator step, each on a minibatch of its own.
        family: Arguments of :class:`AdversarialModule`.
    """

    per_sample_critic: ClassVar[bool] = True

    def __init__(
        self, *, gp_weight: NonNegativeFloat = 10.0, n_critic: PositiveInt = 5, **family: Any
    ) -> None:
        super().__init__(n_critic=n_critic, **family)
        self.gp_weight = gp_weight

    def training_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Run n_critic steps of the critic and one of the generator."""
        # Lines 2-10: t = 1, ..., n_critic
        for x in batch.image.chunk(self.n_critic):
            z, epsilon = self.z(len(x)), self.rand(len(x), *[1] * (x.ndim - 1))
            with self.descending("D") as descend:
                for x_i, z_i, epsilon_i in self.micro(x, z, epsilon):
                    with torch.no_grad():
                        x_tilde = self.G(z_i)
                    x_hat = epsilon_i * x_i + (1 - epsilon_i) * x_tilde
                    penalty = (gradient_norm(self.D, x_hat) - 1).square().mean()
                    wasserstein = (full(self.D(x_tilde)) - full(self.D(x_i))).mean()
                    descend(wasserstein + self.gp_weight * penalty)
            self.record(wasserstein=-wasserstein, gradient_penalty=penalty)
        # Lines 11-12
        z = self.z(len(x))
        with self.descending("G") as descend:
            for (z_i,) in self.micro(z):
                descend(-full(self.D(self.G(z_i))).mean())
