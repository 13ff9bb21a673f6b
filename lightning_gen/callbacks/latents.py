"""Pictures of a model's latent space, from latents that are the same in all runs."""

from typing import Any

import pytorch_lightning as pl

from lightning_gen.callbacks.base import RunCallback
from lightning_gen.callbacks.latent_pictures import TOOLS, Plan, aside
from lightning_gen.randomness import fold
from lightning_gen.types import PositiveInt

SEED = fold("latents")


class Latents(RunCallback):
    """Show interpolations, and code traversals and style mixing of models that have them.

    They come each time so many images passed, and at the end, of the same latents in all runs,
    whatever their seeds. Of two-dimensional points there are none.

    Args:
        every_images: Images between two pictures; None draws the last ones.
        rows: Rows of interpolations and of mixes.
        columns: Images in a row.
        noises: Noise vectors of a traversal, a row each for every code.
    """

    def __init__(
        self,
        *,
        every_images: PositiveInt | None,
        rows: PositiveInt = 8,
        columns: PositiveInt = 10,
        noises: PositiveInt = 3,
    ) -> None:
        self.every_images = every_images
        plan = Plan(rows=rows, columns=columns, seed=SEED)
        self.plans = {
            "interpolation": plan,
            "traversal": plan._replace(rows=noises),
            "mixing": plan,
        }
        self.drawn: int | None = None

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
        """Draw when it is due."""
        if self.due(pl_module, self.every_images):
            self.draw(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Draw the last pictures."""
        if self.drawn != pl_module.iteration:
            self.draw(trainer, pl_module)

    def draw(self, trainer: pl.Trainer, module: Any) -> None:
        """Hand the run a picture of each kind that the model can show."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        if self.run is None or not trainer.is_global_zero or len(data.shape) != 3:
            return
        self.drawn = module.iteration
        rows = self.plans["interpolation"].rows
        labels = data.conditions(rows) if module.requires_labels else None
        with self.pausing(), aside(SEED, module.device):
            for key, plan in self.plans.items():
                if TOOLS[key].suits(module):
                    table = TOOLS[key].table(module, plan._replace(labels=labels))
                    self.run.picture(key, table.picture(), module.iteration, module.images_seen)
