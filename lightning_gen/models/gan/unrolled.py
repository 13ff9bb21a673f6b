"""Unrolled Generative Adversarial Networks.

Metz, Poole, Pfau, Sohl-Dickstein. 2016, arXiv:1611.02163.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.func import functional_call

from lightning_gen.core import ImageBatch
from lightning_gen.functional.adversarial import discriminator_loss, non_saturating_loss
from lightning_gen.models.gan.adversarial import AdversarialModule
from lightning_gen.types import NonNegativeInt, PositiveFloat


class UnrolledGAN(AdversarialModule):
    r"""A generator that plays against the discriminator of K steps ahead (equations 8 to 10).

    .. math:: \theta_D^{k+1} = \theta_D^k + \eta \frac{df(\theta_G, \theta_D^k)}{d\theta_D^k},
              \qquad L_G = f(\theta_G, \theta_D^K(\theta_G, \theta_D))

    The gradient of G runs through all K steps of D; D itself takes one step a round.

    Note:
        The unrolled steps are plain gradient steps on the minibatch at hand, as in the equations;
        the authors' code unrolls its Adam.

    References:
        Metz et al., Unrolled Generative Adversarial Networks, 2016, arXiv:1611.02163.

    Args:
        unroll: The paper's K; 0 is the ordinary game.
        eta: Step size of the unrolled steps.
        family: Arguments of :class:`AdversarialModule`.
    """

    per_sample_critic: ClassVar[bool] = True  # differentiated twice: not compiled, no batch norm

    def __init__(
        self, *, unroll: NonNegativeInt = 5, eta: PositiveFloat = 1e-3, **family: Any
    ) -> None:
        super().__init__(**family)
        self.unroll, self.eta = unroll, eta

    def training_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Update D once, and G against the discriminator that D would become."""
        for x in batch.image.chunk(self.n_critic):
            z = self.z(len(x))
            with self.descending("D") as descend:
                for x_i, z_i in self.micro(x, z):
                    descend(discriminator_loss(self.D(x_i), self.D(self.G(z_i).detach())))
        with self.descending("G") as descend:
            for x_i, z_i in self.micro(x, z):
                x_tilde = self.G(z_i)
                theta = self.unrolled(x_i, x_tilde)
                descend(non_saturating_loss(functional_call(self.D, theta, (x_tilde,))))

    def unrolled(self, x: Tensor, x_tilde: Tensor) -> dict[str, Tensor]:
        """D's parameters after K steps, each a function of the generated images."""
        theta = {k: p.detach().requires_grad_() for k, p in self.D.named_parameters()}
        for _ in range(self.unroll):
            real, fake = (functional_call(self.D, theta, (images,)) for images in (x, x_tilde))
            f = -discriminator_loss(real, fake)
            slopes = torch.autograd.grad(f, list(theta.values()), create_graph=True)
            steps = zip(theta.items(), slopes, strict=True)
            theta = {k: p + self.eta * slope for (k, p), slope in steps}
        return theta
