"""The family of two players: plumbing without a loss."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from lightning_gen.functional.latent import lerp, slerp
from lightning_gen.networks.ema import ExponentialMovingAverage
from lightning_gen.networks.modes import evaluating
from lightning_gen.players import AlternatingModule, OptimizerFactory, ScheduleFactory
from lightning_gen.types import NonNegativeFloat, PositiveFloat, PositiveInt


class AdversarialModule(AlternatingModule):
    r"""Base of every model in which a generator G plays against a discriminator D.

    A paper's file holds its losses and its order of play; here is what all of them share beside
    their turns: the moving average of G, and sampling from it.

    Args:
        G: Generator, latents (N, latent_dim) to images (N, C, H, W) in [-1, 1].
        D: Discriminator or critic, images to logits (N, 1).
        optimizers: A factory for each player, ``{"G": ..., "D": ...}``.
        schedules: Learning-rate schedules for some of the players, stepped with the player.
        latent_dim: Dimension of z.
        prior: Distribution of z: standard normal, or uniform on [-1, 1].
        n_critic: Turns of D for one of G; each has a minibatch of its own.
        accumulate: Micro-batches a player's gradient is accumulated over, for batches that do not
            fit the device. Without batch norm the result is that of the whole batch.
        clip_norm: Largest gradient norm of a player, for those to be clipped.
        simultaneous: Whether G takes its gradient before D has moved by its last turn, as in the
            code of 2014, and not after.
        ema_halflife: Half-life of the moving average of G in images; None keeps no average.
        ema_rampup: The half-life is at most this share of the images seen.
    """

    def __init__(
        self,
        *,
        G: nn.Module,
        D: nn.Module,
        optimizers: Mapping[str, OptimizerFactory],
        schedules: Mapping[str, ScheduleFactory] | None = None,
        latent_dim: PositiveInt = 100,
        prior: Literal["normal", "uniform"] = "normal",
        n_critic: PositiveInt = 1,
        accumulate: PositiveInt = 1,
        clip_norm: Mapping[str, PositiveFloat] | None = None,
        simultaneous: bool = False,
        ema_halflife: PositiveFloat | None = 10_000,
        ema_rampup: NonNegativeFloat = 0.05,
    ) -> None:
        super().__init__(
            optimizers=optimizers,
            schedules=schedules,
            accumulate=accumulate,
            clip_norm=clip_norm,
            simultaneous=simultaneous,
        )
        self.G, self.D = G, D
        self.G_ema = ExponentialMovingAverage(G, ema_halflife, ema_rampup) if ema_halflife else None
        self.latent_dim, self.uniform = latent_dim, {"normal": False, "uniform": True}[prior]
        self.minibatches = self.n_critic = n_critic

    def after_turn(self, player: str) -> None:
        """Move the average of G after its step."""
        super().after_turn(player)
        if player in {"G"} and self.G_ema is not None:
            images = self.images_per_iteration
            self.G_ema.update(self.G, images=images, images_seen=self.images_seen)

    def z(self, n: int) -> Tensor:
        """Draw this rank's latents (n, latent_dim) of the global batch from the prior."""
        if self.uniform:
            return self.rand(n, self.latent_dim) * 2 - 1
        return self.randn(n, self.latent_dim)

    def compile_networks(self) -> None:
        """Compile G and D in place; a critic that is differentiated twice stays eager."""
        self.G.compile()
        if not self.per_sample_critic:
            self.D.compile()

    @property
    def has_ema(self) -> bool:
        """Whether samples come from averaged weights."""
        return self.G_ema is not None

    @property
    def sampler(self) -> nn.Module:
        """The generator that samples are drawn from: the average, or G under raw_weights."""
        return self.G if self._raw or self.G_ema is None else self.G_ema

    def latents(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Latents (n, latent_dim) for sampling, on this model's device.

        Args:
            n: How many.
            generator: Source of randomness; a CPU generator gives the same latents everywhere.
        """
        device = generator.device if generator is not None else self.device
        draw = torch.rand if self.uniform else torch.randn
        z = draw(n, self.latent_dim, generator=generator, device=device).to(self.device)
        return z * 2 - 1 if self.uniform else z

    def path(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        """Latents between others: on arcs for a normal prior, on straight lines for a uniform one.

        Args:
            a: Latents (..., latent_dim) at t = 0.
            b: Latents (..., latent_dim) at t = 1.
            t: Shares of the way (...), of a shape that broadcasts with theirs without latent_dim.

        Returns:
            Latents (..., latent_dim), exact at both ends.
        """
        return (lerp if self.uniform else slerp)(a, b, t)

    @torch.no_grad()
    def generate(self, *inputs: Tensor) -> Tensor:
        """Apply the sampling generator in evaluation mode.

        Args:
            inputs: What G takes: latents (N, latent_dim), and labels (N,) of a conditional model.
        """
        with evaluating(self.sampler) as network:
            return network(*inputs).float()

    def discriminate(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits (N,) of images (N, C, H, W); labels (N,) are for conditional discriminators."""
        return self.D(x).flatten()

    def sample(
        self, n: int, *, labels: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw n samples, from the averaged weights where there are any.

        Args:
            n: How many.
            labels: Refused here; conditional models take (n,) integers.
            generator: Source of randomness; None uses torch's.

        Returns:
            Images (n, C, H, W) in [-1, 1], or points (n, 2).
        """
        self.checked(labels)
        return self.generate(self.latents(n, generator))
