"""Turn picture files into arrays of bytes, by an explicit policy, trusting none of them.

This module is imported by the decoding processes, so it needs no more than Pillow and numpy.
"""

import io
import os
import warnings
import zipfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

SizePolicy = Literal["center_crop", "resize", "pad", "exact", "keep"]
ModePolicy = Literal["convert", "exact"]

# EPS would run Ghostscript on the file; the others are shells around decoders that Pillow lacks.
REFUSED_FORMATS = {"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG"}
CHUNK = 64
"""Pictures a process decodes at a time; a few chunks are decoded without starting processes."""
PATIENCE = 300.0
"""Seconds after which a decoding process that does not answer counts as hung."""
MAX_MEMBER_BYTES = 32 * 2**20
"""Largest picture that is read out of an archive."""


class BadPicture(Exception):
    """A file that is not a picture one can use, and why."""


@dataclass(frozen=True)
class Policy:
    """How a picture becomes an array.

    Args:
        channels: 1 for grey, 3 for RGB.
        resolution: Height and width in pixels.
        mode: "convert" other kinds (palettes, CMYK, 16 bits, transparency over white) or take
            only files that are "exact"ly 8-bit grey or RGB.
        size: "center_crop" the largest square and scale it, "resize" without regard to the aspect,
            "pad" with black to a square and scale it, take only files of the "exact" size, or
            "keep" the size of each.
    """

    channels: int
    resolution: int
    mode: ModePolicy
    size: SizePolicy

    def cropped(self, image: Image.Image) -> Image.Image:
        """What of a picture is to be scaled: all of it."""
        return image


@dataclass(frozen=True)
class CentreCrop(Policy):
    """A policy that keeps only the middle of a picture, as torchvision's CenterCrop finds it.

    Args:
        crop: Height and width of the middle in pixels.
    """

    crop: int

    def cropped(self, image: Image.Image) -> Image.Image:
        """The middle square of a picture."""
        if min(image.size) < self.crop:
            raise BadPicture(f"is {image.width} x {image.height}, less than data.crop={self.crop}")
        left, top = (round((side - self.crop) / 2) for side in image.size)
        return image.crop((left, top, left + self.crop, top + self.crop))


class Member(NamedTuple):
    """A picture in a zip archive, which is read where it is and never unpacked.

    Args:
        archive: The archive.
        name: Name of the picture in it.
    """

    archive: Path
    name: str

    def __str__(self) -> str:
        return f"{self.archive}/{self.name}"

    def open(self, mode: Literal["rb"]) -> io.BytesIO:
        """The bytes of the picture, read as those of a file are.

        Raises:
            BadPicture: There are none, or too many.
        """
        archive = _archive(self.archive)
        try:
            found = archive.getinfo(self.name)
        except KeyError:
            raise BadPicture("is not in the archive") from None
        if found.file_size > MAX_MEMBER_BYTES:
            raise BadPicture(f"has {found.file_size:,} bytes, more than {MAX_MEMBER_BYTES:,}")
        return io.BytesIO(archive.read(found))


Source = Path | Member


@lru_cache(maxsize=1)
def _archive(path: Path) -> zipfile.ZipFile:
    """An archive, opened once by each process: the table of 200,000 members takes a second."""
    return zipfile.ZipFile(path)


@cache
def formats() -> dict[str, str]:
    """File suffixes (lower case, with the dot) that can be read, and their formats."""
    Image.init()
    return {
        suffix: name
        for suffix, name in Image.registered_extensions().items()
        if name in Image.OPEN and name not in REFUSED_FORMATS
    }


@cache
def _tried() -> list[str]:
    """The formats in the order in which a file is tried for them: the usual ones first."""
    known = sorted(set(formats().values()))
    return sorted(known, key=lambda name: name not in {"JPEG", "PNG"})


def decode(path: Source, policy: Policy) -> NDArray[np.uint8]:
    """Read one picture (the first frame of an animation), turned as its EXIF data say.

    Args:
        path: The file or the member of an archive; its content, not its name, decides the format.
        policy: What is wanted.

    Returns:
        (C, H, W).

    Raises:
        BadPicture: It cannot be read, or the policy refuses it.
    """
    with reasons():
        return to_array(upright(path), policy)


@contextmanager
def reasons() -> Iterator[None]:
    """Make :class:`BadPicture` of all that can go wrong with a picture.

    Raises:
        BadPicture: Something did.
    """
    try:
        yield
    except BadPicture:
        raise
    except UnidentifiedImageError as error:
        raise BadPicture("is no picture: cannot identify its format") from error
    except Image.DecompressionBombWarning as error:
        raise BadPicture(f"decompression bomb: {error}") from error
    except Exception as error:  # Decoders raise all sorts on hostile bytes; each is this file's.
        raise BadPicture(f"{type(error).__name__}: {error}") from error


