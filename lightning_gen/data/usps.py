"""USPS: digits from the envelopes of the United States Postal Service.

Hull. A database for handwritten text recognition research. 1994, IEEE PAMI 16(5).
"""

import bz2
import io
import logging
import urllib.request
from hashlib import md5
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lightning_gen.data.arrays import Prepared, Writer
from lightning_gen.data.mnist import scaled
from lightning_gen.data.module import DataModule, ImageSet, check_facts
from lightning_gen.errors import DataError
from lightning_gen.types import NonNegativeInt, PositiveInt

FILES = {"train": "usps.bz2", "test": "usps.t.bz2"}
MAX_BYTES = 64 * 2**20
"""Largest file, decompressed: the whole training split has 22 MB of text."""
TIMEOUT = 10.0
"""Seconds the server may be silent."""

log = logging.getLogger(__name__)


class USPS(DataModule):
    """9,298 handwritten digits, 7,291 for training and 2,007 for testing, grey, ten classes.

    The files ``usps.bz2`` and ``usps.t.bz2`` (of LIBSVM's collection, as torchvision reads them)
    are looked for in ``root/usps``, ``cache/downloads`` and ``cache``, then downloaded. The digits
    have 16 x 16 pixels and are scaled up by Pillow's bicubic.

    References:
        Hull, A database for handwritten text recognition research, 1994, doi:10.1109/34.291440.

    Args:
        root: Folder of all data sets.
        cache: Folder for downloads.
        batch_size: Images of a minibatch over all devices.
        name: Name of the data set and of its folder.
        channels: 1.
        resolution: Pixels of a side.
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
        name: str = "usps",
        channels: Literal[1] = 1,
        resolution: Literal[28, 32] = 28,
        num_classes: Literal[10] = 10,
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

    def recipe(self) -> dict[str, Any]:
        """Size and kind of scaling."""
        return {"resolution": self.shape[-1], "scaled": "bicubic"}

    def write(self, writer: Writer) -> str:
        """Find both files, scale the digits and write them."""
        folder = find_folder(self.root, self.cache)
        for split, name in FILES.items():
            image, label = read_digits(folder / name)
            scaled_up = scaled(image, self.shape[-1], Image.Resampling.BICUBIC)
            writer.save(f"{split}_image", scaled_up[:, None])
            writer.save(f"{split}_label", label)
        return str(folder)

    def open(self, prepared: Prepared) -> dict[str, ImageSet]:
        """Name the splits train and test."""
        return {
            split: ImageSet(prepared.array(f"{split}_image"), prepared.array(f"{split}_label"))
            for split in FILES
        }


def read_digits(file: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read digits in LIBSVM's form: a line ``class index:value ...`` each, compressed.

    Classes are 1 to 10 and values -1 to 1, which become 0 to 9 and bytes as in torchvision.

    Args:
        file: ``usps.bz2`` or ``usps.t.bz2``.

    Returns:
        (N, 16, 16) bytes and (N,) labels.

    Raises:
        DataError: The file is damaged or holds something else.
    """
    from sklearn.datasets import load_svmlight_file

    try:
        with bz2.open(file) as stream:
            text = stream.read(MAX_BYTES + 1)
        if len(text) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES:,} bytes, decompressed")
        sparse, label = load_svmlight_file(io.BytesIO(text), n_features=256, zero_based=False)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"not USPS's digits: {error}", where=file, fix=f"rm {file}") from error
    value = sparse.toarray()
    if not len(value) or set(label) - set(range(1, 11)) or not (abs(value) <= 1).all():
        what = "not USPS's digits: classes must be 1 to 10, values -1 to 1"
        raise DataError(what, where=file, fix=f"rm {file}")
    level = ((value.astype(np.float32) + 1) / 2 * 255).astype(np.uint8)
    return level.reshape(-1, 16, 16), label.astype(np.int64) - 1


def find_folder(root: Path, cache: Path) -> Path:
    """The folder that holds both files; they are downloaded if none does.

    Args:
        root: Folder of all data sets.
        cache: Folder for downloads.

    Raises:
        DataError: They cannot be had; says where to put them.
    """
    places = [root / "usps", cache / "downloads", cache]
    for place in places:
        if all((place / name).is_file() for name in FILES.values()):
            return place
    try:
        return download(cache / "downloads")
    except (OSError, ValueError) as error:
        raise DataError(
            f"USPS could not be downloaded: {getattr(error, 'reason', None) or error}",
            where=", ".join(map(str, places)),
            fix=f"put {' and '.join(FILES.values())} into {root / 'usps'}",
        ) from error


def download(folder: Path) -> Path:
    """Download both files from where torchvision does, and compare their MD5 with its.

    Args:
        folder: Where they are put.

    Raises:
        OSError: The server does not answer.
        ValueError: It sends something else.
    """
    import torchvision.datasets  # A second's import that only a first preparation needs.

    folder.mkdir(parents=True, exist_ok=True)
    for split, name in FILES.items():
        url, _, expected = torchvision.datasets.USPS.split_list[split]
        log.warning("usps: downloading %s", url)
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:  # noqa: S310
            data = answer.read(MAX_BYTES)
        found = md5(data, usedforsecurity=False).hexdigest()
        if found != expected:
            raise ValueError(f"MD5 of {url} is {found}, expected {expected}")
        part = folder / f".{name}.part"
        part.write_bytes(data)
        part.replace(folder / name)
    return folder
