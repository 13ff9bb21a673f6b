"""A user's own pictures."""

from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lightning_gen.data.arrays import Prepared, Writer, read
from lightning_gen.data.folders import (
    BadFiles,
    divide,
    list_pictures,
    nothing_found,
    write_pictures,
)
from lightning_gen.data.module import DataModule, ImageSet, check_facts
from lightning_gen.data.pictures import Policy
from lightning_gen.errors import DataError
from lightning_gen.types import HalfOpenFraction, NonNegativeInt, PositiveInt


class ImageFolder(DataModule):
    """Pictures in a folder, of any format Pillow reads, decoded once.

    Sub-folders ``train`` and ``test``, where all pictures lie in them, are the splits; otherwise a
    fraction of the pictures, chosen by ``split_seed`` and their names, is the test split. With
    ``num_classes`` the sub-folders (of each split) are the classes, in the order of their names;
    without it pictures may lie at any depth and have no labels.

    Hidden files and files that are not pictures are ignored and counted. Pictures are turned
    upright by their EXIF data. The arrays are made anew when names or sizes of the files change;
    once made, the folder itself is not needed.

    Args:
        root: Folder of all data sets; the arrays go to ``root/name``.
        cache: Folder for downloads; unused.
        folder: The folder of pictures.
        batch_size: Images of a minibatch over all devices.
        name: Name of the data set.
        channels: 1 for grey, 3 for RGB.
        resolution: Height and width in pixels.
        num_classes: Number of class folders; None for no labels.
        mode: "convert" other kinds of pictures (palettes, CMYK, 16 bits; transparency over white)
            or take only "exact" 8-bit grey or RGB files.
        size: "center_crop" the largest square and scale it, "resize" without regard to the aspect,
            "pad" to a square with black and scale it, or take only files of the "exact" size.
        test_fraction: Share of the pictures in the test split, where no folders say it.
        split_seed: Seed of that choice; not the seed of a run.
        on_error: "stop" at a bad file or "skip" it; either way it is named.
        max_skipped: Most files that may be skipped.
        flip: Flip images horizontally at random.
        shift: Shift images at random by up to so many pixels each way.
        resident: Keep the training split on the device.
    """

    def __init__(
        self,
        root: str,
        cache: str,
        *,
        folder: str,
        batch_size: PositiveInt,
        name: str = "image_folder",
        channels: Literal[1, 3] = 3,
        resolution: PositiveInt = 64,
        num_classes: PositiveInt | None = None,
        mode: Literal["convert", "exact"] = "convert",
        size: Literal["center_crop", "resize", "pad", "exact"] = "center_crop",
        test_fraction: HalfOpenFraction = 0.1,
        split_seed: NonNegativeInt = 0,
        on_error: Literal["stop", "skip"] = "stop",
        max_skipped: NonNegativeInt = 100,
        flip: bool = False,
        shift: NonNegativeInt = 0,
        resident: bool = False,
    ) -> None:
        super().__init__(
            root,
            cache,
            batch_size=batch_size,
            name=name,
            shape=(channels, resolution, resolution),
            num_classes=num_classes,
            flip=flip,
            shift=shift,
            resident=resident,
        )
        self.source = Path(folder).expanduser()
        self.policy = Policy(channels, resolution, mode, size)
        self.test_fraction, self.split_seed = test_fraction, split_seed
        self.depth = 0  # Folders above the class folders: 1 where train and test are folders.
        self.allowed = {"stop": 0, "skip": max_skipped}[on_error]

    def recipe(self) -> dict[str, Any]:
        """The policy and the way of splitting."""
        splitting = {"test_fraction": self.test_fraction, "split_seed": self.split_seed}
        return {**asdict(self.policy), **splitting, "labelled": self.num_classes is not None}

    def listing(self) -> dict[str, Any]:
        """Hash of the names and sizes of the pictures, and how many may be skipped."""
        found = list_pictures(self.source)
        text = repr((found.pictures, found.sizes, sorted(found.refused)))
        return {"files": sha256(text.encode()).hexdigest()}

    def prepare_data(self, *, fresh: bool = False) -> None:
        """Decode the pictures, unless it was done; the folder need not be there if it was."""
        if fresh or self.source.is_dir() or not self.folder.is_dir():
            super().prepare_data(fresh=fresh)
        BadFiles(self.source, self.allowed, read(self.folder).meta["note"]["skipped"]).check()

    def write(self, writer: Writer) -> str:
        """Decode every picture of every split."""
        found = list_pictures(self.source)
        if not found.pictures:
            raise nothing_found(found, self.source)
        bad = BadFiles(self.source, self.allowed)
        bad.add({str(self.source / name): why for name, why in found.refused.items()})
        splits = self._splits(found.pictures)
        classes = self._classes(splits) if self.num_classes is not None else []
        for split, files in splits.items():
            paths = [self.source / file for file in files]
            good = write_pictures(writer, f"{split}_image", paths, self.policy, bad)
            if classes:
                label = [classes.index(self._class_of(file)) for file in files]
                writer.save(f"{split}_label", np.array(label, dtype=np.int64)[good])
        writer.note.update(classes=classes, skipped=bad.found, ignored=found.ignored)
        return str(self.source)

    def open(self, prepared: Prepared) -> dict[str, ImageSet]:
        """Name the splits train and, where there is one, test; compare the number of classes."""
        if self.num_classes is not None:
            check_facts(num_classes=(self.num_classes, len(prepared.meta["note"]["classes"])))
        return {
            split: ImageSet(
                prepared.array(f"{split}_image"),
                None if self.num_classes is None else prepared.array(f"{split}_label"),
            )
            for split in ("train", "test")
            if f"{split}_image" in prepared
        }

    def _splits(self, pictures: list[str]) -> dict[str, list[str]]:
        """Divide the pictures; relative paths keep the folder of the split."""
        splits, named = divide(
            pictures,
            ("train", "test"),
            test_fraction=self.test_fraction,
            seed=self.split_seed,
            where=self.source,
        )
        self.depth = int(named)
        return splits

    def _classes(self, splits: dict[str, list[str]]) -> list[str]:
        """Names of the class folders, in order."""
        classes = sorted({self._class_of(file) for files in splits.values() for file in files})
        if "" in classes:
            raise DataError(
                f"data.num_classes is {self.num_classes}, but some pictures lie in no class folder",
                where=self.source,
                fix="data.num_classes=null, or a folder for each class",
            )
        check_facts(num_classes=(self.num_classes, len(classes)))
        return classes

    def _class_of(self, file: str) -> str:
        """The class folder of a file, or the empty string."""
        folders = file.split("/")[self.depth : -1]
        return folders[0] if folders else ""
