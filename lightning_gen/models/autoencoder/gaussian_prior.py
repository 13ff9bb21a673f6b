"""The part of the family whose codes have a normal prior, and which can be sampled from."""

import torch
from torch import Tensor

from lightning_gen.functional.draws import drawn
from lightning_gen.functional.latent import slerp
from lightning_gen.models.autoencoder.autoencoding import AutoencoderModule
from lightning_gen.networks.modes import evaluating


class GaussianPriorModule(AutoencoderModule):
    """Base of autoencoders whose codes are meant to be normal.

    Attributes:
        prior_std: Standard deviation of the prior.
    """

    prior_std: float = 1.0

    def latents(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Codes (n, latent_dim) of the prior; a CPU generator gives the same everywhere."""
        return self.prior_std * drawn("randn", (n, self.latent_dim), self.device, generator)

    def path(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        """Codes on the arc from a to b (..., latent_dim), at shares t (...) of the way."""
        return slerp(a, b, t)

    @torch.no_grad()
    def generate(self, z: Tensor, *y: Tensor) -> Tensor:
        """Images (N, C, H, W) in [-1, 1] of codes, in evaluation mode; labels (N,) of some models.

        Args:
            z: Codes (N, latent_dim).
            y: Labels (N,), of a conditional model.
        """
        with evaluating(self):
            return self.picture(z, *y).float().clamp(-1, 1)

    def sample(
        self, n: int, *, labels: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw n images (n, C, H, W) in [-1, 1].

        Args:
            n: How many.
            labels: Refused here; conditional models take (n,) integers.
            generator: Source of randomness; None uses torch's.
        """
        self.checked(labels)
        return self.generate(self.latents(n, generator))
