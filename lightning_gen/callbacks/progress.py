"""A progress bar in images, and who is shown others."""

import sys
from typing import Any

import pytorch_lightning as pl
from tqdm.auto import tqdm

from lightning_gen.callbacks.base import RunCallback
from lightning_gen.types import PositiveFloat

LOGGED = 60.0


class Progress(RunCallback):
    """One bar over the whole budget, with the latest losses; in a log, one line of it a minute.

    Args:
        refresh: Seconds between two updates; the losses are read from the device only then.
    """

    def __init__(self, *, refresh: PositiveFloat = 1.0) -> None:
        self.refresh = refresh
        self.bar: tqdm | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Open the bar where the run stands."""
        if not trainer.is_global_zero:
            return
        data = trainer.datamodule  # type: ignore[attr-defined]
        per_step = data.batch_size * pl_module.minibatches
        pace = self.refresh if sys.stderr.isatty() else max(self.refresh, LOGGED)
        self.bar = tqdm(
            total=data.stop_iteration * per_step,
            initial=pl_module.images_seen,
            unit="img",
            unit_scale=True,
            mininterval=pace,
            maxinterval=max(pace, tqdm.monitor_interval),
            dynamic_ncols=True,
            desc="training",
        )

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
        """Advance the bar."""
        if self.bar is None:
            return
        if self.bar.update(pl_module.images_seen - self.bar.n):
            recorded = pl_module.recorded
            losses = {k: f"{v.item():.3f}" for k, v in recorded.items() if k.startswith("loss")}
            self.bar.set_postfix(losses, refresh=False)

    def teardown(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """Close the bar, also after an error."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None


def watched(trainer: pl.Trainer) -> bool:
    """Whether somebody looks on: this is rank 0, before a terminal, with a :class:`Progress`.

    Args:
        trainer: The trainer.
    """
    asked = any(isinstance(callback, Progress) for callback in trainer.callbacks)  # type: ignore[attr-defined]
    return asked and trainer.is_global_zero and sys.stderr.isatty()
