"""Digits and what is to be seen of them: pictures with captions, made of MNIST."""

from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from lightning_gen.data.arrays import Prepared, Writer, read
from lightning_gen.data.mnist import MNIST
from lightning_gen.data.module import DataModule, ImageSet, check_facts
from lightning_gen.errors import ConfigError, DataError
from lightning_gen.types import NonNegativeInt, PositiveInt

COUNTS = ("one", "two", "three")
COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "purple": (255, 0, 255),
    "white": (255, 255, 255),
}
DIGITS = ("zero", *COUNTS, "four", "five", "six", "seven", "eight", "nine")
PLURALS = tuple("sixes" if digit in {"six"} else f"{digit}s" for digit in DIGITS)
WORDS = ("", *dict.fromkeys((*COUNTS, *COLOURS, *DIGITS, *PLURALS)))
"""A word's id is its place; 0 is what a shorter caption is filled up with."""
LENGTH = 3  # words of the longest caption
CELLS = 2  # a side: digits stand in some of four cells


def ids(caption: str) -> Tensor:
    """Word ids (3,) of a caption, filled up with 0.

    Raises:
        ConfigError: A word is unknown, or there are none or too many.

    Example:
        >>> ids("two red sevens"), ids("sevens")
        (tensor([ 2,  4, 24]), tensor([24,  0,  0]))
    """
    words = caption.split()
    unknown = [word for word in words if word not in WORDS]
    if unknown:
        what = f"no caption has the word {unknown[0]!r}"
        raise ConfigError(what, where=f"{caption!r}", fix=f"words are: {', '.join(WORDS[1:])}")
    if not 1 <= len(words) <= LENGTH:
        what = f"{caption!r} has {len(words)} words, not 1 to {LENGTH}"
        raise ConfigError(what, fix="for example 'two red sevens'")
    return torch.tensor([*map(WORDS.index, words), *[0] * (LENGTH - len(words))])


def caption(ids: Tensor) -> str:
    """The caption of word ids (L,).

    Example:
        >>> caption(torch.tensor([1, 5, 1]))
        'one green one'
    """
    return " ".join(WORDS[i] for i in ids.tolist() if i)


def kinds(*, unseen: bool) -> NDArray[np.int64]:
    """Number, colour and digit (K, 3) of all kinds of picture that are held out, or of the others.

    One digit of each number and colour is held out, so chosen that any two of a held-out kind's
    number, colour and digit are seen together in training.

    Example:
        >>> len(kinds(unseen=True)), len(kinds(unseen=False))
        (18, 162)
    """
    shape = (len(COUNTS), len(COLOURS), len(DIGITS))
    table = np.indices(shape).reshape(3, -1).T.astype(np.int64)
    count, colour, digit = table.T
    return table[((3 * count + colour + 5) % len(DIGITS) == digit) == unseen]


def sentences(kind: NDArray[np.int64]) -> NDArray[np.int64]:
    """Word ids (N, 3) of the captions of kinds (N, 3).

    Example:
        >>> caption(torch.from_numpy(sentences(np.array([[1, 0, 7]])))[0])
        'two red sevens'
    """
    words = {word: i for i, word in enumerate(WORDS)}
    number, hue = (np.array([words[w] for w in group]) for group in (COUNTS, COLOURS))
    noun = np.array([[words[w] for w in group] for group in (DIGITS, PLURALS)])
    count, colour, digit = kind.T
    return np.stack([number[count], hue[colour], noun[(count > 0).astype(int), digit]], 1)


