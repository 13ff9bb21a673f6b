"""Write the losses of the training steps to the run's history."""

from typing import Any

import pytorch_lightning as pl

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
        if self.run is None or not self.due(pl_module, self.every_images):
            return
        values = {name: value.item() for name, value in pl_module.recorded.items()}
        for optimizer, player in zip(trainer.optimizers, pl_module.players, strict=True):
            values[f"lr_{player}"] = optimizer.param_groups[0]["lr"]
        self.run.log("train", pl_module.iteration, pl_module.images_seen, values)
