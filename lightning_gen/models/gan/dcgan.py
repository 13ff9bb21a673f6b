"""Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks.

Radford, Metz, Chintala. 2015, arXiv:1511.06434.
"""

from lightning_gen.core import ImageBatch
from lightning_gen.functional.adversarial import discriminator_loss, non_saturating_loss
from lightning_gen.models.gan.adversarial import AdversarialModule


class DCGAN(AdversarialModule):
    r"""The GAN game between convolutional networks with batch normalisation.

    .. math:: L_D = -E[\log D(x)] - E[\log(1 - D(G(z)))], \qquad L_G = -E[\log D(G(z))]

    Note:
        Both players use the same G(z) in a round, as the authors' code does: one forward pass of G
        serves both.

    References:
        Radford et al., Unsupervised Representation Learning with Deep Convolutional Generative
        Adversarial Networks, 2015, arXiv:1511.06434.
    """

    def training_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Update D on real and generated images, then G through the new D."""
        for x in batch.image.chunk(self.n_critic):
            z = self.z(len(x))
            with self.descending("D") as descend:
                for x_i, z_i in self.micro(x, z):
                    x_tilde = self.fake(z_i)
                    descend(discriminator_loss(self.D(x_i), self.D(x_tilde.detach())))
        with self.descending("G") as descend:
            for (z_i,) in self.micro(z):
                descend(non_saturating_loss(self.D(self.fake(z_i))))
