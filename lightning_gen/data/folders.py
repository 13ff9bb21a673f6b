"""Folders of pictures: what lies in them, how it is divided into splits, which files are bad."""

import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from lightning_gen.data.arrays import Writer
from lightning_gen.data.pictures import BadPicture, Policy, Source, decode_all, formats
from lightning_gen.errors import DataError
from lightning_gen.randomness import fold


class Listing(NamedTuple):
    """What lies in a folder."""

    pictures: list[str]
    """Paths relative to the folder, with "/", sorted."""
    sizes: list[int]
    """Their sizes in bytes."""
    refused: dict[str, str]
    """Files that are not read, each with the reason: links out of the folder or to nowhere."""
    ignored: int
    """Number of hidden files and of files that are not pictures."""


def list_pictures(folder: Path, key: str = "data.folder") -> Listing:
    """Find the pictures of a folder and of its sub-folders.

    Args:
        folder: Where to look; links inside it are followed only to files inside it.
        key: Of the configuration, which names the folder.

    Raises:
        DataError: There is no such folder.
    """
    if not folder.is_dir():
        raise DataError("there is no such folder", where=folder, fix=f"{key}=YOUR_PICTURES")
    found, refused, ignored, home, known = {}, {}, 0, folder.resolve(), formats()
    for here, folders, files in os.walk(folder):
        inside = Path(here).relative_to(folder).as_posix()
        links = {name for name in folders if os.path.islink(os.path.join(here, name))}
        for name in [*files, *links]:  # As text: as paths 200,000 of them take half a minute.
            relative = name if inside in {"."} else f"{inside}/{name}"
            suffix = os.path.splitext(name)[1].lower()
            if name.startswith(".") or (name not in links and suffix not in known):
                ignored += 1
                continue
            match _size(os.path.join(here, name), home):
                case int(size):
                    found[relative] = size
                case why:
                    refused[relative] = why
        folders[:] = [f for f in folders if not f.startswith(".")]
    pictures = sorted(found)
    return Listing(pictures, [found[name] for name in pictures], refused, ignored)


def _size(path: str, home: Path) -> int | str:
    """Size of a file in bytes, or the reason why it is not read."""
    state = os.lstat(path)
    if stat.S_ISLNK(state.st_mode):
        try:
            end = Path(path).resolve()
        except (OSError, RuntimeError):  # links in a circle, until Python 3.13
            return "is not a file"
        if not end.is_relative_to(home):
            return "is a link that leaves the folder"
        if end.is_dir():
            return "is a link to a folder"
        if not end.exists():
            return "is not a file"
        state = end.stat()
    return state.st_size if stat.S_ISREG(state.st_mode) else "is not a file"


def nothing_found(found: Listing, where: Path) -> DataError:
    """The error of a folder without pictures."""
    return DataError(
        f"no pictures in the folder ({found.ignored} ignored, {len(found.refused)} refused)",
        where=where,
        fix=f"files that end in one of {' '.join(sorted(formats()))}",
    )


def divide(
    names: Sequence[str],
    folders: Sequence[str],
    *,
    test_fraction: float,
    seed: int,
    where: Path,
) -> tuple[dict[str, list[str]], bool]:
    """Divide pictures among splits: by the folders they lie in, otherwise by a hash of their names.

    Args:
        names: Relative paths, with "/".
        folders: Names of the splits, "train" and "test" among them.
        test_fraction: Share of the test split, where no folders say it.
        seed: Of that choice.
        where: The folder, for errors.

    Returns:
        The names of each split that has any, and whether folders say it.

    Raises:
        DataError: Some pictures lie in folders of splits and some outside.

    Example:
        >>> where = Path("x")
        >>> divide(["test/0", "train/0"], ("train", "test"), test_fraction=0, seed=0, where=where)
        ({'train': ['train/0'], 'test': ['test/0']}, True)
    """
    by_folder = {s: [name for name in names if name.startswith(f"{s}/")] for s in folders}
    by_folder = {split: chosen for split, chosen in by_folder.items() if chosen}
    outside = sorted(set(names).difference(*by_folder.values()))
    if "train" in by_folder and len(by_folder) > 1 and outside:
        raise DataError(
            f"{len(outside)} pictures lie neither in {' nor in '.join(folders)}: {outside[0]} ...",
            where=where,
            fix="move them, or rename the folders if they are not splits",
        )
    if "train" in by_folder and not outside:
        return by_folder, True
    order = sorted(names, key=lambda name: fold(seed, "split", name))
    n_test = round(test_fraction * len(names))
    splits = {"train": sorted(order[n_test:]), "test": sorted(order[:n_test])}
    return {split: chosen for split, chosen in splits.items() if chosen}, False


