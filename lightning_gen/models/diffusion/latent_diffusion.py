"""High-Resolution Image Synthesis with Latent Diffusion Models.

Rombach, Blattmann, Lorenz, Esser, Ommer. 2021, arXiv:2112.10752.
"""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from lightning_gen.core import ImageBatch
from lightning_gen.functional.likelihoods import kl_standard_normal
from lightning_gen.functional.noise_schedules import Levels, noise_beyond_normal, vp_levels
from lightning_gen.functional.precision import at_least_float32 as full
from lightning_gen.functional.samplers import ancestral, ddim
from lightning_gen.models.diffusion.diffusion import DiffusionModule
from lightning_gen.networks.modes import evaluating
from lightning_gen.types import NonNegativeFloat, NonNegativeInt, PositiveInt


class LatentDiffusion(DiffusionModule):
    r"""Diffusion of the codes of an autoencoder (equation 2).

    .. math:: L = E_{z = E(x), \epsilon, t} \|\epsilon - \epsilon_\theta(z_t, t)\|^2, \qquad
              L_{AE} = \|x - D(z)\|^2 + \beta KL(N(\mu(x), s^2(x)) \| N(0, I))

    The autoencoder is learnt first. Then it stands still, and the codes are divided by their
    standard deviation before noise is put on them.

    Note:
        The autoencoder has neither the perceptual loss of the paper nor its discriminator. The
        variance of the codes is that of the first batch of the second phase, over all devices,
        about a mean of each channel. Norms are means over pixels or codes, and so is the
        divergence. The time is continuous (the limit of the paper's T = 1000 linear steps),
        and the network tells what the noise is beyond that in normal data.

    References:
        Rombach et al., High-Resolution Image Synthesis with Latent Diffusion Models, 2021,
        arXiv:2112.10752, sections 3 and G (the scale of codes).

    Args:
        encoder: Images to means and logarithms of variances (N, 2 d, h, h); its ``side`` is h.
        decoder: Codes (N, d, h, h) to images.
        latent_channels: d.
        kl_weight: :math:`\beta`.
        autoencoder_images: Images that the autoencoder learns from before the denoiser does.
        sampler: "ddim" or "ancestral".
        family: Arguments of :class:`DiffusionModule`.
    """

    players: ClassVar[tuple[str, ...]] = ("model", "autoencoder")
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        encoder: Any,
        decoder: nn.Module,
        latent_channels: PositiveInt = 4,
        kl_weight: NonNegativeFloat = 1e-3,
        autoencoder_images: NonNegativeInt = 600_000,
        sampler: Literal["ddim", "ancestral"] = "ddim",
        **family: Any,
    ) -> None:
        super().__init__(**family)
        self.encoder, self.decoder = encoder, decoder
        self.kl_weight, self.autoencoder_images = kl_weight, autoencoder_images
        self.sampler = sampler
        self.shape = (latent_channels, encoder.side, encoder.side)
        self.register_buffer("mean", torch.zeros(latent_channels, 1, 1))
        self.register_buffer("std", torch.zeros(()))  # zero until it is known

    def player_parameters(self, player: str) -> list[nn.Parameter]:
        """Parameters a player's optimiser moves."""
        parts = {"model": (self.denoiser,), "autoencoder": (self.encoder, self.decoder)}[player]
        return [parameter for part in parts for parameter in part.parameters()]

    def training_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Update the autoencoder, and later the denoiser of its codes."""
        if self.images_before >= self.autoencoder_images:
            return super().training_step(batch, batch_idx)
        draws = self.randn(len(batch.image), *self.shape)
        with self.descending("autoencoder") as descend:
            for x, noise in self.micro(batch.image, draws):
                mean, log_variance = full(self.encoder(x)).chunk(2, 1)
                z = mean + (log_variance / 2).exp() * noise
                error = mse_loss(full(self.decoder(z)), x)
                divergence = kl_standard_normal(mean.flatten(1), log_variance.flatten(1)).mean()
                descend(error + self.kl_weight * divergence / z[0].numel())
        self.record(error=error, divergence=divergence)
        return None

    def pairs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Standardised codes of images (N, C, H, W), and noise."""
        with torch.no_grad(), evaluating(self.encoder):
            z = full(self.encoder(x)).chunk(2, 1)[0]
        if self.std == 0:
            codes = torch.as_tensor(self.all_gather(z)).view(-1, *self.shape)
            self.mean.copy_(codes.mean((0, 2, 3)).view_as(self.mean))
            self.std.copy_((codes - self.mean).square().mean().sqrt())
        return (z - self.mean) / self.std, self.randn(*z.shape)

    def levels(self, t: Tensor) -> Levels:
        """Factors of the path at times (N,) in [0, 1]."""
        return vp_levels(t)

    def loss(self, x: Tensor, t: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """The error of the noise that the network sees."""
        x_t, at = self.at(x, t, noise)
        told = full(self.denoiser(x_t, t))
        return mse_loss(noise_beyond_normal(told, x_t, at), noise)

    def denoise(
        self, network: nn.Module, x: Tensor, t: Tensor, labels: Tensor | None = None
    ) -> Tensor:
        """The codes expected of x (N, d, h, h)."""
        at = self.levels(t).like(x)
        return (x - at.sigma * noise_beyond_normal(full(network(x, t)), x, at)) / at.alpha

    def draw(
        self, noise: Tensor, labels: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """From t = 1 to 0 by the sampler, in even steps."""
        t = torch.linspace(1, 0, self.steps + 1, device=noise.device)
        samplers: dict[str, Any] = {"ddim": ddim, "ancestral": ancestral}
        return samplers[self.sampler](self.expected, noise, self.levels(t), generator=generator)

    def picture(self, x: Tensor) -> Tensor:
        """Images in [-1, 1] of standardised codes (N, d, h, h)."""
        return full(self.decoder(x * self.std + self.mean)).clamp(-1, 1)
