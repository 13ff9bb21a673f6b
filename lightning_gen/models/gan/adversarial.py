"""The family of two players: plumbing without a loss."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lightning_gen.core import GenerativeModule
from lightning_gen.functional.latent import lerp, slerp
from lightning_gen.networks.ema import ExponentialMovingAverage
from lightning_gen.types import NonNegativeFloat, PositiveFloat, PositiveInt

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]
ScheduleFactory = Callable[[Optimizer], LRScheduler]


@contextmanager
def evaluating(network: nn.Module) -> Iterator[nn.Module]:
    """A network in evaluation mode; the mode it was in comes back.

    Args:
        network: The network.
    """
    training = network.training
    network.eval()
    try:
        yield network
    finally:
        network.train(training)


class AdversarialModule(GenerativeModule):
    r"""Base of every model in which a generator G plays against a discriminator D.

    A paper's file holds its losses and its order of play; here is what all of them share: whose
    turn it is (:meth:`descending`), gradient accumulation, clipping per player, schedules, the
    moving average of G, and sampling from it.

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
        ema_halflife: Half-life of the moving average of G in images; None keeps no average.
        ema_rampup: The half-life is at most this share of the images seen.
    """

    players: ClassVar[tuple[str, ...]] = ("D", "G")
    adversaries: ClassVar[tuple[str, ...]] = ("D",)
    per_sample_critic: ClassVar[bool] = False

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
        ema_halflife: PositiveFloat | None = 10_000,
        ema_rampup: NonNegativeFloat = 0.05,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.G, self.D = G, D
        self.G_ema = ExponentialMovingAverage(G, ema_halflife, ema_rampup) if ema_halflife else None
        self.optimizer_factories, self.schedule_factories = dict(optimizers), dict(schedules or {})
        self.latent_dim, self.uniform = latent_dim, {"normal": False, "uniform": True}[prior]
        self.minibatches = self.n_critic = n_critic
        self.accumulate, self.clip_norm = accumulate, dict(clip_norm or {})
        self.playing: str | None = None
        self._fake: tuple[Tensor, Tensor] | None = None

    def player_parameters(self, player: str) -> list[nn.Parameter]:
        """Parameters a player's optimiser moves."""
        return list(getattr(self, player).parameters())

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LRScheduler]]:
        """Build one optimiser a player, and the schedules of those that have one."""
        made = {p: self.optimizer_factories[p](self.player_parameters(p)) for p in self.players}
        self._schedules = {p: f(made[p]) for p, f in self.schedule_factories.items()}
        return list(made.values()), list(self._schedules.values())

    @contextmanager
    def descending(self, player: str) -> Iterator[Callable[[Tensor], None]]:
        """One descent step of a player: ``descend(loss)`` inside, the optimiser's step at the end.

        Adversaries of the player are frozen inside, so no gradient of theirs is computed. The loss
        is recorded as ``loss_<player>``. Nothing is stepped when the block raises.

        Args:
            player: "G" or "D", or another of the family's ``players``.

        Yields:
            A function that takes the loss of a (micro-)batch and accumulates its gradient.
        """
        optimizer = cast(list, self.optimizers())[self.players.index(player)]
        frozen = [p for a in self.adversaries if a != player for p in self.player_parameters(a)]
        losses: list[Tensor] = []

        def descend(loss: Tensor) -> None:
            losses.append(loss.detach())
            self.manual_backward(loss / self.accumulate if self.accumulate > 1 else loss)

        self.playing = player
        optimizer.zero_grad(set_to_none=True)
        for parameter in frozen:
            parameter.requires_grad_(False)
        try:
            yield descend
        finally:
            for parameter in frozen:
                parameter.requires_grad_(True)
        self.record(**{f"loss_{player}": sum(losses) / len(losses)})
        optimizer.step()
        if player in self._schedules:
            self._schedules[player].step()
        if player == "G":
            self._fake = None
            if self.G_ema is not None:
                images = self.images_per_iteration
                self.G_ema.update(self.G, images=images, images_seen=self.images_seen)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip the player's gradient, after it was unscaled."""
        if self.playing in self.clip_norm:
            parameters = self.player_parameters(self.playing)
            torch.nn.utils.clip_grad_norm_(parameters, self.clip_norm[self.playing])

    def micro(self, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Split a batch into the micro-batches that gradients are accumulated over."""
        if self.accumulate == 1:
            return iter([tensors])
        return zip(*(t.chunk(self.accumulate) for t in tensors), strict=True)

    def z(self, n: int) -> Tensor:
        """Draw this rank's latents (n, latent_dim) of the global batch from the prior."""
        if self.uniform:
            return self.rand(n, self.latent_dim) * 2 - 1
        return self.randn(n, self.latent_dim)

    def fake(self, z: Tensor) -> Tensor:
        """G(z), computed once when both players use the same z in a round."""
        if self._fake is None or self._fake[0] is not z:
            self._fake = (z, self.G(z))
        return self._fake[1]

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
        if labels is not None:
            raise ValueError(f"{type(self).__name__} is not conditional: labels must be None")
        return self.generate(self.latents(n, generator))
