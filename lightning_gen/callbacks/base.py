"""What the callbacks of a run share."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import pytorch_lightning as pl
from tqdm import tqdm

from lightning_gen.core import GenerativeModule


class RunCallback(pl.Callback):
    """A callback that writes to a run on disk, and says how long training waited for it.

    Attributes:
        run: The :class:`~lightning_gen.runs.run.Run`, set by the session; None under a plain
            Trainer, where nothing is written.
        paused: Seconds that training has stood still for this callback in this process.
        evaluates: Whether those seconds go into evaluation.
    """

    evaluates: ClassVar[bool] = False
    run: Any = None
    paused: float = 0.0

    def due(self, module: GenerativeModule, every_images: int | None) -> bool:
        """Whether a multiple of so many images was passed in the present step.

        Args:
            module: The model, which keeps the time.
            every_images: Images between two events; None is never.

        Example:
            >>> module = GenerativeModule()
            >>> module.images_seen, module.images_per_iteration = 1024, 128
            >>> RunCallback().due(module, 1000), RunCallback().due(module, 500)
            (True, True)
            >>> RunCallback().due(module, 800)
            False
        """
        if every_images is None:
            return False
        return module.images_seen // every_images != module.images_before // every_images

    @contextmanager
    def pausing(self) -> Iterator[None]:
        """Count the time inside as not spent on training."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.paused += time.monotonic() - start

    def say(self, trainer: pl.Trainer, text: str) -> None:
        """Print a line on rank 0, above the progress bar."""
        if trainer.is_global_zero:
            tqdm.write(f"lightning_gen: {text}", file=sys.stderr)
