"""The UCI handwritten digits that come with scikit-learn.

Alpaydin, Kaynak. Optical Recognition of Handwritten Digits. 1998, UCI Machine Learning Repository.
"""

from typing import Any, Literal

import numpy as np
from PIL import Image

from lightning_gen.data.arrays import Prepared, Writer
from lightning_gen.data.mnist import scaled
from lightning_gen.data.module import DataModule, ImageSet, check_facts
from lightning_gen.types import NonNegativeInt, PositiveInt

N_TEST = 497


class UCIDigits(DataModule):
    """1,797 handwritten digits of 13 writers, ten classes, which need no download.

    They have 8 x 8 pixels of 17 levels, and are scaled up by Pillow's bicubic. Of each class the
    same share, 497 images in all, is the test split.

    Note:
        They are the 1,797 test digits of UCI's set; its 3,823 training digits do not come with
        scikit-learn, so this division is our own.

    References:
        Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, 1998, doi:10.24432/C50P49.

    Args:
        root: Folder of all data sets.
        cache: Folder for downloads; unused.
        batch_size: Images of a minibatch over all devices.
        name: Name of the data set and of its folder.
        channels: 1.
        resolution: Pixels of a side.
        num_classes: 10.
        split_seed: Seed of the division; not the seed of a run.
        flip: Flip images horizontally at random.
        shift: Shift images at random by up to so many pixels each way.
        resident: Keep the training split on the device.
    """

    def __init__(
        self,
        root: str,
        cache: str,
        *,
        batch_size: PositiveInt,
        name: str = "uci_digits",
        channels: Literal[1] = 1,
        resolution: Literal[28, 32] = 28,
        num_classes: Literal[10] = 10,
        split_seed: NonNegativeInt = 0,
        flip: bool = False,
        shift: NonNegativeInt = 0,
        resident: bool = False,
    ) -> None:
        check_facts(channels=(channels, 1), num_classes=(num_classes, 10))
        super().__init__(
            root,
            cache,
            batch_size=batch_size,
            name=name,
            shape=(1, resolution, resolution),
            num_classes=num_classes,
            flip=flip,
            shift=shift,
            resident=resident,
        )
        self.split_seed = split_seed

    def recipe(self) -> dict[str, Any]:
        """Size and kind of scaling, and the division."""
        return {"resolution": self.shape[-1], "scaled": "bicubic", "split_seed": self.split_seed}

    def write(self, writer: Writer) -> str:
        """Scale the digits and divide them."""
        import sklearn
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        digits = load_digits()
        level = np.rint(digits.images * (255 / 16)).astype(np.uint8)
        image = scaled(level, self.shape[-1], Image.Resampling.BICUBIC)
        train, test = train_test_split(
            np.arange(len(image)),
            test_size=N_TEST,
            stratify=digits.target,
            random_state=self.split_seed,
        )
        for split, rows in (("train", np.sort(train)), ("test", np.sort(test))):
            writer.save(f"{split}_image", image[rows, None])
            writer.save(f"{split}_label", digits.target[rows].astype(np.int64))
        return f"scikit-learn {sklearn.__version__}"

    def open(self, prepared: Prepared) -> dict[str, ImageSet]:
        """Name the splits train and test."""
        return {
            split: ImageSet(prepared.array(f"{split}_image"), prepared.array(f"{split}_label"))
            for split in ("train", "test")
        }
