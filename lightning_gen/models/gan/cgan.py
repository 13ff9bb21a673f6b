"""Conditional Generative Adversarial Nets.

Mirza, Osindero. 2014, arXiv:1411.1784.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_gen.core import ImageBatch
from lightning_gen.functional.adversarial import discriminator_loss, non_saturating_loss
from lightning_gen.models.gan.adversarial import AdversarialModule
from lightning_gen.types import PositiveInt


class CGAN(AdversarialModule):
    r"""The GAN game in which both players see the label y.

    .. math:: \min_G \max_D \; E_{x}[\log D(x|y)] + E_{z}[\log(1 - D(G(z|y)|y))]

    Note:
        The generator is asked for the labels of the minibatch it plays against, and trained by
        the non-saturating loss.

    References:
        Mirza and Osindero, Conditional Generative Adversarial Nets, 2014, arXiv:1411.1784.

    Args:
        num_classes: Number of labels; G takes (z, y) and D takes (x, y) with y in [0, num_classes).
        family: Arguments of :class:`AdversarialModule`.
    """

    requires_labels: ClassVar[bool] = True

    def __init__(self, *, num_classes: PositiveInt, **family: Any) -> None:
        super().__init__(**family)
        self.num_classes = num_classes

    def training_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Update D and G as the GAN does, given the labels."""
        assert batch.label is not None
        batches = zip(
            batch.image.chunk(self.n_critic), batch.label.chunk(self.n_critic), strict=True
        )
        for x, y in batches:
            z = self.z(len(x))
            with self.descending("D") as descend:
                for x_i, y_i, z_i in self.micro(x, y, z):
                    x_tilde = self.G(z_i, y_i).detach()
                    descend(discriminator_loss(self.D(x_i, y_i), self.D(x_tilde, y_i)))
        z = self.z(len(x))
        with self.descending("G") as descend:
            for y_i, z_i in self.micro(y, z):
                descend(non_saturating_loss(self.D(self.G(z_i, y_i), y_i)))

    def discriminate(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits (N,) of images (N, C, H, W) of the given labels (N,)."""
        return self.D(x, labels).flatten()

    def sample(
        self, n: int, *, labels: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw n samples of the given labels, or of 0, 1, 2, ... in turn.

        Args:
            n: How many.
            labels: Integers (n,) in [0, num_classes).
            generator: Source of randomness; None uses torch's.

        Returns:
            Images (n, C, H, W) in [-1, 1].
        """
        if labels is None:
            labels = torch.arange(n) % self.num_classes
        return self.generate(self.latents(n, generator), labels.to(self.device))
