"""Which Training Methods for GANs do actually Converge?

Mescheder, Geiger, Nowozin. 2018, arXiv:1801.04406.
"""

from typing import Any, ClassVar

from lightning_gen.core import ImageBatch
from lightning_gen.functional.adversarial import discriminator_loss, non_saturating_loss
from lightning_gen.functional.gradients import squared_gradient_norm
from lightning_gen.models.gan.adversarial import AdversarialModule
from lightning_gen.types import NonNegativeFloat, PositiveInt


class R1GAN(AdversarialModule):
    r"""The non-saturating GAN with a penalty on D's gradient at real images (equation 9).

    .. math:: R_1 = \tfrac{\gamma}{2} E_{x}[\| \nabla_x D(x) \|^2]

    Note:
        With ``lazy`` > 1 the penalty is taken every so many rounds with as many times the weight,
        as StyleGAN2 (arXiv:1912.04958, section 2.2) does; 1 is the paper.

    References:
        Mescheder et al., Which Training Methods for GANs do actually Converge?, 2018,
        arXiv:1801.04406.

    Args:
        gamma: Weight of the penalty.
        lazy: Rounds between two penalties.
        family: Arguments of :class:`AdversarialModule`.
    """

    per_sample_critic: ClassVar[bool] = True

    def __init__(
        self, *, gamma: NonNegativeFloat = 10.0, lazy: PositiveInt = 1, **family: Any
    ) -> None:
        super().__init__(**family)
        self.gamma, self.lazy = gamma, lazy

    def training_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Update D, with the penalty when it is its turn, and G through the new D."""
        for x in batch.image.chunk(self.n_critic):
            z = self.z(len(x))
            with self.descending("D") as descend:
                for x_i, z_i in self.micro(x, z):
                    loss = discriminator_loss(self.D(x_i), self.D(self.fake(z_i).detach()))
                    if self.iteration % self.lazy == 0:
                        R1 = squared_gradient_norm(self.D, x_i)
                        loss = loss + self.gamma / 2 * self.lazy * R1
                        self.record(R1=R1)
                    descend(loss)
        with self.descending("G") as descend:
            for (z_i,) in self.micro(z):
                descend(non_saturating_loss(self.D(self.fake(z_i))))
