"""Generative Adversarial Networks.

Goodfellow, Pouget-Abadie, Mirza, Xu, Warde-Farley, Ozair, Courville, Bengio. 2014, arXiv:1406.2661.
"""

from typing import Any, Literal

from lightning_gen.core import ImageBatch
from lightning_gen.functional.adversarial import (
    discriminator_loss,
    minimax_loss,
    non_saturating_loss,
)
from lightning_gen.models.gan.adversarial import AdversarialModule


class GAN(AdversarialModule):
    r"""A generator and a discriminator in a two-player minimax game (Algorithm 1).

    .. math:: \min_G \max_D \; E_{x}[\log D(x)] + E_{z}[\log(1 - D(G(z)))]

    Note:
        Algorithm 1 descends the minimax loss; section 3 trains G by maximising log D(G(z))
        instead, and so did the paper's experiments: that is the default here.

    References:
        Goodfellow et al., Generative Adversarial Networks, 2014, arXiv:1406.2661.

    Args:
        loss: The generator's loss.
        family: Arguments of :class:`AdversarialModule`; ``n_critic`` is the paper's k.
    """

    def __init__(
        self, *, loss: Literal["non-saturating", "minimax"] = "non-saturating", **family: Any
    ) -> None:
        super().__init__(**family)
        losses = {"non-saturating": non_saturating_loss, "minimax": minimax_loss}
        self.generator_loss = losses[loss]

    def training_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Run k steps of the discriminator and one of the generator."""
        # for k steps do
        for x in batch.image.chunk(self.n_critic):
            z = self.z(len(x))
            with self.descending("D") as descend:
                for x_i, z_i in self.micro(x, z):
                    x_tilde = self.G(z_i).detach()
                    descend(discriminator_loss(self.D(x_i), self.D(x_tilde)))
        # Sample a minibatch of noise, update the generator
        z = self.z(len(x))
        with self.descending("G") as descend:
            for (z_i,) in self.micro(z):
                descend(self.generator_loss(self.D(self.G(z_i))))
