"""Deep Generative Image Models using a Laplacian Pyramid of Adversarial Networks.

Denton, Chintala, Szlam, Fergus. 2015, arXiv:1506.05751.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from lightning_gen.core import ImageBatch
from lightning_gen.functional.adversarial import discriminator_loss, non_saturating_loss
from lightning_gen.functional.pyramid import decompose
from lightning_gen.models.gan.adversarial import AdversarialModule
from lightning_gen.types import PositiveInt


class LAPGAN(AdversarialModule):
    r"""A GAN of what each level of a Laplacian pyramid adds to the level below (section 2.3).

    .. math:: \min_{G_k} \max_{D_k} E_{I}[\log D_k(h_k, l_k)]
              + E_{I, z_k}[\log(1 - D_k(G_k(z_k, l_k), l_k))], \quad
              l_k = u(I_{k + 1}), \; h_k = I_k - l_k

    Each level is trained on the real images of the level below, so the levels are games of their
    own; D_k sees h_k added to l_k. A sample climbs through all of them, which is what G as a whole
    does (:class:`lightning_gen.networks.lapgan.LAPGANGenerator`):

    .. math:: \tilde I_k = \tilde l_k + G_k(z_k, \tilde l_k), \quad
              \tilde l_k = u(\tilde I_{k + 1}), \quad \tilde I_K = G_K(z_K)

    Both networks hold their ``levels``, the coarsest first. A latent vector is the noise of all
    levels, one after the other.

    Note:
        Samples are clamped to [-1, 1]. The paper descends at a learning rate of .02 with a
        momentum that grows from .5 to .8; its configuration here uses Adam, five times faster for
        D than for G. The paper's class-conditional variant is not here.

    References:
        Denton et al., Deep Generative Image Models using a Laplacian Pyramid of Adversarial
        Networks, 2015, arXiv:1506.05751.

    Args:
        level_images: Real images that each level is trained on before the next finer one, the
            finest to the end; None trains all levels at once, with the sum of their losses.
        family: Arguments of :class:`AdversarialModule`; ``latent_dim`` is the coarsest level's.
    """

    G: Any  # has .levels and .latent_dims
    D: Any  # has .levels

    def __init__(self, *, level_images: PositiveInt | None = None, **family: Any) -> None:
        super().__init__(**family)
        self.latent_dim = sum(self.G.latent_dims)
        self.level_images = level_images

    @property
    def active(self) -> range:
        """The levels that this step trains, the coarsest being 0."""
        levels = len(self.G.levels)
        if self.level_images is None:
            return range(levels)
        level = min(self.images_before // self.level_images, levels - 1)
        return range(level, level + 1)

    def training_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Update the discriminators of the active levels, then their generators."""
        for x in batch.image.chunk(self.n_critic):
            z = self.z(len(x))
            with self.descending("D") as descend:
                for x_i, z_i in self.micro(x, z):
                    losses = [
                        discriminator_loss(D_k(real), D_k(fake.detach()))
                        for D_k, real, fake in self.games(x_i, z_i)
                    ]
                    descend(torch.stack(losses).sum())
        z = self.z(len(x))
        with self.descending("G") as descend:
            for x_i, z_i in self.micro(x, z):
                losses = [non_saturating_loss(D_k(fake)) for D_k, _, fake in self.games(x_i, z_i)]
                descend(torch.stack(losses).sum())

    def games(self, x: Tensor, z: Tensor) -> Iterator[tuple[Any, Tensor, Tensor]]:
        """Play the active levels on real images.

        Args:
            x: Images (N, C, H, W).
            z: Latents (N, latent_dim).

        Yields:
            Of each level D_k, and what it sees: the low-pass image with its real residual added,
            and with a generated one.
        """
        bands, noise = decompose(x, len(self.G.levels)), z.split(self.G.latent_dims, 1)
        for k in self.active:
            h, low = bands[k]
            yield self.D.levels[k], h + low, self.G.levels[k](noise[k], low) + low

    def compile_networks(self) -> None:
        """Compile each level of G and D in place."""
        for level in (*self.G.levels, *self.D.levels):
            level.compile()
