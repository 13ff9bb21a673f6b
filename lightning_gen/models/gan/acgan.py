"""Conditional Image Synthesis with Auxiliary Classifier GANs.

Odena, Olah, Shlens. 2016, arXiv:1610.09585.
"""

from typing import Any

from torch import Tensor
from torch.nn.functional import cross_entropy

from lightning_gen.core import ImageBatch
from lightning_gen.functional.adversarial import discriminator_loss, non_saturating_loss
from lightning_gen.functional.precision import at_least_float32 as full
from lightning_gen.models.gan.cgan import CGAN
from lightning_gen.types import NonNegativeFloat


class ACGAN(CGAN):
    r"""A conditional GAN whose discriminator names the class instead of being told it.

    .. math:: L_S = E[\log P(S = real | x)] + E[\log P(S = fake | \tilde x)]
    .. math:: L_C = E[\log P(C = c | x)] + E[\log P(C = c | \tilde x)]

    D ascends :math:`L_S + L_C`, and G ascends :math:`L_C - L_S` (equations 2 and 3). D is a network
    whose ``heads(x)`` gives logits of the source and of the classes.

    Note:
        G descends the non-saturating loss in place of the negative of L_S.

    References:
        Odena et al., Conditional Image Synthesis with Auxiliary Classifier GANs, 2016,
        arXiv:1610.09585.

    Args:
        class_weight: Weight of L_C in the generator's loss.
        family: ``num_classes`` of :class:`CGAN`, and arguments of :class:`AdversarialModule`.
    """

    D: Any  # has .heads

    def __init__(self, *, class_weight: NonNegativeFloat = 1.0, **family: Any) -> None:
        super().__init__(**family)
        self.class_weight = class_weight

    def training_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Update D by source and class of real and generated images, then G."""
        assert batch.label is not None
        rounds = zip(
            batch.image.chunk(self.n_critic), batch.label.chunk(self.n_critic), strict=True
        )
        for x, c in rounds:
            z = self.z(len(x))
            with self.descending("D") as descend:
                for x_i, c_i, z_i in self.micro(x, c, z):
                    S, C = self.D.heads(x_i)
                    S_tilde, C_tilde = self.D.heads(self.G(z_i, c_i).detach())
                    L_C = cross_entropy(full(C), c_i) + cross_entropy(full(C_tilde), c_i)
                    descend(discriminator_loss(S, S_tilde) + L_C)
            self.record(accuracy=(C.argmax(1) == c_i).float().mean())
        with self.descending("G") as descend:
            for c_i, z_i in self.micro(c, z):
                S_tilde, C_tilde = self.D.heads(self.G(z_i, c_i))
                L_C = cross_entropy(full(C_tilde), c_i)
                descend(non_saturating_loss(S_tilde) + self.class_weight * L_C)

    def discriminate(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits (N,) of images (N, C, H, W) of being real; the labels are not told."""
        return self.D(x).flatten()
