"""Wasserstein GAN.

Arjovsky, Chintala, Bottou. 2017, arXiv:1701.07875.
"""

from typing import Any

import torch

from lightning_gen.core import ImageBatch
from lightning_gen.functional.precision import at_least_float32 as full
from lightning_gen.models.gan.adversarial import AdversarialModule
from lightning_gen.types import PositiveFloat, PositiveInt


class WGAN(AdversarialModule):
    r"""A critic of clipped weights, whose value estimates the Wasserstein distance (Algorithm 1).

    .. math:: \max_{w \in [-c, c]^l} E_{x}[f_w(x)] - E_{z}[f_w(g_\theta(z))]

    Note:
        The authors' code gives the critic 100 steps in each of the first 25 rounds and in every
        500th; here all rounds are alike, as in Algorithm 1.

    References:
        Arjovsky et al., Wasserstein GAN, 2017, arXiv:1701.07875.

    Args:
        c: Bound of the critic's weights.
        n_critic: Critic steps for one generator step, each on a minibatch of its own.
        family: Arguments of :class:`AdversarialModule`.
    """

    def __init__(
        self, *, c: PositiveFloat = 0.01, n_critic: PositiveInt = 5, **family: Any
    ) -> None:
        super().__init__(n_critic=n_critic, **family)
        self.c = c

    def training_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Run n_critic steps of the critic, clipping after each, and one of the generator."""
        # Lines 2-8: t = 0, ..., n_critic
        for x in batch.image.chunk(self.n_critic):
            z = self.z(len(x))
            with self.descending("D") as descend:
                for x_i, z_i in self.micro(x, z):
                    with torch.no_grad():
                        x_tilde = self.G(z_i)
                    wasserstein = (full(self.D(x_i)) - full(self.D(x_tilde))).mean()
                    descend(-wasserstein)
            self.record(wasserstein=wasserstein)
        # Lines 9-11
        z = self.z(len(x))
        with self.descending("G") as descend:
            for (z_i,) in self.micro(z):
                descend(-full(self.D(self.G(z_i))).mean())

    @torch.no_grad()
    def after_turn(self, player: str) -> None:
        """Clip the critic's weights after its step."""
        super().after_turn(player)
        if player in {"D"}:
            for w in self.D.parameters():
                w.clamp_(-self.c, self.c)
