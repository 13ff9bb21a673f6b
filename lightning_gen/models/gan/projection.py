"""cGANs with Projection Discriminator.

Miyato, Koyama. 2018, arXiv:1802.05637.
"""

from typing import Any

import torch
from torch import Tensor

from lightning_gen.core import ImageBatch
from lightning_gen.functional.adversarial import hinge_discriminator_loss
from lightning_gen.functional.precision import at_least_float32 as full
from lightning_gen.models.gan.cgan import CGAN
from lightning_gen.types import PositiveInt


class ProjectionGAN(CGAN):
    r"""A conditional GAN whose D takes the inner product of the label and the image's features.

    .. math:: D(x, y) = y^T V \phi(x) + \psi(\phi(x)) \qquad \text{(equation 3)}

    The projection is the network's (:class:`lightning_gen.networks.resnet.ResNetDiscriminator`);
    the game is the hinge loss on labelled images. Generated images have labels drawn uniformly.

    References:
        Miyato and Koyama, cGANs with Projection Discriminator, 2018, arXiv:1802.05637.

    Args:
        n_critic: Steps of D for one of G, each on a minibatch of its own.
        family: ``num_classes`` of :class:`CGAN`, and arguments of :class:`AdversarialModule`.
    """

    def __init__(self, *, n_critic: PositiveInt = 5, **family: Any) -> None:
        super().__init__(n_critic=n_critic, **family)

    def training_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Run n_critic steps of D and one of G."""
        assert batch.label is not None
        rounds = zip(
            batch.image.chunk(self.n_critic), batch.label.chunk(self.n_critic), strict=True
        )
        for x, y in rounds:
            z, y_tilde = self.z(len(x)), self.labels(len(x))
            with self.descending("D") as descend:
                for x_i, y_i, z_i, y_j in self.micro(x, y, z, y_tilde):
                    with torch.no_grad():
                        x_tilde = self.G(z_i, y_j)
                    descend(hinge_discriminator_loss(self.D(x_i, y_i), self.D(x_tilde, y_j)))
        z, y_tilde = self.z(len(x)), self.labels(len(x))
        with self.descending("G") as descend:
            for z_i, y_j in self.micro(z, y_tilde):
                descend(-full(self.D(self.G(z_i, y_j), y_j)).mean())

    def labels(self, n: int) -> Tensor:
        """Draw this rank's labels (n,) of the global batch uniformly."""
        return self.randint(self.num_classes, n)
