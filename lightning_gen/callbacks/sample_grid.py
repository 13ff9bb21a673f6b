"""Pictures of what the model makes, from latents that are the same in all runs."""

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid

from lightning_gen.callbacks.base import RunCallback
from lightning_gen.callbacks.pages import page, written
from lightning_gen.callbacks.reconstructions import reconstruction_rows
from lightning_gen.callbacks.translation_rows import alike, translation_rows
from lightning_gen.errors import OutputError
from lightning_gen.randomness import fold
from lightning_gen.runs import atomic
from lightning_gen.types import PositiveInt

SEED = fold("sample grid")
POINTS = 2500


def to_bytes(images: Tensor) -> Tensor:
    """Round images in [-1, 1] to bytes on the CPU, the inverse of how data are normalised.

    Example:
        >>> to_bytes(torch.tensor([-1.0, 0.0, 1.0, 7.0]))
        tensor([  0, 128, 255, 255], dtype=torch.uint8)
    """
    return ((images.detach().float().clamp(-1, 1) + 1) * 127.5).round().to("cpu", torch.uint8)


def scatter(points: Tensor, centres: Tensor | None = None) -> Image.Image:
    """Draw points (N, 2), with the true centres (K, 2) of their mixture where known."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot(aspect="equal")
    x, y = points.detach().cpu().T
    axes.scatter(x, y, s=3, alpha=0.4, linewidths=0, color="tab:blue")
    if centres is not None:
        x, y = centres.T
        axes.scatter(x, y, s=40, marker="+", linewidths=1, color="tab:red")
        side = 1.5 * float(centres.abs().max())
        axes.set(xlim=(-side, side), ylim=(-side, side))
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def draw(samples: Tensor, columns: int = 8, centres: Tensor | None = None) -> Image.Image:
    """Show images (N, C, H, W) in [-1, 1] as a grid, or points (N, 2) as a scatter plot.

    Args:
        samples: What a model or a data set gives.
        columns: Images in a row.
        centres: True centres (K, 2) of a mixture of points.
    """
    if samples.ndim == 2:
        return scatter(samples, centres)
    grid = make_grid(to_bytes(samples), nrow=columns)
    return Image.fromarray(grid.permute(1, 2, 0).numpy())


def class_grid(model: Any, labels: Tensor, columns: int, seed: int, **options: Any) -> Tensor:
    """Sample so many columns of each class, all from the same random numbers, so that rows compare.

    Args:
        model: Samples from labels.
        labels: Class (K,) of each row, or word ids (K, L) of its caption.
        columns: Images in a row.
        seed: Of every row.
        options: More of what ``model.sample`` takes.

    Returns:
        Images (K * columns, C, H, W), row by row.
    """
    rows = [
        model.sample(
            columns,
            labels=label.expand(columns, *label.shape),
            generator=torch.Generator().manual_seed(seed),
            **options,
        )
        for label in labels.to(model.device)
    ]
    return torch.cat(rows)


class SampleGrid(RunCallback):
    """Write a grid of samples before the first step, each time so many images passed, and last.

    The latents are the same in all runs and at all steps, whatever their seeds. The real images are
    drawn once beside them. Two-dimensional mixtures give 2500 points over the true centres, models
    of text a row of texts, as a picture and as a file. Models
    that translate show what becomes of test images: input, output, cycle, target in a row; those
    that reconstruct show test images over what becomes of them. The run says and counts what could
    not be written; training goes on.

    Args:
        every_images: Images between two grids; None draws the first and the last.
        n: Images in a grid. A conditional model shows all its classes (n of them at most), one in
            each row, with the same latents from row to row.
        columns: Images in a row.
    """

    def __init__(
        self, *, every_images: PositiveInt | None, n: PositiveInt = 64, columns: PositiveInt = 8
    ) -> None:
        self.every_images, self.n, self.columns = every_images, n, columns
        self.drawn: int | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Draw the real images and the first samples of a run."""
        if pl_module.iteration == 0 and self.run is not None and trainer.is_global_zero:
            data = trainer.datamodule  # type: ignore[attr-defined]
            n = self.count(data)
            splits = data.splits[: 1 + ("pairs" in data.gives)]
            count = min([n // len(splits), *map(data.size, splits)])
            real = [data.real(split, self.rows(data, split, count)).image for split in splits]
            shown = real[0] if len(real) == 1 else alike(real).flatten(0, 1)
            self.write(trainer, pl_module, "real", shown)
            self.sample(trainer, pl_module)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
        """Draw samples when they are due."""
        if self.due(pl_module, self.every_images):
            self.sample(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Draw the last samples."""
        if self.drawn != pl_module.iteration:
            self.sample(trainer, pl_module)

    def sample(self, trainer: pl.Trainer, module: Any) -> None:
        """Draw samples from the latents of all runs."""
        if self.run is None or not trainer.is_global_zero:
            return
        self.drawn = module.iteration
        with self.pausing(), torch.no_grad():
            data = trainer.datamodule  # type: ignore[attr-defined]
            is_image = len(data.shape) == 3
            if hasattr(module, "translate"):
                samples, columns = translation_rows(module, data, self.columns)
                self.write(trainer, module, "samples", samples, columns)
                return
            if hasattr(module, "reconstruct") and is_image:
                rows, columns = reconstruction_rows(module, data, self.n // 2, self.columns)
                self.write(trainer, module, "reconstructions", rows, columns)
            if not hasattr(module, "sample"):
                return
            if module.requires_labels:
                labels = data.conditions(self.n).unique(dim=0)
                columns = self.columns if is_image else POINTS // len(labels)
                samples = class_grid(module, labels, columns, SEED)
            else:
                generator = torch.Generator().manual_seed(SEED)
                samples = module.sample(self.count(data), generator=generator)
            self.write(trainer, module, "samples", samples)

    def count(self, data: Any) -> int:
        """How many samples are drawn: a grid of images, a row of texts, or a cloud of points."""
        if "text" in data.gives:
            return self.columns
        return self.n if len(data.shape) == 3 else POINTS

    def rows(self, data: Any, split: str, count: int) -> Tensor:
        """Which real samples are shown: the first, but of a text some from everywhere in it."""
        apart = data.size(split) // count if "text" in data.gives else 1
        return torch.arange(count) * apart

    def write(
        self,
        trainer: pl.Trainer,
        module: Any,
        key: str,
        samples: Tensor,
        columns: int | None = None,
    ) -> None:
        """Hand a picture to the run, of texts with a file beside it that can be read."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        if "text" in data.gives:
            texts = data.texts(samples)
            path = self.run.picture(key, page(texts), module.iteration, module.images_seen)
            try:
                if path is not None:
                    atomic.write(path.with_suffix(".txt"), written(texts).encode())
            except OutputError as error:
                self.say(trainer, f"texts were not saved, training goes on: {error.what}")
            return
        mixture = trainer.datamodule.mixture  # type: ignore[attr-defined]
        image = draw(samples, columns or self.columns, None if mixture is None else mixture[0])
        self.run.picture(key, image, module.iteration, module.images_seen)
