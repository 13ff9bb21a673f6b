"""The base of pictures of two domains in folders."""

from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from lightning_gen.data.arrays import Prepared, read
from lightning_gen.data.folders import BadFiles, Listing, list_pictures, nothing_found
from lightning_gen.data.module import ImageSet
from lightning_gen.data.pairs import PairModule
from lightning_gen.data.pictures import Policy
from lightning_gen.errors import DataError
from lightning_gen.types import HalfOpenFraction, NonNegativeInt, PositiveInt

SPLITS = ("train", "valid", "test")


class FolderPairs(PairModule):
    """Pictures of two domains in folders, decoded once.

    A subclass says which folders there are (:meth:`places`) and writes the arrays
    ``<split>_<domain>_image``. As with :class:`~lightning_gen.data.image_folder.ImageFolder` hidden
    files and files that are not pictures are ignored and counted, pictures are turned upright by
    their EXIF data, the arrays are made anew when names or sizes of the files change, and once made
    the folders themselves are not needed.

    Args:
        root: Folder of all data sets; the arrays go to ``root/name``.
        cache: Folder for downloads; unused.
        batch_size: Images of a minibatch of each domain over all devices.
        name: Name of the data set.
        folder: The folder of both domains.
        a: The folder of the first domain, where they have one each.
        b: The folder of the second.
        channels: 1 for grey, 3 for RGB.
        resolution: Height and width in pixels.
        channels_a: Those of the first domain; None for ``channels``.
        resolution_a: That of the first domain; None for ``resolution``.
        num_classes: None: pictures have no labels.
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
        resident: Keep the training splits on the device.

    Raises:
        DataError: The folders are not said, or said twice.
    """

    def __init__(
        self,
        root: str,
        cache: str,
        *,
        batch_size: PositiveInt,
        name: str,
        folder: str | None = None,
        a: str | None = None,
        b: str | None = None,
        channels: Literal[1, 3] = 3,
        resolution: PositiveInt = 64,
        channels_a: Literal[1, 3] | None = None,
        resolution_a: PositiveInt | None = None,
        num_classes: None = None,
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
        first = Policy(channels_a or channels, resolution_a or resolution, mode, size)
        super().__init__(
            root,
            cache,
            batch_size=batch_size,
            name=name,
            shape=(channels, resolution, resolution),
            shape_a=(first.channels, first.resolution, first.resolution),
            num_classes=num_classes,
            flip=flip,
            shift=shift,
            resident=resident,
        )
        self.policies = {"a": first, "b": Policy(channels, resolution, mode, size)}
        self.source = {k: Path(v).expanduser() for k, v in (("a", a), ("b", b)) if v}
        if len(self.source) != (2 if folder is None else 0):
            raise DataError(
                "both domains lie in data.folder, or one each in data.a and data.b",
                where="data.folder",
                fix="data.folder=PATH, or data.a=PATH data.b=PATH",
            )
        if folder is not None:
            self.source = {"folder": Path(folder).expanduser()}
        self.test_fraction, self.split_seed = test_fraction, split_seed
        self.allowed = {"stop": 0, "skip": max_skipped}[on_error]

    def places(self) -> Mapping[str, Path]:
        """The folders whose pictures are read."""
        return self.source

    def recipe(self) -> dict[str, Any]:
        """The policies, the way of splitting, and which folder is which domain."""
        return {
            **{domain: asdict(policy) for domain, policy in self.policies.items()},
            "test_fraction": self.test_fraction,
            "split_seed": self.split_seed,
            "folders": [place.name for key, place in self.source.items() if key in self.domains],
        }

    def listing(self) -> dict[str, Any]:
        """Hash of the names and sizes of the pictures, and how many may be skipped."""
        found = [(f.pictures, f.sizes, sorted(f.refused)) for f in self.found().values()]
        return {"files": sha256(repr(found).encode()).hexdigest()}

    def found(self) -> dict[str, Listing]:
        """What lies in each folder.

        Raises:
            DataError: A folder is missing or holds no picture.
        """
        listings = {}
        for key, place in self.places().items():
            named = key if key in self.source else "folder"
            listings[key] = list_pictures(place, f"data.{named}")
            if not listings[key].pictures:
                raise nothing_found(listings[key], place)
        return listings

    def prepare_data(self, *, fresh: bool = False) -> None:
        """Decode the pictures, unless it was done; the folders need not be there if it was."""
        there = all(place.is_dir() for place in self.source.values())
        if fresh or there or not self.folder.is_dir():
            super().prepare_data(fresh=fresh)
        self.bad_files(read(self.folder).meta["note"]["skipped"]).check()

    def bad_files(self, found: Mapping[str, str] | None = None) -> BadFiles:
        """An account of bad files, some of which may be known."""
        return BadFiles(", ".join(map(str, self.source.values())), self.allowed, found)

    def refused(self, listings: Mapping[str, Listing]) -> dict[str, str]:
        """Files of all folders that are not read, each with the reason."""
        return {
            str(self.places()[key] / name): why
            for key, found in listings.items()
            for name, why in found.refused.items()
        }

    def open(self, prepared: Prepared) -> dict[str, ImageSet]:
        """Name the splits of each domain, those for training first."""
        names = [f"{split}_{domain}" for split in SPLITS for domain in self.domains]
        return {
            name: ImageSet(prepared.array(f"{name}_image"))
            for name in names
            if f"{name}_image" in prepared
        }
