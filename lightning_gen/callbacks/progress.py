"""A progress bar in images."""

from typing import Any

import pytorch_lightning as pl
from tqdm.auto import tqdm

from lightning_gen.callbacks.base import RunCallback
from lightning_gen.types import PositiveFloat


class Progress(RunCallback):
    """One bar over the whole budget, with the latest losses.

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
        self.bar = tqdm(
            total=data.stop_iteration * per_step,
            initial=pl_module.images_seen,
            unit="img",
            unit_scale=True,
            mininterval=self.refresh,
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
