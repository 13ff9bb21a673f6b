"""Models whose players take turns: plumbing without a loss, for every family of adversaries."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lightning_gen.core import GenerativeModule
from lightning_gen.types import PositiveFloat, PositiveInt

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]
ScheduleFactory = Callable[[Optimizer], LRScheduler]


class AlternatingModule(GenerativeModule):
    r"""Base of every model in which players with optimisers of their own take turns.

    A paper's file holds its losses and its order of play; here is whose turn it is
    (:meth:`descending`), gradient accumulation, clipping and schedules per player.

    Args:
        optimizers: A factory for each player, ``{"G": ..., "D": ...}``.
        schedules: Learning-rate schedules for some of the players, stepped with the player.
        accumulate: Micro-batches a player's gradient is accumulated over, for batches that do not
            fit the device. Without batch norm the result is that of the whole batch.
        clip_norm: Largest gradient norm of a player, for those to be clipped.
        simultaneous: Whether players move together once each has had a turn (one that has another
            turn moves before it), so that all take their gradients at one point; else each moves at
            the end of its turn.

    Attributes:
        players: Names of the players; each is an attribute, or its parameters are named by
            :meth:`player_parameters`.
        adversaries: Players that are frozen in the turns of the others.
    """

    players: ClassVar[tuple[str, ...]] = ("D", "G")
    adversaries: ClassVar[tuple[str, ...]] = ("D",)
    per_sample_critic: ClassVar[bool] = False

    def __init__(
        self,
        *,
        optimizers: Mapping[str, OptimizerFactory],
        schedules: Mapping[str, ScheduleFactory] | None = None,
        accumulate: PositiveInt = 1,
        clip_norm: Mapping[str, PositiveFloat] | None = None,
        simultaneous: bool = False,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.simultaneous = simultaneous
        self._due: dict[str, Any] = {}
        self.optimizer_factories, self.schedule_factories = dict(optimizers), dict(schedules or {})
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
        """A turn of a player: ``descend(loss)`` inside, the optimiser's step when its turn ends.

        Adversaries of the player are frozen inside, so no gradient of theirs is computed. The loss
        is recorded as ``loss_<player>``. Nothing is stepped when the block raises.

        Args:
            player: One of the ``players``.

        Yields:
            A function that takes the loss of a (micro-)batch and accumulates its gradient.
        """
        optimizers = self.optimizers()  # of a single player it is the optimiser itself
        several = optimizers if isinstance(optimizers, list) else [optimizers]
        optimizer = cast(Any, several[self.players.index(player)])
        frozen = [p for a in self.adversaries if a != player for p in self.player_parameters(a)]
        losses: list[Tensor] = []

        def descend(loss: Tensor) -> None:
            losses.append(loss.detach())
            self.manual_backward(loss / self.accumulate if self.accumulate > 1 else loss)

        if player in self._due:
            self._move()
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
        self._due[player] = optimizer
        if not self.simultaneous or len(self._due) == len(self.players):
            self._move()

    def _move(self) -> None:
        """Step the optimisers of those who had their turn."""
        due, self._due = self._due, {}
        for player, optimizer in due.items():
            self.playing = player
            optimizer.step()
            if player in self._schedules:
                self._schedules[player].step()
            self.after_turn(player)

    def after_turn(self, player: str) -> None:
        """What follows a player's step: what G made before its own is forgotten."""
        if player in {"G"}:
            self._fake = None

    def fake(self, x: Tensor) -> Tensor:
        """G of latents or images, computed once where both players see the same in a round."""
        if self._fake is None or self._fake[0] is not x:
            self._fake = (x, cast(Any, self).G(x))
        return self._fake[1]

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


class DescendingModule(AlternatingModule):
    """Base of every model without adversaries: one optimiser moves all parameters.

    A paper's file holds its loss; the player, its optimiser and its schedule are named "model".
    """

    players: ClassVar[tuple[str, ...]] = ("model",)
    adversaries: ClassVar[tuple[str, ...]] = ()

    def player_parameters(self, player: str) -> list[nn.Parameter]:
        """Every parameter that is to be learnt."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def compile_networks(self) -> None:
        """Compile every network in place."""
        for network in self.children():
            network.compile()
