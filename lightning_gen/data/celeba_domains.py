"""Two unpaired domains of CelebA, told apart by their attributes."""

from typing import Any, Literal

import numpy as np

from lightning_gen.data.arrays import Prepared, Writer, read
from lightning_gen.data.celeba import CelebA, wish
from lightning_gen.data.module import ImageSet, check_facts
from lightning_gen.data.pairs import PairModule
from lightning_gen.errors import DataError
from lightning_gen.types import NonNegativeInt, PositiveInt


class CelebADomains(PairModule):
    """Faces that have an attribute, and faces that have not, or have another.

    Only rows are stored; images are gathered from the arrays of :class:`CelebA`, which is prepared
    with the same crop and resolution. ``train_a`` and ``train_b`` are of its training split,
    ``test_a`` and ``test_b`` of its test split.

    References:
        Liu et al., Deep Learning Face Attributes in the Wild, 2015, arXiv:1411.7766.

    Args:
        root: Folder of all data sets.
        cache: Folder for downloads.
        folder: Folder of the authors' files.
        batch_size: Images of each domain in a minibatch over all devices.
        name: Name of the data set and of its folder.
        channels: 3.
        resolution: Height and width in pixels.
        channels_a: 3.
        resolution_a: The same as ``resolution``, or None.
        num_classes: None.
        a: Attribute of the first domain; "not Smiling" or "-Smiling" are those without it.
        b: Attribute of the second domain.
        crop: Height and width of the middle square of each picture.
        on_error: "stop" at a bad file or "skip" it; either way it is named.
        max_skipped: Most files that may be skipped.
        flip: Flip images horizontally at random.
        shift: Shift images at random by up to so many pixels each way.
        resident: Keep the pictures on the device.
    """

    def __init__(
        self,
        root: str,
        cache: str,
        *,
        folder: str,
        batch_size: PositiveInt,
        name: str = "celeba_domains",
        channels: Literal[3] = 3,
        resolution: PositiveInt = 64,
        channels_a: Literal[3] = 3,
        resolution_a: PositiveInt | None = None,
        num_classes: None = None,
        a: str = "Smiling",
        b: str = "not Smiling",
        crop: PositiveInt = 148,
        on_error: Literal["stop", "skip"] = "stop",
        max_skipped: NonNegativeInt = 100,
        flip: bool = False,
        shift: NonNegativeInt = 0,
        resident: bool = False,
    ) -> None:
        check_facts(
            resolution_a=(resolution_a or resolution, resolution), channels_a=(channels_a, 3)
        )
        shape = (channels, resolution, resolution)
        super().__init__(
            root,
            cache,
            shape_a=shape,
            batch_size=batch_size,
            name=name,
            shape=shape,
            num_classes=num_classes,
            flip=flip,
            shift=shift,
            resident=resident,
        )
        self.wishes = {"a": a, "b": b}
        if wish(a) == wish(b):
            what = f"data.a and data.b are both '{a}': they would be one domain"
            raise DataError(what, where="data.b", fix=f"data.b='not {a}'")
        self.faces = CelebA(
            root,
            cache,
            folder=folder,
            batch_size=batch_size,
            resolution=resolution,
            attributes=sorted({wish(a)[0], wish(b)[0]}),
            crop=crop,
            on_error=on_error,
            max_skipped=max_skipped,
        )

    def recipe(self) -> dict[str, Any]:
        """What tells the domains apart, and how the pictures were prepared."""
        return {**self.wishes, **self.faces.recipe()}

    def listing(self) -> dict[str, Any]:
        """The faces that the rows point at."""
        return {"celeba": read(self.faces.folder).fingerprint}

    def prepare_data(self, *, fresh: bool = False) -> None:
        """Prepare CelebA, then list the rows of both domains."""
        self.faces.prepare_data(fresh=fresh)
        super().prepare_data(fresh=fresh)

    def verify(self) -> None:
        """Check the faces as well as the rows."""
        self.faces.verify()
        super().verify()

    def write(self, writer: Writer) -> str:
        """List the rows of each domain in its split of CelebA."""
        self.faces.setup()
        for split in ("train", "test"):
            for domain, wanted in self.wishes.items():
                rows = self.faces.domain(split, wanted)[1]
                if not len(rows):
                    what = f"no image of split {split} is '{wanted}'"
                    raise DataError(what, where=f"data.{domain}")
                writer.save(f"{split}_{domain}", rows.numpy())
        return str(self.faces.folder)

    def open(self, prepared: Prepared) -> dict[str, ImageSet]:
        """Pick channels of CelebA's arrays, which are not copied."""
        self.faces.setup()
        sets = {}
        for part in ("train", "test"):
            channels, *side = self.shape
            image = self.faces._set(part).images.reshape(-1, *side)
            for domain in self.wishes:
                rows = prepared.array(f"{part}_{domain}")[:, None]
                members = rows * channels + np.arange(channels)
                sets[f"{part}_{domain}"] = ImageSet(image, members=members)
        return sets
