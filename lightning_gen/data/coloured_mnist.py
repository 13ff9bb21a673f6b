"""MNIST's digits in colour, on black.

Kim, Kim, Kim, Kim, Kim. Learning Not to Learn: Training Deep Neural Networks with Biased Data.
2019, arXiv:1812.10352.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from lightning_gen.data.arrays import Prepared, Writer, read
from lightning_gen.data.mnist import MNIST
from lightning_gen.data.module import DataModule, ImageSet, check_facts
from lightning_gen.types import NonNegativeInt, PositiveInt

HUE_JITTER = 0.2  # of the distance between two hues, either way
LEAST = 0.8  # of saturation and brightness, which are drawn from here to 1
ROWS = 4096


class ColouredMNIST(DataModule):
    """MNIST's 70,000 digits in RGB, each of one hue, on black.

    With ``hue`` "class" each digit class has a hue of its own and the label is the digit; with
    "random" one of ``num_hues`` hues is drawn for each image, and the label is the hue's number.
    Hue k is at k / num_hues of the colour circle, from red; each image strays from it by at most a
    fifth of the distance to the next, and is a little paler or darker.

    References:
        LeCun et al., Gradient-based learning applied to document recognition, 1998,
        doi:10.1109/5.726791; Kim et al., Learning Not to Learn, 2019, arXiv:1812.10352.

    Args:
        root: Folder of all data sets.
        cache: Folder for downloads.
        batch_size: Images of a minibatch over all devices.
        name: Name of the data set and of its folder.
        channels: 3.
        resolution: 28 pixels, or 32, to which the digits are scaled.
        num_hues: Number of hues; 10 where they are the classes'.
        num_classes: Number of labels: that of the hues.
        hue: What decides the hue, and the label.
        draw_seed: Seed of the colours; not the seed of a run.
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
        name: str = "coloured_mnist",
        channels: Literal[3] = 3,
        resolution: Literal[28, 32] = 28,
        num_hues: PositiveInt = 10,
        num_classes: PositiveInt = 10,
        hue: Literal["class", "random"] = "class",
        draw_seed: NonNegativeInt = 0,
        flip: bool = False,
        shift: NonNegativeInt = 0,
        resident: bool = False,
    ) -> None:
        hues = {"class": 10, "random": num_hues}[hue]
        check_facts(
            channels=(channels, 3), num_hues=(num_hues, hues), num_classes=(num_classes, hues)
        )
        super().__init__(
            root,
            cache,
            batch_size=batch_size,
            name=name,
            shape=(3, resolution, resolution),
            num_classes=num_classes,
            flip=flip,
            shift=shift,
            resident=resident,
        )
        self.hue, self.num_hues, self.draw_seed = hue, num_hues, draw_seed
        self.digits = MNIST(root, cache, batch_size=batch_size, resolution=resolution)

    def recipe(self) -> dict[str, Any]:
        """What decides the colours."""
        return {
            "resolution": self.shape[-1],
            "hue": self.hue,
            "num_hues": self.num_hues,
            "hue_jitter": HUE_JITTER,
            "least": LEAST,
            "draw_seed": self.draw_seed,
        }

    def listing(self) -> dict[str, Any]:
        """The digits that are coloured."""
        return {"mnist": read(self.digits.folder).fingerprint}

    def prepare_data(self, *, fresh: bool = False) -> None:
        """Prepare MNIST, then colour it; what is coloured does without it."""
        if fresh or self.digits.folder.is_dir() or not self.folder.is_dir():
            self.digits.prepare_data(fresh=fresh)
            super().prepare_data(fresh=fresh)

    def write(self, writer: Writer) -> str:
        """Draw colours, and colour the digits."""
        digits, draw = read(self.digits.folder), np.random.RandomState(self.draw_seed)
        for split in ("train", "test"):
            grey = digits.array(f"{split}_image")
            random = draw.randint(self.num_hues, size=len(grey), dtype=np.int64)
            label = {"class": digits.array(f"{split}_label"), "random": random}[self.hue]
            colour = colours(label / self.num_hues, HUE_JITTER / self.num_hues, draw)
            image = writer.create(f"{split}_image", (len(grey), *self.shape), np.uint8)
            for at in tqdm(range(0, len(grey), ROWS), f"colouring {split}"):
                rows = slice(at, at + ROWS)
                image[rows] = np.rint(grey[rows] * colour[rows, :, None, None])
            writer.save(f"{split}_label", label)
        return str(self.digits.folder)

    def open(self, prepared: Prepared) -> dict[str, ImageSet]:
        """Name the splits train and test."""
        return {
            split: ImageSet(prepared.array(f"{split}_image"), prepared.array(f"{split}_label"))
            for split in ("train", "test")
        }


def colours(
    hue: NDArray[np.float64], jitter: float, draw: np.random.RandomState
) -> NDArray[np.float64]:
    """Bright colours near given hues.

    Args:
        hue: (N,) in [0, 1), from red by way of green and blue.
        jitter: Most by which a hue strays.
        draw: Of how far, and of saturation and brightness in [0.8, 1].

    Returns:
        (N, 3) red, green and blue in [0, 1].

    Example:
        >>> green = colours(np.array([1 / 3]), 0.0, np.random.RandomState(0))
        >>> green.argmax().item(), (green.max() >= 0.8).item()
        (1, True)
    """
    from matplotlib.colors import hsv_to_rgb

    strayed = (hue + draw.uniform(-jitter, jitter, len(hue))) % 1
    return hsv_to_rgb(np.column_stack([strayed, draw.uniform(LEAST, 1, (len(hue), 2))]))
