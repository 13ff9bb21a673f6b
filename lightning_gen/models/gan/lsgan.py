"""Least Squares Generative Adversarial Networks.

Mao, Li, Xie, Lau, Wang, Smolley. 2016, arXiv:1611.04076.
"""

from typing import Any

from lightning_gen.core import ImageBatch
from lightning_gen.functional.precision import at_least_float32 as full
from lightning_gen.models.gan.adversarial import AdversarialModule


class LSGAN(AdversarialModule):
    r"""The GAN game with squared errors in place of the cross-entropy (equation 2).

    .. math:: L_D = \tfrac12 E[(D(x) - b)^2] + \tfrac12 E[(D(G(z)) - a)^2],
              \qquad L_G = \tfrac12 E[(D(G(z)) - c)^2]

    With b - c = 1 and b - a = 2 the generator minimises the Pearson chi-squared divergence
    (section 3.2.2); the defaults are the paper's 0-1 coding (equation 9).

    References:
        Mao et al., Least Squares Generative Adversarial Networks, 2016, arXiv:1611.04076.

    Args:
        a: What D is to say of generated images.
        b: What D is to say of real images.
        c: What G wants D to say of generated images.
        family: Arguments of :class:`AdversarialModule`.
    """

    def __init__(self, *, a: float = 0.0, b: float = 1.0, c: float = 1.0, **family: Any) -> None:
        super().__init__(**family)
        self.a, self.b, self.c = a, b, c

    def training_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Update D on real and generated images, then G through the new D."""
        for x in batch.image.chunk(self.n_critic):
            z = self.z(len(x))
            with self.descending("D") as descend:
                for x_i, z_i in self.micro(x, z):
                    real, fake = full(self.D(x_i)), full(self.D(self.fake(z_i).detach()))
                    descend(((real - self.b).square() + (fake - self.a).square()).mean() / 2)
        with self.descending("G") as descend:
            for (z_i,) in self.micro(z):
                descend((full(self.D(self.fake(z_i))) - self.c).square().mean() / 2)
