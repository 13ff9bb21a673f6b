"""The base of every data set: one stream of samples, bytes until the device, floats there."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from lightning_gen.core import GenerativeModule, ImageBatch
from lightning_gen.data.arrays import Prepared, Writer, prepare, read
from lightning_gen.errors import DataError
from lightning_gen.randomness import fold

PREFETCH_BYTES = 64 * 2**20
"""Sets larger than this may have to be read from the disk, so a thread reads one batch ahead."""


def stream_indices(n: int, start: int, count: int, seed: int) -> NDArray[np.int64]:
    """Indices of samples start, ..., start + count - 1 of the endless stream.

    Sample s is number s mod n of virtual epoch s // n, and each epoch is a permutation of the set
    that follows from (seed, epoch); so the stream needs no state and may be entered anywhere.

    Args:
        n: Size of the set.
        start: Position in the stream, >= 0.
        count: How many.
        seed: Seed of the run.

    Returns:
        (count,) indices in [0, n).

    Example:
        >>> whole = stream_indices(5, 0, 15, seed=0)
        >>> [sorted(epoch.tolist()) for epoch in whole.reshape(3, 5)]
        [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]
        >>> (stream_indices(5, 7, 6, seed=0) == whole[7:13]).all().item()
        True
    """
    return _along(lambda epoch: _permutation(n, seed, epoch), n, start, count)


def stream_jitter(
    n: int, start: int, count: int, seed: int, *, flip: bool, shift: int
) -> NDArray[np.int64]:
    """Random flips and shifts for the same samples, a function of (seed, epoch, place in it).

    Returns:
        (count, 3): flip in {0, 1} (0 without ``flip``), vertical and horizontal shift in
        [-shift, shift] pixels.
    """
    return _along(lambda epoch: _jitter(n, seed, epoch, flip, shift), n, start, count)


def _along(
    table: Callable[[int], NDArray[np.int64]], n: int, start: int, count: int
) -> NDArray[np.int64]:
    """Read rows start, ..., start + count - 1 of the tables of all epochs laid end to end."""
    start = int(start)  # Epochs are hashed by their text, and numpy's integers print otherwise.
    stop, pieces = start + int(count), []
    while start < stop:
        epoch, at = divmod(start, n)
        piece = table(epoch)[at : at + stop - start]
        pieces.append(piece)
        start += len(piece)
    return np.concatenate(pieces)


def _random(*parts: int | str) -> np.random.RandomState:
    """Numpy's legacy generator, whose streams are frozen (NEP 19): equal in every version."""
    key = fold(*parts)
    return np.random.RandomState([key & 0xFFFFFFFF, key >> 32])


