"""Progressive Growing of GANs for Improved Quality, Stability, and Variation.

Karras, Aila, Laine, Lehtinen. 2017, arXiv:1710.10196.
"""

from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from lightning_gen.core import ImageBatch
from lightning_gen.functional.gradients import gradient_norm
from lightning_gen.functional.precision import at_least_float32 as full
from lightning_gen.models.gan.adversarial import AdversarialModule
from lightning_gen.types import NonNegativeFloat, PositiveFloat, PositiveInt


def growth(images: int, phase_images: int, levels: int) -> float:
    """How far the networks have grown: phases of rest and of fading in alternate (section 3).

    Args:
        images: Real images seen so far.
        phase_images: Images of a phase.
        levels: Levels of the networks.

    Returns:
        k while level k is alone, k + alpha while level k + 1 fades in; at most levels - 1.

    Example:
        >>> [growth(images, 100, levels=3) for images in (0, 100, 150, 200, 300, 375, 900)]
        [0.0, 0.0, 0.5, 1.0, 1.0, 1.75, 2.0]
    """
    k, images = divmod(images, 2 * phase_images)
    return min(k + max(images - phase_images, 0) / phase_images, levels - 1.0)


class ProGAN(AdversarialModule):
    r"""A WGAN-GP whose players grow together from small images to large ones.

    .. math:: L = D(\tilde x) - D(x)
              + \tfrac{\lambda}{\gamma^2} (\| \nabla_{\hat x} D(\hat x) \|_2 - \gamma)^2
              + \epsilon_{drift} D(x)^2

    G gives and D takes images of full size at any time; the levels that are not there yet repeat
    and average pixels. Level k + 1 enters by a weight alpha that rises from zero to one, in G, in D
    and in the real images alike (figure 2).

    Note:
        - The minibatch keeps its size; the authors take fewer images at the largest levels.
        - Adam forgets its moments when a level begins or ends to fade in, and the gradient norm is
          that of images in full size, as in the authors' code.
        - The paper's average of G decays by .999 a step, a half-life of 11_100 images at its
          minibatch of 16.
        - G is linear at its end, so samples are cut off at -1 and 1.

    References:
        Karras et al., Progressive Growing of GANs for Improved Quality, Stability, and Variation,
        2017, arXiv:1710.10196.

    Args:
        phase_images: Real images of a phase, of rest or of fading in.
        gp_weight: The paper's lambda.
        gp_target: The paper's gamma; 750 on CIFAR-10.
        drift_weight: The paper's epsilon_drift, which keeps D's values near zero.
        latent_dim: Dimension of z, which G brings to a hypersphere.
        family: Arguments of :class:`AdversarialModule`.
    """

    per_sample_critic: ClassVar[bool] = True
    G: Any  # both are lightning_gen.networks.progan.Growing
    D: Any

    def __init__(
        self,
        *,
        phase_images: PositiveInt = 800_000,
        gp_weight: NonNegativeFloat = 10.0,
        gp_target: PositiveFloat = 1.0,
        drift_weight: NonNegativeFloat = 1e-3,
        latent_dim: PositiveInt = 512,
        **family: Any,
    ) -> None:
        super().__init__(latent_dim=latent_dim, **family)
        self.phase_images, self.drift_weight = phase_images, drift_weight
        self.gp_weight, self.gp_target = gp_weight, gp_target

    def training_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Grow to where this moment is, then update D and G."""
        self.grow()
        for x in self.D.fade(batch.image).chunk(self.n_critic):
            z, epsilon = self.z(len(x)), self.rand(len(x), 1, 1, 1)
            with self.descending("D") as descend:
                for x_i, z_i, epsilon_i in self.micro(x, z, epsilon):
                    with torch.no_grad():
                        x_tilde = self.G(z_i)
                    x_hat = epsilon_i * x_i + (1 - epsilon_i) * x_tilde
                    norm = gradient_norm(self.D, x_hat)
                    penalty = (norm / self.gp_target - 1).square().mean()
                    real, fake = full(self.D(x_i)), full(self.D(x_tilde))
                    wasserstein, drift = (real - fake).mean(), real.square().mean()
                    descend(-wasserstein + self.gp_weight * penalty + self.drift_weight * drift)
            self.record(wasserstein=wasserstein, gradient_penalty=penalty, drift=drift)
        z = self.z(len(x))
        with self.descending("G") as descend:
            for (z_i,) in self.micro(z):
                descend(-full(self.D(self.G(z_i))).mean())

    def grow(self) -> None:
        """Set the growth of both players from the images seen before this step."""
        k, top, _ = self.G.present
        for player in (self.G, self.D):
            player.growth.fill_(growth(self.images_before, self.phase_images, len(player.sides)))
        self.record(growth=self.G.growth.clone())
        if self.G.present[:2] != (k, top):
            for optimizer in cast(list, self.optimizers(use_pl_optimizer=False)):
                optimizer.state.clear()

    def compile_networks(self) -> None:
        """Compile the levels of G in place; which of them are there changes, and D stays eager."""
        for block in self.G.blocks:
            block.compile()

    def generate(self, *inputs: Tensor) -> Tensor:
        """Apply the sampling generator in evaluation mode, and cut its images off at -1 and 1."""
        return super().generate(*inputs).clamp(-1, 1)
