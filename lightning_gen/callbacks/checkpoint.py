"""Save and resume."""

import math
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from lightning_gen.callbacks.base import RunCallback
from lightning_gen.core import GenerativeModule
from lightning_gen.runs.state import load_weights, restore, state_of
from lightning_gen.types import PositiveFloat, PositiveInt


class Checkpoint(RunCallback):
    """Resume from the newest sound checkpoint, and write new ones.

    Only rank 0 writes: all ranks hold the same weights. The last step is saved after the final
    evaluation, so a finished checkpoint means a scored run.

    Args:
        every_images: Images between two checkpoints.
        every_minutes: At most so many minutes between two checkpoints.
        monitor: The metric whose lowest value marks the best checkpoint, which is kept.
    """

    def __init__(
        self,
        *,
        every_images: PositiveInt,
        every_minutes: PositiveFloat = 10.0,
        monitor: str = "fid",
    ) -> None:
        self.every_images, self.every_seconds = every_images, 60 * every_minutes
        self.monitor = monitor
        self.best: dict[str, float] = {}
        self.improved = False
        self.saved_at = time.monotonic()
        self.resume_from: tuple[Any, Path] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Remember the best scores."""
        return {"best": dict(self.best)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Recall the best scores."""
        self.best = dict(state_dict["best"])

    def on_fit_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Restore the checkpoint the session found; rank 0 chooses it for all."""
        payload, mine = self.resume_from or (None, None)
        path = trainer.strategy.broadcast(str(mine) if mine else None)
        if path is None or self.run is None:
            return
        if path != str(mine):
            payload = self.run.checkpoints.load(path)
        assert isinstance(pl_module, GenerativeModule) and payload is not None
        restore(trainer, pl_module, payload, path, self.run.config)
        self.resume_from = None

    def on_evaluation(self, trainer: pl.Trainer, pl_module: Any, evaluation: Any) -> None:
        """Note whether this evaluation is the best so far among those of the same protocol."""
        for score in evaluation.scores:
            if score.metric == self.monitor and score.value is not None:
                if score.value < self.best.get(score.name, math.inf):
                    self.best[score.name], self.improved = score.value, True
                return

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
        """Save when images or minutes say so, or when the model is the best so far."""
        stop = trainer.datamodule.stop_iteration  # type: ignore[attr-defined]
        if pl_module.iteration >= stop:
            return
        late = time.monotonic() - self.saved_at > self.every_seconds
        if late or self.improved or self.due(pl_module, self.every_images):
            self.save(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Save the last step, after its evaluation."""
        self.save(trainer, pl_module)

    def save(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Write a checkpoint of the present step, on rank 0."""
        if self.run is not None and trainer.is_global_zero:
            with self.pausing():
                now = pl_module.iteration, pl_module.images_seen
                state = state_of(trainer, pl_module, self.run.config)
                self.run.checkpoints.save(state, *now, best=self.improved)
        self.improved = False
        self.saved_at = time.monotonic()

    def restore_best(self, model: GenerativeModule) -> bool:
        """Load the best checkpoint's weights into the model, keeping the time of the run.

        Returns:
            Whether there was one.
        """
        if self.run is None or (found := self.run.checkpoints.best()) is None:
            return False
        now = model.iteration, model.images_seen
        load_weights(model, found[0], found[1], self.run.config)
        model.iteration, model.images_seen = now
        return True