class Captions(DataModule):
    """One, two or three digits of a class in one colour on black, and a caption that says so.

    A label is a caption as word ids (3,), see :data:`WORDS`. Each kind of picture is equally
    likely, and each of its digits is another one of MNIST, in a cell of its own of four. There are
    180 kinds. One digit of each number and colour is not in the training split, nor in the test
    split, but has a split of its own, "unseen", so that captions can be asked for that no model has
    seen.

    Args:
        root: Folder of all data sets.
        cache: Folder for downloads.
        batch_size: Images of a minibatch over all devices.
        name: Name of the data set and of its folder.
        channels: 3.
        resolution: 32 or 28 pixels.
        num_classes: None; captions are no classes.
        words: Size of the vocabulary.
        n_train: Number of training images, of MNIST's training digits.
        n_test: Number of test images, of its test digits.
        n_unseen: Number of images of held-out kinds, of its test digits.
        draw_seed: Seed of the pictures; not the seed of a run.
        shift: Shift images at random by up to so many pixels each way.
        resident: Keep the training split on the device.
    """

    gives: ClassVar[tuple[str, ...]] = ("captions",)

    def __init__(
        self,
        root: str,
        cache: str,
        *,
        batch_size: PositiveInt,
        name: str = "captions",
        channels: Literal[3] = 3,
        resolution: Literal[28, 32] = 32,
        num_classes: None = None,
        words: PositiveInt = 27,
        n_train: PositiveInt = 50_000,
        n_test: PositiveInt = 10_000,
        n_unseen: PositiveInt = 2_000,
        draw_seed: NonNegativeInt = 0,
        shift: NonNegativeInt = 0,
        resident: bool = False,
    ) -> None:
        facts: dict[str, tuple[object, object]] = {"num_classes": (num_classes, None)}
        check_facts(channels=(channels, 3), words=(words, len(WORDS)), **facts)
        if resolution not in (28, 32):
            what = f"data.resolution is {resolution}, not 28 or 32"
            raise DataError(what, where="data.resolution", fix="data.resolution=32")
        super().__init__(
            root,
            cache,
            batch_size=batch_size,
            name=name,
            shape=(3, resolution, resolution),
            num_classes=None,
            shift=shift,
            resident=resident,
        )
        self.sizes = {"train": n_train, "test": n_test, "unseen": n_unseen}
        self.draw_seed = draw_seed
        self.digits = MNIST(root, cache, batch_size=batch_size)

    def ids(self, caption: str) -> Tensor:
        """Word ids (3,) of a caption; see :func:`ids`."""
        return ids(caption)

    def caption(self, ids: Tensor) -> str:
        """The caption of word ids (L,)."""
        return caption(ids)

    def conditions(self, n: int, start: int = 0) -> Tensor:
        """Captions (n, 3) of the kinds that are trained on, in turn.

        Args:
            n: How many.
            start: The first of them.
        """
        kind = kinds(unseen=False)
        # Neighbours differ in all words: 61 is prime, and so has no divisor in common with 162.
        return torch.from_numpy(sentences(kind[61 * np.arange(start, start + n) % len(kind)]))

    def recipe(self) -> dict[str, Any]:
        """Size, numbers and seed of the pictures."""
        return {"resolution": self.shape[-1], "draw_seed": self.draw_seed, **self.sizes}

    def listing(self) -> dict[str, Any]:
        """The digits the pictures are made of."""
        return {"mnist": read(self.digits.folder).fingerprint}

    def prepare_data(self, *, fresh: bool = False) -> None:
        """Prepare MNIST, then draw the pictures."""
        self.digits.prepare_data(fresh=fresh)
        super().prepare_data(fresh=fresh)

    def write(self, writer: Writer) -> str:
        """Draw pictures and their captions."""
        digits, side = read(self.digits.folder), self.shape[-1]
        for split, n in self.sizes.items():
            draw = np.random.RandomState([self.draw_seed, list(self.sizes).index(split)])
            part = "train" if split in {"train"} else "test"
            cells = shrunk(digits.array(f"{part}_image"), side // CELLS)
            label = np.array(digits.array(f"{part}_label"))
            known = kinds(unseen=split in {"unseen"})
            kind = known[draw.randint(len(known), size=n)]
            image = writer.create(f"{split}_image", (n, 3, side, side), np.uint8)
            for at in range(0, n, 1000):
                image[at : at + 1000] = drawn(draw, cells, label, kind[at : at + 1000])
            writer.save(f"{split}_label", sentences(kind))
        return str(self.digits.folder)

    def open(self, prepared: Prepared) -> dict[str, ImageSet]:
        """Name the splits train, test and unseen."""
        return {
            split: ImageSet(prepared.array(f"{split}_image"), prepared.array(f"{split}_label"))
            for split in self.sizes
        }


def shrunk(digits: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Scale MNIST's digits, without two of their pixels of margin, to cells.

    Args:
        digits: (N, 1, 28, 28).
        side: Of a cell in pixels.

    Returns:
        (N, side, side).
    """
    inner = torch.from_numpy(np.array(digits[:, :, 2:-2, 2:-2])).float()
    cells = interpolate(inner, (side, side), mode="bilinear", antialias=True)
    return cells[:, 0].round().to(torch.uint8).numpy()


def drawn(
    draw: np.random.RandomState,
    cells: NDArray[np.uint8],
    label: NDArray[np.int64],
    kind: NDArray[np.int64],
) -> NDArray[np.uint8]:
    """Draw pictures.

    Args:
        draw: Chooses digits and their cells.
        cells: Digits (M, h, h).
        label: Their classes (M,).
        kind: Number less one, colour and digit (N, 3) of each picture.

    Returns:
        (N, 3, 2 h, 2 h).
    """
    n, h = len(kind), cells.shape[1]
    order = np.argsort(label, kind="stable")
    first = np.searchsorted(label[order], np.arange(len(DIGITS) + 1))
    start, stop = first[kind[:, 2], None], first[kind[:, 2] + 1, None]
    chosen = order[start + (draw.random_sample((n, len(COUNTS))) * (stop - start)).astype(int)]
    place = draw.random_sample((n, CELLS**2)).argsort(1)
    grey = np.zeros((n, CELLS**2, h, h), np.uint16)
    for j in range(len(COUNTS)):
        rows = np.flatnonzero(kind[:, 0] >= j)
        grey[rows, place[rows, j]] = cells[chosen[rows, j]]
    grey = grey.reshape(n, CELLS, CELLS, h, h).swapaxes(2, 3).reshape(n, 1, CELLS * h, CELLS * h)
    colour = np.array(list(COLOURS.values()), np.uint16)[kind[:, 1], :, None, None]
    return (grey * colour // 255).astype(np.uint8)
