"""CIFAR-10, from the archive of plain bytes.

Krizhevsky. Learning multiple layers of features from tiny images. 2009.
"""

import hashlib
import http.client
import logging
import os
import tarfile
import urllib.request
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from lightning_gen.data.arrays import Prepared, Writer, sha256_of
from lightning_gen.data.module import DataModule, ImageSet, check_facts
from lightning_gen.errors import DataError
from lightning_gen.types import NonNegativeInt, PositiveInt

ARCHIVE = "cifar-10-binary.tar.gz"
SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
SIZE = 170_052_171
FOLDER = "cifar-10-batches-bin"
FILES = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}
ROWS = 10_000  # of a file: a byte for the class, then the red, green and blue bytes of the image
ROW = 1 + 3 * 32 * 32
TIMEOUT = 10.0
"""Seconds the server may be silent."""

log = logging.getLogger(__name__)


class CIFAR10(DataModule):
    """60,000 small photographs, 32 x 32, in colour, ten classes.

    The files ``cifar-10-batches-bin/*.bin`` or the archive that they come in are looked for in
    ``root``, then the archive is downloaded from where torchvision has its own of the data. It is
    the authors' binary version, which holds bytes and no pickles; its SHA-256 is checked.

    References:
        Krizhevsky, Learning multiple layers of features from tiny images, 2009.

    Args:
        root: Folder of all data sets.
        cache: Folder for downloads.
        batch_size: Images of a minibatch over all devices.
        name: Name of the data set and of its folder.
        channels: 3.
        resolution: 32 pixels.
        num_classes: 10.
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
        name: str = "cifar10",
        channels: Literal[3] = 3,
        resolution: Literal[32] = 32,
        num_classes: Literal[10] = 10,
        flip: bool = False,
        shift: NonNegativeInt = 0,
        resident: bool = False,
    ) -> None:
        check_facts(
            channels=(channels, 3), resolution=(resolution, 32), num_classes=(num_classes, 10)
        )
        super().__init__(
            root,
            cache,
            batch_size=batch_size,
            name=name,
            shape=(3, 32, 32),
            num_classes=num_classes,
            flip=flip,
            shift=shift,
            resident=resident,
        )

    def write(self, writer: Writer) -> str:
        """Find the six files and write them as arrays."""
        files, source = find_files(self.root, self.cache)
        for split, names in FILES.items():
            rows = np.concatenate([records(files[name], f"{source}: {name}") for name in names])
            writer.save(f"{split}_image", rows[:, 1:].reshape(-1, 3, 32, 32))
            writer.save(f"{split}_label", rows[:, 0].astype(np.int64))
        return source

    def open(self, prepared: Prepared) -> dict[str, ImageSet]:
        """Name the splits train and test."""
        return {
            split: ImageSet(prepared.array(f"{split}_image"), prepared.array(f"{split}_label"))
            for split in FILES
        }


def records(data: bytes, where: object) -> NDArray[np.uint8]:
    """Split a file into its records.

    Args:
        data: The file.
        where: Its name, for the error.

    Returns:
        (N, 3073): the class, then the image, channel by channel and row by row.

    Raises:
        DataError: It has another size, or a class that does not exist.
    """
    if len(data) != ROWS * ROW:
        raise DataError(f"it has {len(data)} bytes, not {ROWS * ROW}", where=where)
    rows = np.frombuffer(data, np.uint8).reshape(ROWS, ROW)
    if rows[:, 0].max() > 9:
        raise DataError(f"it names class {rows[:, 0].max()} of 0 to 9", where=where)
    return rows


def find_files(root: Path, cache: Path) -> tuple[dict[str, bytes], str]:
    """Get the six files from the first place that has them.

    Args:
        root: Folder of all data sets.
        cache: Folder for downloads.

    Returns:
        The files by name, and the place.

    Raises:
        DataError: They are nowhere, or the archive is another one.
    """
    names = [name for files in FILES.values() for name in files]
    folder = root / FOLDER
    if all((folder / name).is_file() for name in names):
        return {name: _read(folder / name) for name in names}, str(folder)
    places = [root / ARCHIVE, cache / ARCHIVE]
    archive = next((place for place in places if place.is_file()), None) or download(root, cache)
    found = sha256_of(archive)
    if found != SHA256:
        what = f"SHA-256 of {ARCHIVE} is {found}, expected {SHA256}"
        raise DataError(what, where=archive, fix=f"rm {archive}")
    try:
        with tarfile.open(archive, "r:gz") as members:
            read: Callable = members.extractfile
            return {name: read(f"{FOLDER}/{name}").read() for name in names}, str(archive)
    except (tarfile.TarError, KeyError, AttributeError, OSError, EOFError, zlib.error) as error:
        raise DataError(f"not the archive it should be: {error}", where=archive) from error


def _read(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(ROWS * ROW + 1)


def download(root: Path, cache: Path) -> Path:
    """Download the archive into the cache.

    Args:
        root: Folder of all data sets, for the error.
        cache: Folder for downloads.

    Raises:
        DataError: It cannot be had; says where to put it.
    """
    import torchvision.datasets  # A second's import that only a first preparation needs.

    url = torchvision.datasets.CIFAR10.url.rpartition("/")[0] + f"/{ARCHIVE}"
    target, part = cache / ARCHIVE, cache / f".{ARCHIVE}.part"
    log.warning("cifar10: downloading %s (170 MB)", url)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        seen = hashlib.sha256()
        with (
            urllib.request.urlopen(url, timeout=TIMEOUT) as answer,  # noqa: S310
            part.open("wb") as stream,
            tqdm(total=SIZE, unit="B", unit_scale=True, desc=ARCHIVE) as bar,
        ):
            while stream.tell() <= SIZE and (piece := answer.read(2**20)):
                stream.write(piece)
                seen.update(piece)
                bar.update(len(piece))
        if seen.hexdigest() != SHA256:
            raise OSError(f"it sent something else, of SHA-256 {seen.hexdigest()}")
        os.replace(part, target)
    except (OSError, http.client.HTTPException) as error:
        part.unlink(missing_ok=True)
        raise DataError(
            f"CIFAR-10 could not be downloaded: {getattr(error, 'reason', None) or error}",
            where=url,
            fix=f"put {ARCHIVE} into {root}",
        ) from error
    return target
