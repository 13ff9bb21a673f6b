"""Stop before a step that would spread a NaN."""

import math
from typing import Any

import pytorch_lightning as pl
import torch
from torch.optim import Optimizer

from lightning_gen.callbacks.base import RunCallback
from lightning_gen.errors import DivergedError
from lightning_gen.types import PositiveInt


class FiniteGuard(RunCallback):
    """Check each player's loss and gradient norm before its optimiser steps, and all weights after.

    The norm of all gradients (before clipping) is one number, is not finite when any gradient is
    not, and is recorded as ``grad_norm_<player>`` for the diagnostics. Averaged gradients are
    checked, so one rank's NaN stops all ranks at the same step.

    Args:
        patience: Steps in a row that automatic mixed precision may skip for overflow.
    """

    def __init__(self, *, patience: PositiveInt = 100) -> None:
        self.patience = patience
        self.skipped = 0
        self.last: dict[str, float] = {}

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
        """Raise DivergedError when the step has left a weight or an average not finite."""
        held = [p.detach() for p in pl_module.parameters() if p.numel() and p.is_floating_point()]
        if _norm(held).isfinite():  # the largest of each takes 20 times as long on a CPU
            return
        bad = [name for name, p in pl_module.named_parameters() if not p.isfinite().all()]
        if not bad:  # finite, but their squares are not
            return
        raise DivergedError(
            f"{bad[0]} is not finite after iteration {pl_module.iteration}",
            where=", ".join(bad[:3]),
            fix="a smaller learning rate, model.clip_norm, or trainer.precision=32-true; "
            "the last checkpoint is finite and the same command continues from it",
        )

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: Any, optimizer: Optimizer
    ) -> None:
        """Raise DivergedError when the loss or a gradient is not finite."""
        player = getattr(pl_module, "playing", None) or "loss"
        groups = optimizer.param_groups
        gradients = [p.grad for g in groups for p in g["params"] if p.grad is not None]
        norm = _norm(gradients)
        loss = pl_module.recorded.get(f"loss_{player}", norm)
        pl_module.record(**{f"grad_norm_{player}": norm})
        if math.isfinite((loss + norm).item()):
            self.last[player], self.skipped = loss.item(), 0
            return
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        if scaler is not None and math.isfinite(loss.item()) and self.skipped < self.patience:
            self.skipped += 1  # the scaler sees the overflow too, and skips this step
            return
        culprit = f"loss_{player}" if not math.isfinite(loss.item()) else f"gradient of {player}"
        names = [
            name
            for name, p in pl_module.named_parameters()
            if p.grad is not None and not torch.isfinite(p.grad).all()
        ]
        raise DivergedError(
            f"{culprit} is not finite at iteration {pl_module.iteration} "
            f"(loss {loss.item():.4g}, last finite {self.last.get(player, math.nan):.4g}; "
            f"gradient norm {norm.item():.4g}; lr {groups[0]['lr']:.3g})",
            where=", ".join(names[:3]) or "the loss itself",
            fix="a smaller learning rate, model.clip_norm, or trainer.precision=32-true; "
            "the last checkpoint is finite and the same command continues from it",
        )


def _norm(tensors: list[torch.Tensor]) -> torch.Tensor:
    """Euclidean norm of all of them, not finite where one of their numbers is not."""
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors)))