def upright(path: Source) -> Image.Image:
    """Read a picture (the first frame of an animation), turned as its EXIF data say."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with (
            path.open("rb") as stream,
            Image.open(stream, formats=_tried()) as file,
        ):
            return ImageOps.exif_transpose(file)


def to_array(image: Image.Image, policy: Policy) -> NDArray[np.uint8]:
    """Convert and scale a picture to bytes (C, H, W)."""
    image = _OF_MODE[policy.mode](image, {1: "L", 3: "RGB"}[policy.channels])
    image = _OF_SIZE[policy.size](policy.cropped(image), (policy.resolution, policy.resolution))
    return np.ascontiguousarray(np.atleast_3d(np.asarray(image)).transpose(2, 0, 1))


def _exact_mode(image: Image.Image, wanted: str) -> Image.Image:
    if image.mode != wanted or image.has_transparency_data:
        channels = len(image.getbands())
        kind = f"{image.mode}{' with transparency' * image.has_transparency_data}"
        raise BadPicture(f"is {kind}, {channels} channels; data.mode=exact takes only {wanted}")
    return image


def _converted(image: Image.Image, wanted: str) -> Image.Image:
    if image.mode.startswith("I;16"):
        wide = np.asarray(image).astype(np.uint32)
        image = Image.fromarray(((wide + 128) // 257).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise BadPicture(f"has 32-bit pixels (mode {image.mode}) whose range is not known")
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(wanted)


def _exact_size(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    if image.size != size:
        found = f"{image.width} x {image.height}"
        raise BadPicture(f"is {found}; data.size=exact takes only {size[0]} x {size[1]}")
    return image


_OF_MODE: dict[str, Callable[[Image.Image, str], Image.Image]] = {
    "convert": _converted,
    "exact": _exact_mode,
}
_OF_SIZE: dict[str, Callable[[Image.Image, tuple[int, int]], Image.Image]] = {
    "center_crop": partial(ImageOps.fit, method=Image.Resampling.LANCZOS),
    "resize": partial(Image.Image.resize, resample=Image.Resampling.LANCZOS),
    "pad": partial(ImageOps.pad, method=Image.Resampling.LANCZOS),
    "exact": _exact_size,
    "keep": lambda image, size: image,
}


def _decode_chunk(paths: Sequence[Any], policy: Any, read: Callable[[Any, Any], Any]) -> list[Any]:
    decoded: list[Any] = []
    for path in paths:
        try:
            decoded.append(read(path, policy))
        except BadPicture as error:
            decoded.append(str(error))
    return decoded


def decode_all(
    paths: Sequence[Any], policy: Any, read: Callable[[Any, Any], Any] = decode
) -> Iterator[Any]:
    """Decode files in order, on all cores when there are many.

    Args:
        paths: The files.
        policy: What is wanted.
        read: What decodes one file by the policy, a function of a module that imports no torch.

    Yields:
        What ``read`` makes of each file (an array (C, H, W)), or the reason why it cannot be used.

    Raises:
        BadPicture: A decoding process was killed or hangs; the files it may have been at are named.
    """
    chunks = [paths[i : i + CHUNK] for i in range(0, len(paths), CHUNK)]
    workers = min(_cores(), len(chunks) // 4)
    if workers < 2:
        try:
            for chunk in chunks:
                yield from _decode_chunk(chunk, policy, read)
        finally:
            _archive.cache_clear()  # Which closes it.
        return
    # Spawned, not forked: the parent may hold threads and a GPU.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        ahead: deque[Future[list[Any]]] = deque()
        done = 0
        try:
            for chunk in [*chunks, *[[]] * 2 * workers]:  # Empty ones push the last ones out.
                ahead.append(pool.submit(_decode_chunk, chunk, policy, read))
                if len(ahead) > 2 * workers:
                    decoded = ahead.popleft().result(PATIENCE)
                    yield from decoded
                    done += len(decoded)
        except (BrokenProcessPool, TimeoutError) as error:
            for process in list(pool._processes.values()):
                process.kill()  # one that hangs would be waited for
            slow = isinstance(error, TimeoutError)
            what = f"has not answered for {PATIENCE:g} s" if slow else "was killed"
            where = f"{paths[done]} or one of {2 * workers * CHUNK} files after it"
            raise BadPicture(f"a decoding process {what} at {where}") from None


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
