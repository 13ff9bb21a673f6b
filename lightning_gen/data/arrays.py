"""The one format on disk: a folder of ``.npy`` arrays and a ``meta.json`` that vouches for them.

A folder is prepared once, atomically: written beside its place, flushed to the disk, renamed. A
process that is killed half-way leaves nothing that could be taken for data; a second one that wants
the same folder waits for the first. Arrays are opened as read-only memory maps, without pickle.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import DTypeLike, NDArray

from lightning_gen.errors import DataError

SCHEMA = 1
META = "meta.json"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """A prepared folder whose files have the recorded sizes.

    Args:
        path: The folder.
        meta: Contents of its ``meta.json``.
    """

    path: Path
    meta: Mapping[str, Any]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the recipe and of every array's SHA-256, shape and type."""
        return self.meta["fingerprint"]

    def __contains__(self, name: str) -> bool:
        return name in self.meta["arrays"]

    def array(self, name: str) -> NDArray[Any]:
        """Open an array as a read-only memory map.

        Raises:
            DataError: The file's header is not what ``meta.json`` says.
        """
        file, entry = self.path / f"{name}.npy", self.meta["arrays"][name]
        try:
            array = np.load(file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise _damaged(file, str(error)) from error
        if list(array.shape) != entry["shape"] or str(array.dtype) != entry["dtype"]:
            found = f"{array.dtype}{list(array.shape)}"
            raise _damaged(file, f"it holds {found}, not {entry['dtype']}{entry['shape']}")
        return array

    def verify(self) -> None:
        """Read every byte and compare its SHA-256 with the recorded one.

        Raises:
            DataError: A file was altered.
        """
        for name, entry in self.meta["arrays"].items():
            file = self.path / f"{name}.npy"
            found = sha256_of(file)
            if found != entry["sha256"]:
                raise _damaged(file, f"its SHA-256 is {found}, expected {entry['sha256']}")


@dataclass
class Writer:
    """Where the arrays of a folder under construction are put.

    Args:
        path: The folder under construction.
        note: Facts for ``meta.json`` beside the arrays, e.g. the files that were skipped.
    """

    path: Path
    note: dict[str, Any] = field(default_factory=dict)

    def save(self, name: str, array: NDArray[Any]) -> None:
        """Write a whole array."""
        np.save(self.path / f"{name}.npy", np.ascontiguousarray(array), allow_pickle=False)

    def create(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Open a new array on disk, to be filled piece by piece."""
        file = self.path / f"{name}.npy"
        return np.lib.format.open_memmap(file, mode="w+", dtype=np.dtype(dtype), shape=shape)

    def shorten(self, name: str, n: int) -> None:
        """Keep the first n rows of an array."""
        file, other = self.path / f"{name}.npy", self.path / f"{name}.shorter.npy"
        np.save(other, np.load(file, mmap_mode="r", allow_pickle=False)[:n], allow_pickle=False)
        os.replace(other, file)


def read(folder: Path) -> Prepared:
    """Open a prepared folder and compare the sizes of its files with the recorded ones.

    Args:
        folder: The folder that :func:`prepare` made.

    Raises:
        DataError: The folder is missing, incomplete, truncated or of another schema.
    """
    try:
        meta = json.loads((folder / META).read_text())
    except FileNotFoundError as error:
        raise DataError("the data are not prepared", where=folder, fix=_fix(folder)) from error
    except (OSError, ValueError) as error:
        raise _damaged(folder / META, str(error)) from error
    if not isinstance(meta, dict) or meta.get("schema") != SCHEMA:
        raise _damaged(folder / META, f"its schema is not {SCHEMA}")
    if meta.get("fingerprint") != fingerprint(meta.get("recipe"), meta.get("arrays")):
        raise _damaged(folder / META, "its fingerprint is not that of its entries")
    for name, entry in meta["arrays"].items():
        file = folder / f"{name}.npy"
        if not file.is_file():
            raise _damaged(file, "it is missing")
        if file.stat().st_size != entry["bytes"]:
            raise _damaged(file, f"it has {file.stat().st_size} bytes, not {entry['bytes']}")
    return Prepared(folder, meta)


def prepare(
    folder: Path,
    recipe: Mapping[str, Any],
    write: Callable[[Writer], str],
    *,
    fresh: bool = False,
) -> Prepared:
    """Open a folder made by this recipe, or make it.

    A folder that is damaged or of another recipe is made anew and takes the old one's place; a
    folder that is whole is only read, so it may lie on a read-only disk.

    Args:
        folder: Where the arrays shall lie.
        recipe: All that decides what the arrays hold, as JSON.
        write: Fills a :class:`Writer` and says where the data came from.
        fresh: Make it anew in any case.

    Raises:
        DataError: The folder cannot be written, or whatever ``write`` raises.
    """
    if not fresh and (found := _usable(folder, recipe)):
        return found
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.parent / f".{folder.name}.lock")
        try:
            held = lock.acquire(timeout=0)
        except Timeout:
            log.warning("waiting for the process that prepares %s", folder)
            held, fresh = lock.acquire(), False
        with held:
            if not fresh and (found := _usable(folder, recipe)):
                return found
            return _build(folder, recipe, write)
    except OSError as error:
        raise DataError(
            f"the data cannot be prepared: {error.strerror or error}",
            where=error.filename or folder,
            fix="set paths.data to a folder with room where you may write",
        ) from error


def _build(folder: Path, recipe: Mapping[str, Any], write: Callable[[Writer], str]) -> Prepared:
    part, old = (folder.parent / f".{folder.name}.{end}" for end in ("part", "old"))
    for leftover in (part, old):  # The lock is ours: whoever wrote these is dead.
        if leftover.exists():
            shutil.rmtree(leftover)
    part.mkdir()
    try:
        writer = Writer(part)
        source = write(writer)
        arrays = {file.stem: _entry(file) for file in sorted(part.glob("*.npy"))}
        meta = {
            "schema": SCHEMA,
            "source": source,
            "recipe": dict(recipe),
            "arrays": arrays,
            "fingerprint": fingerprint(recipe, arrays),
            "note": writer.note,
        }
        (part / META).write_text(json.dumps(meta, indent=1))
        for path in (*part.iterdir(), part):
            _fsync(path)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    if folder.exists():
        os.replace(folder, old)
    os.replace(part, folder)
    _fsync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)
    return read(folder)


def _usable(folder: Path, recipe: Mapping[str, Any]) -> Prepared | None:
    if not folder.exists():
        return None
    try:
        found = read(folder)
    except DataError as error:
        log.warning("%s (%s): preparing it anew", error.what, error.where)
        return None
    return found if found.meta["recipe"] == json.loads(json.dumps(recipe)) else None


def fingerprint(recipe: Mapping[str, Any] | None, arrays: Mapping[str, Any] | None) -> str:
    """Hash a recipe and the entries of its arrays.

    Returns:
        64 hexadecimal digits.
    """
    text = json.dumps([SCHEMA, recipe, arrays], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_of(file: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _entry(file: Path) -> dict[str, Any]:
    array = np.load(file, mmap_mode="r", allow_pickle=False)
    return {
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "bytes": file.stat().st_size,
        "sha256": sha256_of(file),
    }


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fix(folder: Path) -> str:
    return f"lightning-gen prepare {folder.parent.name}"


def _damaged(file: Path, why: str) -> DataError:
    fix = f"{_fix(file.parent)} fresh=true"
    return DataError(f"prepared data are damaged: {why}", where=file, fix=fix)
