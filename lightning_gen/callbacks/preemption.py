"""Finish the step, save, and leave when asked to."""

from typing import Any

import pytorch_lightning as pl
import torch

from lightning_gen.callbacks.base import RunCallback
from lightning_gen.callbacks.checkpoint import Checkpoint
from lightning_gen.runs.preemption import StopRequest
from lightning_gen.types import PositiveInt


class Preemption(RunCallback):
    """Turn SIGTERM, SIGUSR1 and Ctrl-C into a saved run and an exit code.

    The signal only sets a flag. When both players have finished the step, the state is saved, and
    the run ends with exit code 75, or 130 after Ctrl-C; the same command continues it.

    Args:
        check_every: Iterations between two checks when several processes must agree.
    """

    def __init__(self, *, check_every: PositiveInt = 10) -> None:
        self.check_every = check_every
        self.request = StopRequest()

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Install the handlers, over the ones Lightning has just installed."""
        self.request.__enter__()
        self.request.signum = StopRequest.asked

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
        """Save and leave if any rank was asked to; the last step goes on to the end instead."""
        if pl_module.iteration >= trainer.datamodule.stop_iteration:  # type: ignore[attr-defined]
            return
        signal = self.request.signum or 0
        if trainer.world_size > 1:
            if pl_module.iteration % self.check_every:
                return
            flag = torch.tensor(signal, device=pl_module.device)
            signal = int(trainer.strategy.reduce(flag, reduce_op="max"))
        if not signal:
            return
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, Checkpoint):
                callback.save(trainer, pl_module)
        if trainer.is_global_zero:
            self.request.requeue(signal)
        trainer.strategy.barrier("the state is saved")
        raise self.request.ending(
            signal,
            f"asked to stop at iteration {pl_module.iteration} "
            f"({pl_module.images_seen} images); the state is saved",
            getattr(self.run, "path", None),
        )

    def teardown(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """Give the handlers back."""
        self.request.__exit__(None, None, None)
