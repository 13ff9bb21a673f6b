"""The GAN is dead; long live the GAN! A Modern Baseline GAN.

Huang, Gokaslan, Kuleshov, Tompkin. 2025, arXiv:2501.05441.
"""

from typing import Any, ClassVar

from lightning_gen.core import ImageBatch
from lightning_gen.functional.adversarial import relativistic_loss
from lightning_gen.functional.gradients import squared_gradient_norm
from lightning_gen.models.gan.adversarial import AdversarialModule
from lightning_gen.types import NonNegativeFloat


class R3GAN(AdversarialModule):
    r"""The relativistic pairing GAN with gradient penalties at real and at generated images.

    .. math:: L(\theta, \psi) = E_{z, x}[f(D_\psi(G_\theta(z)) - D_\psi(x))],
              \quad f(t) = -\log(1 + e^{-t})
    .. math:: R_1 = \tfrac{\gamma}{2} E_{x}[\| \nabla_x D(x) \|^2], \quad
              R_2 = \tfrac{\gamma}{2} E_{z}[\| \nabla_{\tilde x} D(\tilde x) \|^2]

    Each real image is paired with one generated image, so that no mode can be left: the loss of
    equation 2 has no local minima of dropped modes.

    Note:
        gamma is held; the authors lower it, the learning rate and beta_2 along a cosine.

    References:
        Huang et al., The GAN is dead; long live the GAN! A Modern Baseline GAN, 2025,
        arXiv:2501.05441.

    Args:
        gamma: Weight of both penalties.
        family: Arguments of :class:`AdversarialModule`.
    """

    per_sample_critic: ClassVar[bool] = True

    def __init__(self, *, gamma: NonNegativeFloat = 1.0, **family: Any) -> None:
        super().__init__(**family)
        self.gamma = gamma

    def training_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Update D and then G on pairs of a real and a generated image."""
        for x in batch.image.chunk(self.n_critic):
            z = self.z(len(x))
            with self.descending("D") as descend:
                for x_i, z_i in self.micro(x, z):
                    x_tilde = self.fake(z_i).detach()
                    R1 = squared_gradient_norm(self.D, x_i)
                    R2 = squared_gradient_norm(self.D, x_tilde)
                    adversarial = relativistic_loss(self.D(x_i), self.D(x_tilde))
                    descend(adversarial + self.gamma / 2 * (R1 + R2))
            self.record(R1=R1, R2=R2)
        with self.descending("G") as descend:
            for x_i, z_i in self.micro(x, z):
                descend(relativistic_loss(self.D(self.fake(z_i)), self.D(x_i)))
