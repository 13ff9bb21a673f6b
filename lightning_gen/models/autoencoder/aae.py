"""Adversarial Autoencoders.

Makhzani, Shlens, Jaitly, Goodfellow, Frey. 2015, arXiv:1511.05644.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lightning_gen.core import ImageBatch
from lightning_gen.functional.adversarial import discriminator_loss, non_saturating_loss
from lightning_gen.functional.pixels import unit_range
from lightning_gen.functional.precision import at_least_float32 as full
from lightning_gen.models.autoencoder.gaussian_prior import GaussianPriorModule
from lightning_gen.types import PositiveFloat


class AAE(GaussianPriorModule):
    r"""An autoencoder whose codes a discriminator cannot tell from a normal prior.

    .. math:: \min_{E, R} E_x \|x - R(E(x))\|^2, \qquad
              \min_E \max_D E_{z \sim p(z)}[\log D(z)] + E_x[\log(1 - D(E(x)))]

    Each minibatch is played in two phases: encoder E and decoder R reconstruct it; then D learns to
    tell codes from the prior, and E, the generator of codes, to confuse it. Pixels are in [0, 1].

    Note:
        The encoder is deterministic, as in the paper's experiment, and confuses D by the
        non-saturating loss.

    References:
        Makhzani et al., Adversarial Autoencoders, 2015, arXiv:1511.05644.

    Args:
        D: Codes (N, latent_dim) to logits (N, 1).
        prior_std: Standard deviation of the prior.
        family: Arguments of :class:`AutoencoderModule`.
    """

    players: ClassVar[tuple[str, ...]] = ("autoencoder", "D", "G")
    adversaries: ClassVar[tuple[str, ...]] = ("D",)

    def __init__(self, *, D: nn.Module, prior_std: PositiveFloat = 5.0, **family: Any) -> None:
        super().__init__(**family)
        self.D, self.prior_std = D, prior_std

    @property
    def G(self) -> nn.Module:
        """The generator of codes: the encoder."""
        return self.encoder

    def player_parameters(self, player: str) -> list[nn.Parameter]:
        """Parameters a player's optimiser moves: the encoder has two."""
        networks = {"autoencoder": (self.encoder, self.decoder), "D": (self.D,), "G": (self.G,)}
        return [p for network in networks[player] for p in network.parameters()]

    def picture(self, z: Tensor) -> Tensor:
        """Images (N, C, H, W) in [-1, 1] of codes (N, latent_dim)."""
        return torch.tanh(full(self.decoder(z)) / 2)

    def training_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Reconstruct, then tell codes from the prior, then confuse."""
        x, z = batch.image, self.prior_std * self.randn(len(batch.image), self.latent_dim)
        with self.descending("autoencoder") as descend:
            for (x_i,) in self.micro(x):
                difference = unit_range(x_i) - unit_range(self.picture(self.code(x_i)))
                descend(difference.square().flatten(1).sum(1).mean())
        with self.descending("D") as descend:
            for x_i, z_i in self.micro(x, z):
                descend(discriminator_loss(self.D(z_i), self.D(self.fake(x_i).detach())))
        with self.descending("G") as descend:
            for (x_i,) in self.micro(x):
                descend(non_saturating_loss(self.D(self.fake(x_i))))
