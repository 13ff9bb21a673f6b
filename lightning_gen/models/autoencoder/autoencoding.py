"""The family of models that make a code of an image and an image of a code."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lightning_gen.networks.modes import evaluating
from lightning_gen.players import DescendingModule
from lightning_gen.types import PositiveInt


class AutoencoderModule(DescendingModule):
    """Base of every model with an encoder and a decoder; a paper's file says what it descends on.

    Args:
        encoder: Images (N, C, H, W) to what a paper's file makes codes of.
        decoder: Codes (N, latent_dim) to what it makes images of.
        latent_dim: Dimension of a code.
        family: Arguments of :class:`AlternatingModule`.
    """

    measured: ClassVar[tuple[str, ...]] = ("reconstruction",)

    def __init__(
        self, *, encoder: nn.Module, decoder: nn.Module, latent_dim: PositiveInt, **family: Any
    ) -> None:
        super().__init__(**family)
        self.encoder, self.decoder, self.latent_dim = encoder, decoder, latent_dim

    def code(self, x: Tensor) -> Tensor:
        """Codes (N, latent_dim) of images (N, C, H, W): means, where there are distributions."""
        return self.encoder(x)

    def picture(self, z: Tensor) -> Tensor:
        """Images (N, C, H, W) in [-1, 1] of codes: means, where there are distributions."""
        return self.decoder(z)

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """Codes (N, latent_dim) of images (N, C, H, W), in evaluation mode."""
        with evaluating(self):
            return self.code(x).float()

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Images (N, C, H, W) in [-1, 1] of codes (N, latent_dim), in evaluation mode."""
        with evaluating(self):
            return self.picture(z).float().clamp(-1, 1)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) in [-1, 1] that come back from the codes of others."""
        return self.decode(self.encode(x))
