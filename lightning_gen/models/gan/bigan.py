"""Adversarial Feature Learning.

Donahue, Krähenbühl, Darrell. 2016, arXiv:1605.09782.
"""

from typing import Any

import torch
from torch import Tensor, nn

from lightning_gen.core import ImageBatch
from lightning_gen.functional.adversarial import discriminator_loss, non_saturating_loss
from lightning_gen.models.gan.adversarial import AdversarialModule
from lightning_gen.networks.modes import evaluating


class BiGAN(AdversarialModule):
    r"""A GAN of pairs: an encoder E learns to undo G, because D sees image and code (equation 2).

    .. math:: \min_{G, E} \max_D E_{x}[\log D(x, E(x))] + E_{z}[\log(1 - D(G(z), z))]

    Note:
        G and E move with one optimiser and descend the loss with exchanged labels (section 3.4).

    References:
        Donahue et al., Adversarial Feature Learning, 2016, arXiv:1605.09782.

    Args:
        E: Encoder, images (N, C, H, W) to codes (N, latent_dim).
        family: Arguments of :class:`AdversarialModule`.
    """

    E: Any  # has .features

    def __init__(self, *, E: nn.Module, **family: Any) -> None:
        super().__init__(**family)
        self.E = E

    def player_parameters(self, player: str) -> list[nn.Parameter]:
        """Parameters a player's optimiser moves: E plays with G."""
        own = super().player_parameters(player)
        return {"G": [*own, *self.E.parameters()]}.get(player, own)

    def training_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Update D on pairs, then G and E on exchanged labels."""
        for x in batch.image.chunk(self.n_critic):
            z = self.z(len(x))
            with self.descending("D") as descend:
                for x_i, z_i in self.micro(x, z):
                    with torch.no_grad():
                        code, x_tilde = self.E(x_i), self.G(z_i)
                    descend(discriminator_loss(self.D(x_i, code), self.D(x_tilde, z_i)))
        with self.descending("G") as descend:
            for x_i, z_i in self.micro(x, z):
                real, fake = self.D(x_i, self.E(x_i)), self.D(self.G(z_i), z_i)
                descend(non_saturating_loss(fake) + non_saturating_loss(-real))

    def discriminate(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits (N,) of images (N, C, H, W), each with its own code."""
        return self.D(x, self.E(x)).flatten()

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """Codes (N, latent_dim) of images (N, C, H, W)."""
        with evaluating(self.E) as E:
            return E(x).float()

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        """Features (N, d) of the encoder's penultimate layer."""
        with evaluating(self.E):
            return self.E.features(x).float()

    def reconstruct(self, x: Tensor) -> Tensor:
        """G(E(x)) of images (N, C, H, W)."""
        return self.generate(self.encode(x))
