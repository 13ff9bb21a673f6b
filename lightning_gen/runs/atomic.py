"""Files that are either the old one or the new one, whole, whenever the process dies."""

import errno
import getpass
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lightning_gen.errors import OutputError

SUFFIX = ".tmp~"  # of files still being written; what a killed process leaves is swept by name


@contextmanager
def output_errors(path: Path, need: int = 0) -> Iterator[None]:
    """Turn the system's errors into one that names the path and what it lacks.

    Args:
        path: What is being written.
        need: Bytes it takes.

    Raises:
        OutputError: In place of any OSError.
    """
    try:
        yield
    except OSError as error:
        # getuser() of a user without a name: KeyError, an OSError since Python 3.13.
        try:
            user = getpass.getuser()
        except (KeyError, OSError):
            user = f"uid {os.getuid()}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            what = f"disk full writing {path} (need {need / 1e6:.1f} MB, free {_free(path)})"
            fix = "free some space, or choose another disk by paths.runs=DIR"
        else:
            what = f"cannot write to {path}: {(error.strerror or str(error)).lower()} (user {user})"
            fix = "choose a folder you can write to by paths.runs=DIR"
        raise OutputError(what, where=path, fix=fix) from error


def _free(path: Path) -> str:
    with suppress(OSError):
        return f"{shutil.disk_usage(path.parent).free / 1e6:.1f} MB"
    return "unknown"


def write(path: Path, data: bytes | memoryview) -> None:
    """Put a file in place, durably, or leave what was there.

    The bytes go to a file beside the target (on the same disk, whatever ``TMPDIR`` is), reach the
    disk, and take the target's name in one step of the file system.

    Args:
        path: The target; its folder exists.
        data: All of its content.

    Raises:
        OutputError: If the disk is full or the folder cannot be written; the old file is intact.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}{SUFFIX}")
    with output_errors(path, len(data)):
        try:
            with temporary.open("xb", buffering=0) as file:
                rest = memoryview(data)
                while rest:
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Put a JSON file in place, as :func:`write` does.

    Args:
        path: The target.
        value: Dictionaries, lists, strings, finite numbers, booleans and None.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    write(path, f"{text}\n".encode("utf-8", "backslashreplace"))


def sync_folder(folder: Path) -> None:
    """Make renames and new names in a folder durable.

    Args:
        folder: The folder.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> None:
    """Remove what killed writers left behind; only whoever holds the folder may call it.

    Args:
        folder: The folder; it need not exist.
    """
    for orphan in Path(folder).glob(f".*{SUFFIX}"):
        with suppress(FileNotFoundError):
            orphan.unlink()