class BadFiles:
    """Files that cannot be used, each with the reason; more than are allowed are an error.

    Args:
        where: The folder, for the error.
        allowed: Most that may be skipped.
        found: Those known already.

    Example:
        >>> bad = BadFiles("pictures", allowed=1)
        >>> bad.add({"pictures/a.png": "is no picture"})
        >>> bad.found
        {'pictures/a.png': 'is no picture'}
    """

    def __init__(self, where: object, allowed: int, found: Mapping[str, str] | None = None) -> None:
        self.where, self.allowed, self.found = where, allowed, dict(found or {})

    def add(self, found: Mapping[str, str]) -> None:
        """Skip some files more, if that is allowed."""
        self.found.update(found)
        self.check()

    def check(self) -> None:
        """Compare their number with what is allowed.

        Raises:
            DataError: They are more; names one.
        """
        if len(self.found) <= self.allowed:
            return
        file, why = list(self.found.items())[-1]
        if not self.allowed:
            raise DataError(f"{Path(file).name} {why}", where=file, fix="data.on_error=skip")
        raise DataError(
            f"{len(self.found)} bad files, data.max_skipped={self.allowed}; the last: {file} {why}",
            where=self.where,
            fix=f"data.max_skipped={2 * len(self.found)}",
        )


def write_pictures(
    writer: Writer, name: str, files: Sequence[Source], policy: Policy, bad: BadFiles
) -> NDArray[np.int64]:
    """Decode files into an array.

    Args:
        writer: Of the prepared folder.
        name: Of the array.
        files: The pictures.
        policy: How they become arrays.
        bad: Where those are put that cannot be used.

    Returns:
        (n,) which of the files are in the array.

    Raises:
        DataError: Too many are bad, or all.
    """
    shape = (policy.channels, policy.resolution, policy.resolution)
    decoded = (d if isinstance(d, str) else [d] for d in decode_all(files, policy))
    return write_decoded(writer, {name: shape}, [str(file) for file in files], decoded, bad)


def write_decoded(
    writer: Writer,
    arrays: Mapping[str, tuple[int, ...]],
    files: Sequence[str],
    decoded: Iterable[Sequence[NDArray[Any]] | str],
    bad: BadFiles,
) -> NDArray[np.int64]:
    """Write what is decoded, one row of each array at a time.

    Args:
        writer: Of the prepared folder.
        arrays: Names of the arrays, and the shapes of their rows.
        files: What was decoded, by the names for errors.
        decoded: Of each file the rows, one an array, or the reason why it cannot be used.
        bad: Where those are put that cannot be used.

    Returns:
        (n,) which of the files are in the arrays.

    Raises:
        DataError: Too many are bad, or all.
    """
    good: list[int] = []
    out = [writer.create(name, (len(files), *shape), np.uint8) for name, shape in arrays.items()]
    try:
        for at, rows in enumerate(tqdm(decoded, f"decoding {', '.join(arrays)}", len(files))):
            if isinstance(rows, str):
                bad.add({files[at]: rows})
                continue
            for place, row in enumerate(rows):
                out[place][len(good)] = row
            good.append(at)
    except BadPicture as error:
        raise DataError(str(error), where=bad.where) from error
    if not good:
        raise DataError(f"none of {len(files)} pictures can be used", where=bad.where)
    if len(good) < len(files):
        del out
        for name in arrays:
            writer.shorten(name, len(good))
    return np.array(good, dtype=np.int64)
