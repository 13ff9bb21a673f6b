"""Pairs whose first image is made from the second, on the device."""

from collections.abc import Callable
from typing import Any, ClassVar, Literal, cast

import pytorch_lightning as pl
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from lightning_gen.core import GenerativeModule, ImageBatch, PairBatch
from lightning_gen.data.arrays import Prepared
from lightning_gen.data.module import DataModule, ImageSet, StreamBatch, StreamLoader, check_facts
from lightning_gen.data.sourced import SourcedPairs
from lightning_gen.errors import DataError
from lightning_gen.functional.degrade import downsample, edges, grey
from lightning_gen.functional.pixels import grey_levels
from lightning_gen.types import NonNegativeInt, PositiveInt

KINDS: dict[str, Callable[[Tensor], Tensor]] = {
    "grey": grey,
    "edges": edges,
    "downsample": lambda x: x,
}


class DerivedPairs(SourcedPairs):
    """Domain b is a set of images, and domain a the same without colour, surfaces or detail.

    The partner is made on the device from the augmented image, for training and for
    ``real("test_a")`` alike, and rounded to the 256 levels that a file of it would have. So a model
    of these pairs colours, paints sketches, or enlarges pictures.

    Args:
        source: The images: any data set of single ones.
        kind: "grey" (ITU-R BT.601 luma), "edges" (a sketch by Sobel's operator) or "downsample".
        factor: Both sides of domain a are smaller by it (antialiased bicubic), whatever the kind.
        batch_size: Pairs of a minibatch over all devices.
        name: Name of the data set.
        channels: Those of the source.
        resolution: That of the source, in pixels.
        channels_a: Those of domain a; None for what the kind makes.
        resolution_a: That of domain a in pixels; None for resolution / factor.
        num_classes: Those of the source; both images of a pair have its label.
        flip: Flip pairs horizontally at random.
        shift: Shift pairs at random by up to so many pixels each way, before domain a is made.
        resident: Keep the training split on the device.

    Raises:
        DataError: The source is not as said, or its side is no multiple of the factor.
    """

    aligned: ClassVar[bool] = True
    gives: ClassVar[tuple[str, ...]] = ("pairs", "paired")

    def __init__(
        self,
        source: DataModule,
        *,
        kind: Literal["grey", "edges", "downsample"],
        batch_size: PositiveInt,
        name: str,
        factor: PositiveInt = 1,
        channels: Literal[1, 3] = 3,
        resolution: PositiveInt = 28,
        channels_a: Literal[1, 3] | None = None,
        resolution_a: PositiveInt | None = None,
        num_classes: PositiveInt | None = None,
        flip: bool = False,
        shift: NonNegativeInt = 0,
        resident: bool = False,
    ) -> None:
        super().__init__(
            source,
            batch_size=batch_size,
            name=name,
            shape=source.shape,
            shape_a=source.shape,
            num_classes=source.num_classes,
            flip=flip,
            shift=shift,
            resident=resident,
        )
        if any(side % factor for side in self.shape[1:]):
            raise DataError(
                f"{self.shape[-1]} pixels are no multiple of data.factor={factor}",
                where="data.factor",
                fix="data.factor=2, or another data.source.resolution",
            )
        self.kind, self.factor = kind, factor
        self.shape_a = tuple(self.degraded(torch.zeros(1, *self.shape)).shape[1:])
        check_facts(
            channels=(channels, self.shape[0]),
            resolution=(resolution, self.shape[-1]),
            channels_a=(channels_a or self.shape_a[0], self.shape_a[0]),
            resolution_a=(resolution_a or self.shape_a[-1], self.shape_a[-1]),
            num_classes=(num_classes, source.num_classes),
        )

    def degraded(self, b: Tensor) -> Tensor:
        """Make images of domain a.

        Args:
            b: (N, C, H, W) in [-1, 1].

        Returns:
            (N, C', H / factor, W / factor) in [-1, 1], of 256 levels.
        """
        return grey_levels(downsample(KINDS[self.kind](b), self.factor)) / 127.5 - 1

    def recipe(self) -> dict[str, Any]:
        """What is taken away."""
        return {"kind": self.kind, "factor": self.factor}

    def open(self, prepared: Prepared) -> dict[str, ImageSet]:
        """Each split of the source, for both domains."""
        (source,) = self.sources
        return {
            f"{split}_{domain}": source._set(split)
            for split in source.splits
            for domain in self.domains
        }

    def real(
        self,
        split: str,
        indices: Tensor | ArrayLike | None = None,
        device: torch.device | str = "cpu",
    ) -> ImageBatch:
        """Real samples of a domain, without augmentation."""
        image, label = super().real(split, indices, device)
        return ImageBatch(self.degraded(image) if split.endswith("_a") else image, label)

    def mean(self, device: torch.device | str = "cpu") -> Tensor:
        """Mean of the source's training split."""
        return self.sources[0].mean(device)

    def train_dataloader(self) -> StreamLoader:  # type: ignore[override]
        """The training stream of domain b."""
        model = cast(GenerativeModule, cast(pl.Trainer, self.trainer).lightning_module)
        return self.stream(self.splits[1], model.seed)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int = 0) -> Any:
        """Make images of the stream, and their partners."""
        if not isinstance(batch, StreamBatch):
            return batch
        b, label = self.images(batch, self.splits[1])
        return PairBatch(self.degraded(b), b, label, label)
