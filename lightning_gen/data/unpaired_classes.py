"""Two groups of classes of one labelled set as two domains."""

from typing import Any, Literal

import numpy as np

from lightning_gen.data.arrays import Prepared
from lightning_gen.data.module import DataModule, ImageSet, check_facts
from lightning_gen.data.sourced import SourcedPairs
from lightning_gen.errors import DataError
from lightning_gen.types import NonNegativeInt, PositiveInt


class UnpairedClasses(SourcedPairs):
    """Images of some classes as domain a, of others as domain b; each keeps its label.

    Args:
        source: Any labelled set of single images.
        a: Classes of the first domain.
        b: Classes of the second, none of them in the first.
        batch_size: Images of a minibatch of each domain over all devices.
        name: Name of the data set.
        channels: Those of the source.
        resolution: That of the source, in pixels.
        channels_a: As ``channels``.
        resolution_a: As ``resolution``.
        num_classes: Those of the source.
        flip: Flip images horizontally at random.
        shift: Shift images at random by up to so many pixels each way.
        resident: Keep the training split on the device, once for each domain.

    Raises:
        DataError: The source is not as said, or the classes are none, unknown or shared.
    """

    def __init__(
        self,
        source: DataModule,
        *,
        a: list[NonNegativeInt],
        b: list[NonNegativeInt],
        batch_size: PositiveInt,
        name: str,
        channels: Literal[1, 3] = 1,
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
        check_facts(
            channels=(channels, self.shape[0]),
            resolution=(resolution, self.shape[-1]),
            channels_a=(channels_a or channels, channels),
            resolution_a=(resolution_a or resolution, resolution),
            num_classes=(num_classes, source.num_classes),
        )
        for key, classes in (("a", a), ("b", b)):
            if not classes or max(classes) >= (source.num_classes or 0):
                raise DataError(
                    f"data.{key} is {classes}, and {source.name} has {source.num_classes} classes",
                    where=f"data.{key}",
                    fix=f"data.{key}=[{'ab'.index(key)}]",
                )
        if shared := sorted(set(a) & set(b)):
            what = f"classes {shared} are in both domains"
            raise DataError(what, where="data.b", fix=f"data.b={sorted(set(b) - set(a))}")
        self.classes = {"a": a, "b": b}

    def recipe(self) -> dict[str, Any]:
        """The classes of each domain."""
        return {domain: sorted(classes) for domain, classes in self.classes.items()}

    def open(self, prepared: Prepared) -> dict[str, ImageSet]:
        """Name the splits of each domain."""
        (source,) = self.sources
        sets = {(s, d): self._subset(s, d) for s in source.splits for d in self.domains}
        return {f"{split}_{domain}": chosen for (split, domain), chosen in sets.items()}

    def _subset(self, split: str, domain: str) -> ImageSet:
        """The images of a split that are of a domain's classes, in the source's arrays."""
        whole = self.sources[0]._set(split)
        labels = np.asarray(whole.labels)
        rows = np.flatnonzero(np.isin(labels, self.classes[domain]))
        if not len(rows):
            what = f"split {split} of {self.sources[0].name} has none of {self.classes[domain]}"
            raise DataError(what, where=f"data.{domain}")
        members = rows if whole.members is None else whole.members[rows]
        return ImageSet(whole.images, labels[rows], members)
