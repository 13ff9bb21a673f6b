"""Stacked MNIST: a thousand modes that can be counted.

Metz, Poole, Pfau, Sohl-Dickstein. Unrolled Generative Adversarial Networks. 2017, arXiv:1611.02163.
"""

from typing import Any, Literal

import numpy as np

from lightning_gen.data.arrays import Prepared, Writer, read
from lightning_gen.data.mnist import MNIST
from lightning_gen.data.module import DataModule, ImageSet, check_facts
from lightning_gen.types import NonNegativeInt, PositiveInt


class StackedMNIST(DataModule):
    """Three random digits as red, green and blue; label 100 a + 10 b + c.

    Only the triples of indices are stored; images are gathered from MNIST's arrays. Triples of
    split "train" are drawn from MNIST's training digits, those of "test" from its test digits.

    Note:
        PacGAN draws its 128,000 training images from training and test digits together.

    References:
        Metz et al., Unrolled Generative Adversarial Networks, 2017, arXiv:1611.02163.
        Lin et al., PacGAN: The power of two samples in GANs, 2018, arXiv:1712.04086.

    Args:
        root: Folder of all data sets.
        cache: Folder for downloads.
        batch_size: Images of a minibatch over all devices.
        name: Name of the data set and of its folder.
        channels: 3.
        resolution: 28 pixels.
        num_classes: 1000.
        n_train: Number of training images.
        n_test: Number of test images.
        draw_seed: Seed of the triples; not the seed of a run.
        shift: Shift images at random by up to so many pixels each way.
        flip: Flip images horizontally at random.
        resident: Keep MNIST's training digits on the device.
    """

    def __init__(
        self,
        root: str,
        cache: str,
        *,
        batch_size: PositiveInt,
        name: str = "stacked_mnist",
        channels: Literal[3] = 3,
        resolution: Literal[28] = 28,
        num_classes: Literal[1000] = 1000,
        n_train: PositiveInt = 128_000,
        n_test: PositiveInt = 26_000,
        draw_seed: NonNegativeInt = 0,
        flip: bool = False,
        shift: NonNegativeInt = 0,
        resident: bool = False,
    ) -> None:
        check_facts(
            channels=(channels, 3), resolution=(resolution, 28), num_classes=(num_classes, 1000)
        )
        super().__init__(
            root,
            cache,
            batch_size=batch_size,
            name=name,
            shape=(3, 28, 28),
            num_classes=num_classes,
            flip=flip,
            shift=shift,
            resident=resident,
        )
        self.n_train, self.n_test, self.draw_seed = n_train, n_test, draw_seed
        self.digits = MNIST(root, cache, batch_size=batch_size)

    def recipe(self) -> dict[str, Any]:
        """Sizes and seed of the triples."""
        return {"n_train": self.n_train, "n_test": self.n_test, "draw_seed": self.draw_seed}

    def listing(self) -> dict[str, Any]:
        """The digits the triples point at."""
        return {"mnist": read(self.digits.folder).fingerprint}

    def prepare_data(self, *, fresh: bool = False) -> None:
        """Prepare MNIST, then draw the triples."""
        self.digits.prepare_data(fresh=fresh)
        super().prepare_data(fresh=fresh)

    def verify(self) -> None:
        """Check the digits as well as the triples."""
        self.digits.verify()
        super().verify()

    def write(self, writer: Writer) -> str:
        """Draw triples of indices with replacement, and their labels."""
        draw = np.random.RandomState(self.draw_seed)
        digits = read(self.digits.folder)
        for split, n in (("train", self.n_train), ("test", self.n_test)):
            label = digits.array(f"{split}_label")
            triples = draw.randint(len(label), size=(n, 3), dtype=np.int64)
            writer.save(f"{split}_triple", triples)
            writer.save(f"{split}_label", label[triples] @ np.array([100, 10, 1]))
        return str(self.digits.folder)

    def open(self, prepared: Prepared) -> dict[str, ImageSet]:
        """Pair the triples with MNIST's arrays."""
        digits = read(self.digits.folder)
        return {
            split: ImageSet(
                digits.array(f"{split}_image").reshape(-1, 28, 28),
                prepared.array(f"{split}_label"),
                prepared.array(f"{split}_triple"),
            )
            for split in ("train", "test")
        }