@lru_cache(maxsize=2)
def _permutation(n: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return _random(seed, "epoch", epoch).permutation(n).astype(np.int64, copy=False)


@lru_cache(maxsize=2)
def _jitter(n: int, seed: int, epoch: int, flip: bool, shift: int) -> NDArray[np.int64]:
    bounds = [1 + flip, 2 * shift + 1, 2 * shift + 1]
    draws = _random(seed, "augment", epoch).randint(bounds, size=(n, 3), dtype=np.int64)
    return draws - np.array([0, shift, shift])


class ImageSet:
    """Images (bytes) or points (floats) in an array that need not fit the memory.

    Args:
        images: (N, C, H, W) uint8, (N, 2) float32, or what ``members`` picks from.
        labels: (N,) int64, or None.
        members: (M, C) rows of (N, H, W) ``images`` that make up the channels of image m.
    """

    def __init__(
        self,
        images: NDArray[Any],
        labels: NDArray[np.int64] | None = None,
        members: NDArray[np.int64] | None = None,
    ) -> None:
        self.images, self.labels, self.members = images, labels, members
        channels = () if members is None else members.shape[1:]
        self.shape: tuple[int, ...] = (*channels, *images.shape[1:])

    def __len__(self) -> int:
        return len(self.images if self.members is None else self.members)

    @property
    def nbytes(self) -> int:
        """Size of the images that samples are gathered from, in bytes."""
        return self.images.nbytes

    def gather(self, indices: NDArray[np.int64], *, pin: bool = False) -> ImageBatch:
        """Copy some samples out of the array.

        Args:
            indices: (n,) in [0, N).
            pin: Put them in page-locked memory, for a fast copy to a GPU.

        Returns:
            Images (n, C, H, W) as bytes, or points (n, 2), and their labels.
        """
        rows = indices if self.members is None else self.members[indices]
        dtype = torch.uint8 if self.images.dtype == np.uint8 else torch.float32
        image = torch.empty(len(indices), *self.shape, dtype=dtype, pin_memory=pin)
        np.take(self.images, rows, axis=0, out=image.numpy(), mode="clip")  # "raise" would buffer.
        return ImageBatch(image, self._labels(indices))

    def _labels(self, indices: NDArray[np.int64]) -> Tensor | None:
        return None if self.labels is None else torch.from_numpy(self.labels[indices])

    def to(self, device: torch.device) -> "ResidentSet":
        """Copy the whole set to a device."""

        def copy(array: NDArray[Any] | None) -> Tensor | None:
            return None if array is None else torch.from_numpy(np.array(array)).to(device)

        return ResidentSet(cast(Tensor, copy(self.images)), copy(self.labels), copy(self.members))


class ResidentSet(NamedTuple):
    """An :class:`ImageSet` that lives on a device."""

    images: Tensor
    labels: Tensor | None
    members: Tensor | None

    def gather(self, indices: Tensor) -> ImageBatch:
        """Gather samples on the device; ``indices`` (n,) lie there too."""
        rows = indices if self.members is None else self.members[indices]
        return ImageBatch(self.images[rows], None if self.labels is None else self.labels[indices])


class StreamBatch(NamedTuple):
    """What a loader gives: bytes (or indices, of a resident set) and how to augment them.

    Args:
        image: Bytes (n, C, H, W), points (n, 2), or indices (n,).
        label: Labels (n,), if any.
        jitter: Flips and shifts (n, 3), if any.
        part: Which part of which iteration's samples these are, for random numbers of their own.
    """

    image: Tensor
    label: Tensor | None
    jitter: Tensor | None
    part: "Part"


class Part(NamedTuple):
    """One rank's rows of the minibatches of an iteration."""

    seed: int
    iteration: int
    minibatches: int
    rank: int
    world: int

    def rand(self, x: Tensor) -> Tensor:
        """Uniform numbers in [0, 1) of the shape of x: this rank's rows of the global batch."""
        generator = torch.Generator(x.device)
        generator.manual_seed(fold(self.seed, "binarise", self.iteration))
        shape = self.minibatches, self.world, len(x) // self.minibatches, *x.shape[1:]
        rows = torch.rand(shape, generator=generator, device=x.device)
        return rows[:, self.rank].reshape(x.shape)


def fixed_draws(images: NDArray[np.uint8], *, threshold: bool, name: str) -> NDArray[np.uint8]:
    """Binarise images once and for all: a pixel is white with the probability of its grey value.

    Args:
        images: Bytes (N, ...).
        threshold: White above one half instead, without any chance.
        name: What the draws depend on, with each image's place.

    Returns:
        Bytes 0 and 255, (N, ...).

    Example:
        >>> grey = np.array([[0, 100, 200, 255]], np.uint8)
        >>> fixed_draws(grey, threshold=True, name="train")
        array([[  0,   0, 255, 255]], dtype=uint8)
    """
    out, draws = np.empty(images.shape, np.uint8), _random("binarise", name)
    for start in range(0, len(images), 4096):
        grey = np.asarray(images[start : start + 4096])
        level = np.full(grey.shape, 127.5) if threshold else draws.random_sample(grey.shape) * 255
        out[start : start + 4096] = np.where(grey > level, 255, 0)
    return out


class StreamLoader:
    """This rank's part of the stream, iteration by iteration.

    Iteration k takes samples [k m B, (k + 1) m B) of the stream: m minibatches of B samples. Rank
    r of w gets rows [r B / w, (r + 1) B / w) of each minibatch, so the order of the samples is the
    same on any number of devices.

    Args:
        dataset: The set.
        batch_size: B, over all devices.
        minibatches: m, those of one iteration.
        seed: Seed of the run.
        rank: r.
        world: w, a divisor of B.
        start: First iteration.
        stop: One past the last iteration.
        flip: Draw a flip for each sample.
        shift: Largest random shift to be drawn, in pixels.
        resident: Give indices instead of bytes.
        pin: Put the bytes in page-locked memory.

    Raises:
        DataError: The set is smaller than a batch, or B is not divisible by w.

    Example:
        >>> images = np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1)
        >>> loader = StreamLoader(ImageSet(images), batch_size=2, start=1, stop=3)
        >>> len(loader), [tuple(batch.image.shape) for batch in loader]
        (2, [(2, 1, 1, 1), (2, 1, 1, 1)])
    """

    def __init__(
        self,
        dataset: ImageSet,
        *,
        batch_size: int,
        minibatches: int = 1,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        start: int = 0,
        stop: int,
        flip: bool = False,
        shift: int = 0,
        resident: bool = False,
        pin: bool = False,
    ) -> None:
        if len(dataset) < batch_size:
            raise DataError(
                f"{len(dataset)} samples are fewer than a batch of {batch_size}",
                where="data.batch_size",
                fix=f"data.batch_size={max(len(dataset), 1)} or less",
            )
        if batch_size % world:
            raise DataError(
                f"a batch of {batch_size} cannot be divided among {world} devices",
                where="data.batch_size",
                fix=f"data.batch_size={batch_size - batch_size % world or world}",
            )
        self.dataset, self.batch_size, self.minibatches = dataset, batch_size, minibatches
        self.seed, self.rank, self.world = seed, rank, world
        self.start, self.stop = start, max(start, stop)
        self.flip, self.shift, self.resident, self.pin = flip, shift, resident, pin

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[StreamBatch]:
        iterations = range(self.start, self.stop)
        if self.resident or self.dataset.nbytes <= PREFETCH_BYTES or not iterations:
            yield from map(self.batch, iterations)
            return
        with ThreadPoolExecutor(1) as reader:
            ahead = reader.submit(self.batch, self.start)
            for iteration in iterations[1:]:
                current, ahead = ahead, reader.submit(self.batch, iteration)
                yield current.result()
            yield ahead.result()

    def indices(self, iteration: int) -> NDArray[np.int64]:
        """Indices (m B / w,) of this rank's samples in an iteration."""
        return self._rows(stream_indices(*self._window(iteration), self.seed))

    def batch(self, iteration: int) -> StreamBatch:
        """This rank's samples of an iteration."""
        indices, jitter = self.indices(iteration), None
        part = Part(self.seed, iteration, self.minibatches, self.rank, self.world)
        if self.flip or self.shift:
            window = self._window(iteration)
            draws = stream_jitter(*window, self.seed, flip=self.flip, shift=self.shift)
            jitter = torch.from_numpy(self._rows(draws))
        if self.resident:
            return StreamBatch(torch.from_numpy(indices), None, jitter, part)
        return StreamBatch(*self.dataset.gather(indices, pin=self.pin), jitter, part)

    def _window(self, iteration: int) -> tuple[int, int, int]:
        count = self.minibatches * self.batch_size
        return len(self.dataset), iteration * count, count

    def _rows(self, table: NDArray[np.int64]) -> NDArray[np.int64]:
        """Keep this rank's rows of each minibatch."""
        per_rank = table.reshape(self.minibatches, self.world, -1, *table.shape[1:])
        return np.ascontiguousarray(per_rank[:, self.rank]).reshape(-1, *table.shape[1:])


def jittered(image: Tensor, jitter: Tensor) -> Tensor:
    """Flip and shift images, each by its own draw; what a shift uncovers is a reflection.

    Args:
        image: (N, C, H, W).
        jitter: (N, 3): flip in {0, 1}, vertical and horizontal shift in pixels.

    Returns:
        (N, C, H, W).

    Example:
        >>> image = torch.tensor([[[[1, 2, 3, 4]]]])
        >>> jittered(image, torch.tensor([[1, 0, 0]])), jittered(image, torch.tensor([[0, 0, 1]]))
        (tensor([[[[4, 3, 2, 1]]]]), tensor([[[[2, 3, 4, 3]]]]))
    """
    n, channels, height, width = image.shape
    flip, rows, columns = jitter.unbind(1)

    def reflected(shift: Tensor, size: int) -> Tensor:
        place = (torch.arange(size, device=image.device) + shift[:, None]).abs()
        return (size - 1) - ((size - 1) - place).abs()

    y, x = reflected(rows, height), reflected(columns, width)
    x = torch.where(flip[:, None].bool(), width - 1 - x, x)
    image = image.gather(2, y[:, None, :, None].expand(n, channels, height, width))
    return image.gather(3, x[:, None, None, :].expand(n, channels, height, width))


class DataModule(pl.LightningDataModule):
    """A data set: prepared once on disk, read as one endless stream of samples.

    A subclass says what its arrays are made from (:meth:`recipe`), makes them (:meth:`write`) and
    names its splits (:meth:`open`).

    Args:
        root: Folder of all data sets; this one lies in ``root/name``.
        cache: Folder for downloads.
        batch_size: Samples of a minibatch over all devices.
        name: Name of the data set.
        shape: (C, H, W) of an image, or (2,) of a point.
        num_classes: Labels are 0, ..., num_classes - 1; None for unlabelled data.
        flip: Flip images horizontally at random, on the device.
        shift: Shift images at random by up to so many pixels each way, on the device.
        resident: Keep the whole training split on the device.
        binarise: Make pixels black or white (-1 or 1): white with the probability of the grey
            value, drawn anew each time an image is trained on (dynamic) or once (static); or white
            above one half (threshold). Images that are not trained on are drawn once.
    """

    gives: ClassVar[tuple[str, ...]] = ("images",)
    """What a batch is: see :attr:`lightning_gen.core.GenerativeModule.takes`."""
    name: str
    stop_iteration: int | None = None
    """One past the last iteration of the training stream; None ends it after one epoch."""

    def __init__(
        self,
        root: str,
        cache: str,
        *,
        batch_size: int,
        name: str,
        shape: tuple[int, ...],
        num_classes: int | None,
        flip: bool = False,
        shift: int = 0,
        resident: bool = False,
        binarise: str | None = None,
    ) -> None:
        super().__init__()
        if shift >= min(shape[-2:]):
            what = f"data.shift is {shift} pixels, the images have {min(shape[-2:])}"
            raise DataError(
                what, where="data.shift", fix=f"data.shift={min(shape[-2:]) - 1} or less"
            )
        self.root, self.cache = Path(root).expanduser(), Path(cache).expanduser()
        self.batch_size, self.name, self.shape = batch_size, name, shape
        self.num_classes = num_classes
        self.flip, self.shift, self.resident = flip, shift, resident
        self.binarise = binarise
        self.prepared: Prepared | None = None
        self._sets: dict[str, ImageSet] = {}
        self._fixed: dict[str, ImageSet] = {}
        self._resident: dict[str, ResidentSet] = {}

    # What a subclass says

    def recipe(self) -> dict[str, Any]:
        """All that decides what the arrays on disk hold; different recipes have own folders."""
        return {}

    def listing(self) -> dict[str, Any]:
        """State of the source the arrays are made from; when it changes they are made anew."""
        return {}

    def write(self, writer: Writer) -> str:
        """Make the arrays.

        Returns:
            Where the data came from, for ``meta.json``.
        """
        raise NotImplementedError

    def open(self, prepared: Prepared) -> dict[str, ImageSet]:
        """Name the splits, the training split first, each with its set."""
        raise NotImplementedError

    def decode(self, image: Tensor) -> Tensor:
        """Bytes to floats in [-1, 1]: the one normalisation."""
        return image.to(torch.float32).div_(127.5).sub_(1)

    # What the rest of the framework asks

    @property
    def folder(self) -> Path:
        """Folder of the prepared arrays."""
        if not (recipe := self.recipe()):
            return self.root / self.name / "arrays"
        digest = sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:8]
        return self.root / self.name / f"arrays-{digest}"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the prepared data; the empty string before :meth:`setup`.

        What changes the images that are compared with stands behind it.
        """
        if self.prepared is None:
            return ""
        return "-".join([self.prepared.fingerprint, *self.variant()])

    def variant(self) -> list[str]:
        """What is done to prepared images before they are compared with."""
        return [f"binarised-{self.binarise}"] if self.binarise else []

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits, the training split first; empty before :meth:`setup`."""
        return tuple(self._sets)

    @property
    def mixture(self) -> tuple[Tensor, float] | None:
        """Centres (K, 2) and standard deviation of a Gaussian mixture, for data that are one."""
        return None

    def conditions(self, n: int, start: int = 0) -> Tensor | None:
        """What a conditional model is asked for in samples start, ..., start + n - 1.

        Args:
            n: How many.
            start: The first of them.

        Returns:
            Labels as those of a batch: the classes (n,) in turn; None of unlabelled data.
        """
        if self.num_classes is None:
            return None
        return torch.arange(start, start + n) % self.num_classes

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the domains that images may be translated to: the classes, by their numbers."""
        return tuple(str(k) for k in range(self.num_classes or 0))

    def domain(self, split: str, name: str, *, inside: bool = True) -> tuple[str, Tensor]:
        """Where the images of a domain are, or those that may be translated to it.

        Args:
            split: "train", "test" or the like.
            name: One of :attr:`domains`.
            inside: Those of the domain, or those of the others.

        Returns:
            The name of a split, and indices (n,) in it.
        """
        labels = self.labels(split)
        if labels is None or name not in self.domains:
            known = ", ".join(self.domains) or "none"
            raise DataError(f"{self.name} has no domain '{name}'", fix=f"one of: {known}")
        return split, torch.nonzero((labels == self.domains.index(name)) == inside).flatten()

    def prepare_data(self, *, fresh: bool = False) -> None:
        """Make the arrays on disk, unless they are there.

        Args:
            fresh: Make them anew in any case.
        """
        prepare(self.folder, {**self.recipe(), **self.listing()}, self.write, fresh=fresh)

    def verify(self) -> None:
        """Read every byte on disk and compare with the recorded SHA-256.

        Raises:
            DataError: A file was altered.
        """
        read(self.folder).verify()

    def setup(self, stage: str | None = None) -> None:
        """Open the prepared arrays."""
        self.prepared = read(self.folder)
        self._sets, self._fixed = self.open(self.prepared), {}

    def size(self, split: str) -> int:
        """Number of samples of a split."""
        return len(self._set(split))

    def labels(self, split: str) -> Tensor | None:
        """Labels (N,) of a split, or None."""
        labels = self._set(split).labels
        return None if labels is None else torch.from_numpy(np.array(labels))

    def real(
        self,
        split: str,
        indices: Tensor | ArrayLike | None = None,
        device: torch.device | str = "cpu",
    ) -> ImageBatch:
        """Real samples as the model sees them, without augmentation.

        Args:
            split: Name of the split.
            indices: (n,) in [0, size); None takes all.
            device: Where to put them.

        Returns:
            Images (n, C, H, W) in [-1, 1] or points (n, 2), and labels (n,) where there are any.
        """
        chosen = self._seen(split)
        rows = np.arange(len(chosen)) if indices is None else np.asarray(indices, dtype=np.int64)
        if len(rows) and (rows.min() < 0 or rows.max() >= len(chosen)):
            raise IndexError(f"indices {rows.min()}..{rows.max()} of a split of {len(chosen)}")
        image, label = chosen.gather(rows)
        return ImageBatch(
            self.decode(image.to(device)), None if label is None else label.to(device)
        )

    def mean(self, device: torch.device | str = "cpu") -> Tensor:
        """Mean of the training split: an image (C, H, W) in [-1, 1], or a point (2,)."""
        split = self.splits[0]
        n, total = self.size(split), torch.zeros(self.shape, dtype=torch.float64)
        for start in range(0, n, 4096):
            rows = torch.arange(start, min(start + 4096, n))
            total += self.real(split, rows).image.sum(0, dtype=torch.float64)
        return (total / n).float().to(device)

    def train_dataloader(self) -> StreamLoader:
        """The training stream from the model's iteration to ``stop_iteration``."""
        trainer = cast(pl.Trainer, self.trainer)
        return self.stream(self.splits[0], cast(GenerativeModule, trainer.lightning_module).seed)

    def stream(self, split: str, seed: int) -> StreamLoader:
        """The stream of a split, on this rank of the trainer.

        Args:
            split: Name of the split.
            seed: Of its order.
        """
        trainer = cast(pl.Trainer, self.trainer)
        model = cast(GenerativeModule, trainer.lightning_module)
        dataset = self._streamed(split)
        start, stop = model.iteration, self.stop_iteration
        if stop is None:
            stop = start + max(1, len(dataset) // (self.batch_size * model.minibatches))
        return StreamLoader(
            dataset,
            batch_size=self.batch_size,
            minibatches=model.minibatches,
            seed=seed,
            rank=trainer.global_rank,
            world=trainer.world_size,
            start=start,
            stop=stop,
            flip=self.flip,
            shift=self.shift,
            resident=self.resident,
            pin=trainer.strategy.root_device.type == "cuda",
        )

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int = 0) -> Any:
        """On the device: gather (of a resident set), augment, and make floats of bytes."""
        return self.images(batch, self.splits[0]) if isinstance(batch, StreamBatch) else batch

    def images(self, batch: StreamBatch, split: str) -> ImageBatch:
        """Make images of what a loader gives: gathered, augmented, normalised.

        Args:
            batch: What the loader gave, on the device.
            split: The split that it is of.
        """
        image, label, jitter, part = batch
        if self.resident:
            device, resident = image.device, self._resident.get(split)
            if resident is None or resident.images.device != device:
                resident = self._resident[split] = self._streamed(split).to(device)
            image, label = resident.gather(image)
        if jitter is not None:
            image = jittered(image, jitter)
        if self.binarise in {"dynamic"}:
            return ImageBatch((image > part.rand(image) * 255).float().mul_(2).sub_(1), label)
        return ImageBatch(self.decode(image), label)

    def _seen(self, split: str) -> ImageSet:
        """A split as it is compared with: binarised once, where the data are binarised."""
        chosen = self._set(split)
        if self.binarise is None:
            return chosen
        if split not in self._fixed:
            draws = f"{self.name} {split}"
            images = fixed_draws(
                chosen.images, threshold=self.binarise in {"threshold"}, name=draws
            )
            self._fixed[split] = ImageSet(images, chosen.labels, chosen.members)
        return self._fixed[split]

    def _streamed(self, split: str) -> ImageSet:
        """A split as it is trained on; what is drawn anew each time is still grey here."""
        return self._set(split) if self.binarise in {"dynamic"} else self._seen(split)

    def _set(self, split: str) -> ImageSet:
        if split not in self._sets:
            known = ", ".join(self._sets) or "none before setup()"
            raise DataError(f"data set {self.name} has no split '{split}'", fix=f"one of: {known}")
        return self._sets[split]


def check_facts(**facts: tuple[object, object]) -> None:
    """Compare what the configuration says of a data set with what it is.

    Args:
        facts: (said, true) of each key.

    Raises:
        DataError: They differ.

    Example:
        >>> check_facts(channels=(3, 1))
        Traceback (most recent call last):
        lightning_gen.errors.DataError: lightning_gen: error [3]: data.channels is 3, not 1 ...
    """
    for key, (said, true) in facts.items():
        if said != true:
            what = f"data.{key} is {said}, not {true} as the data have it"
            raise DataError(what, where=f"data.{key}", fix=f"data.{key}={true}")
