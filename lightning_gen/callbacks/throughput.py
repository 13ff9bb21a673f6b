"""What a run costs: speed, share of time in evaluation, device-hours, memory, time left."""

import resource
import sys
import time
from typing import Any

import pytorch_lightning as pl
import torch

from lightning_gen.callbacks.base import RunCallback
from lightning_gen.core import GenerativeModule
from lightning_gen.types import PositiveInt


def peak_memory(device: torch.device) -> float:
    """Give the most memory this process has held, in bytes: of the GPU, else resident."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


class Throughput(RunCallback):
    """Write what the run costs, each time so many images have passed and at the end.

    A step pays one integer division; clocks are read, and a GPU is waited for, only when a row is
    due. The first step of a process (compilation, first allocation) is not part of the speed.

    Each "system" row holds ``images_per_second`` since the row before, of training alone: without
    evaluation, sample grids and checkpoints; ``evaluation_share`` of the time since this process
    began to train; ``device_hours`` of the run, over all devices and resumes;
    ``peak_memory_bytes`` of this device; ``seconds_left`` to the end of the budget, at the pace of
    this process with all its pauses.

    Args:
        every_images: Images between two rows.
    """

    def __init__(self, *, every_images: PositiveInt) -> None:
        self.every_images = every_images
        self.hours_before = 0.0
        self.devices = 1
        self.began: tuple[float, int] | None = None
        self.window: tuple[float, float, int] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Remember the device-hours up to now."""
        return {"device_hours": self.device_hours}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting where the run stood."""
        self.hours_before = state_dict["device_hours"]

    @property
    def device_hours(self) -> float:
        """Hours that devices have been held for this run."""
        if self.began is None:
            return self.hours_before
        return self.hours_before + (time.monotonic() - self.began[0]) / 3600 * self.devices

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Start the clocks; a resumed run knows its hours by now."""
        self.devices = trainer.world_size
        self.began, self.window = (time.monotonic(), pl_module.images_seen), None

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
        """Write a row when one is due."""
        if self.window is None:
            self.window = self._now(trainer, pl_module)
        elif self.due(pl_module, self.every_images):
            self.write(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Write the last row."""
        if self.window is not None:
            self.write(trainer, pl_module)

    def write(self, trainer: pl.Trainer, module: GenerativeModule) -> None:
        """Append a row, and begin the next stretch of time."""
        assert self.began is not None and self.window is not None
        now = clock, paused, images = self._now(trainer, module)
        then, paused_then, images_then = self.window
        training, elapsed = clock - then - (paused - paused_then), clock - self.began[0]
        evaluating = self._paused(trainer, evaluation=True)
        values: dict[str, float | None] = {
            "evaluation_share": evaluating / elapsed,
            "device_hours": self.device_hours,
            "peak_memory_bytes": peak_memory(module.device),
        }
        if images > images_then:
            values["images_per_second"] = (images - images_then) / training
            self.window = now
        stop = trainer.datamodule.stop_iteration  # type: ignore[attr-defined]
        if stop is not None and images > self.began[1]:
            pace = elapsed / (images - self.began[1])
            left = max(stop - module.iteration, 0) * module.images_per_iteration
            values["seconds_left"] = left * pace
        if self.run is not None:
            self.run.log("system", module.iteration, module.images_seen, values)

    def _now(self, trainer: pl.Trainer, module: GenerativeModule) -> tuple[float, float, int]:
        if module.device.type == "cuda":
            torch.cuda.synchronize(module.device)
        return time.monotonic(), self._paused(trainer), module.images_seen

    @staticmethod
    def _paused(trainer: pl.Trainer, evaluation: bool = False) -> float:
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        mine = (c for c in callbacks if isinstance(c, RunCallback))
        return sum(c.paused for c in mine if c.evaluates or not evaluation)
