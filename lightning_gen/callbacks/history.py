"""Write the losses of the training steps to the run's history."""

from typing import Any

import pytorch_lightning as pl
import torch

from lightning_gen.callbacks.base import RunCallback
from lightning_gen.types import PositiveInt


class History(RunCallback):
    """A row of everything the step recorded, each time so many images have passed.

    Values stay on the device until a row is due, so steps in between synchronise nothing.

    Args:
        every_images: Images between two rows.
    """

    def __init__(self, *, every_images: PositiveInt) -> None:
        self.every_images = every_images

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
        """Append a row when one is due."""
        recorded = pl_module.recorded
        if self.run is None or not recorded or not self.due(pl_module, self.every_images):
            return
        latest = torch.stack([value.float() for value in recorded.values()]).to(pl_module.device)
        if trainer.world_size > 1:  # each rank recorded its own rows; the mean is the batch's
            latest = trainer.strategy.reduce(latest, reduce_op="mean")
        values = dict(zip(recorded, latest.tolist(), strict=True))
        for optimizer, player in zip(trainer.optimizers, pl_module.players, strict=True):
            values[f"lr_{player}"] = optimizer.param_groups[0]["lr"]
        self.run.log("train", pl_module.iteration, pl_module.images_seen, values)
