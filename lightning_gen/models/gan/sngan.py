"""Spectral Normalization for Generative Adversarial Networks.

Miyato, Kataoka, Koyama, Yoshida. 2018, arXiv:1802.05957.
"""

from typing import Any

import torch

from lightning_gen.core import ImageBatch
from lightning_gen.functional.adversarial import hinge_discriminator_loss
from lightning_gen.functional.precision import at_least_float32 as full
from lightning_gen.models.gan.adversarial import AdversarialModule
from lightning_gen.types import PositiveInt


class SNGAN(AdversarialModule):
    r"""A discriminator whose layers have spectral norm one, trained by the hinge loss.

    .. math:: L_D = E[\max(0, 1 - D(x))] + E[\max(0, 1 + D(G(z)))], \qquad L_G = -E[D(G(z))]

    The normalisation is the network's (:mod:`lightning_gen.networks.resnet`, ``norm=spectral`` of
    DCGAN's discriminator); the loss is equations 16 and 17 and works with any network.

    References:
        Miyato et al., Spectral Normalization for Generative Adversarial Networks, 2018,
        arXiv:1802.05957.

    Args:
        n_critic: The paper's n_dis: 5 with the ResNets, 1 with the plain convolutions.
        family: Arguments of :class:`AdversarialModule`.
    """

    def __init__(self, *, n_critic: PositiveInt = 5, **family: Any) -> None:
        super().__init__(n_critic=n_critic, **family)

    def training_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Run n_dis steps of D and one of G."""
        for x in batch.image.chunk(self.n_critic):
            z = self.z(len(x))
            with self.descending("D") as descend:
                for x_i, z_i in self.micro(x, z):
                    with torch.no_grad():
                        x_tilde = self.G(z_i)
                    descend(hinge_discriminator_loss(self.D(x_i), self.D(x_tilde)))
        z = self.z(len(x))
        with self.descending("G") as descend:
            for (z_i,) in self.micro(z):
                descend(-full(self.D(self.G(z_i))).mean())
