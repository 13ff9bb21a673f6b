"""metrics.jsonl: what was measured, a row a line, each step exactly once."""

import json
import math
import os
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning_gen.errors import CheckpointError
from lightning_gen.runs import atomic

SYNC_SECONDS = 5.0  # at most so much is lost when the machine dies; at SIGKILL, nothing


def make_row(
    kind: str, iteration: int, images_seen: int, values: Mapping[str, Any]
) -> dict[str, Any]:
    """Make a row that is valid JSON: a value that is not finite becomes null and is named.

    Args:
        kind: ``train``, ``eval``, ``collapse`` or ``system``.
        iteration: Steps trained.
        images_seen: Images consumed.
        values: Numbers, or scalars of any array library, by name.

    Example:
        >>> make_row("train", 1, 64, {"loss_D": 0.5, "loss_G": float("-inf")})["values"]
        {'loss_D': 0.5, 'loss_G': None}
        >>> make_row("train", 1, 64, {"loss_D": 0.5, "loss_G": float("-inf")})["nonfinite"]
        {'loss_G': '-inf'}
    """
    numbers = {
        name: value if value is None or isinstance(value, int) else float(value)
        for name, value in values.items()
    }
    nonfinite = {
        name: str(value)
        for name, value in numbers.items()
        if value is not None and not math.isfinite(value)
    }
    row: dict[str, Any] = {
        "kind": kind,
        "iteration": iteration,
        "images_seen": images_seen,
        "values": {name: None if name in nonfinite else v for name, v in numbers.items()},
    }
    return row | {"nonfinite": nonfinite} if nonfinite else row


def encode(row: Mapping[str, Any]) -> bytes:
    """Encode a row as one line of JSON in UTF-8.

    Args:
        row: The row.
    """
    line = json.dumps(row, ensure_ascii=False, allow_nan=False)
    return f"{line}\n".encode("utf-8", "backslashreplace")


def read(path: Path, kinds: Collection[str] | None = None) -> Iterator[dict[str, Any]]:
    """Read the rows of a history; a torn last line, of a killed process, is left out.

    Args:
        path: The file; a missing one has no rows.
        kinds: Only rows of these kinds.

    Yields:
        Rows in the order they were written.

    Raises:
        CheckpointError: If a line that is not the last is damaged.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                row = json.loads(line)
            except ValueError:
                raise CheckpointError(
                    f"line {number} of {path.name} is not JSON",
                    where=path,
                    fix=f"remove the line: sed -i {number}d {path}",
                ) from None
            if kinds is None or row["kind"] in kinds:
                yield row


class History:
    """A history open for appending; the caller holds the run's lock.

    A torn last line is cut off when opening.

    Args:
        path: The file, made if missing.

    Raises:
        OutputError: If it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._synced = time.monotonic()
        self._open()

    def _open(self) -> None:
        with atomic.output_errors(self.path):
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._file = os.open(self.path, flags, 0o666)
            self._size = os.fstat(self._file).st_size
            if self._size:
                self._repair()

    def _repair(self) -> None:
        """Cut after the last whole line."""
        end, whole = self._size, 0
        while end and not whole:
            start = max(0, end - 65536)
            whole = os.pread(self._file, end - start, start).rfind(b"\n") + 1
            end, whole = start, start + whole if whole else 0
        if whole != self._size:
            os.ftruncate(self._file, whole)
            self._size = whole

    def append(self, row: Mapping[str, Any]) -> None:
        """Append a row; it survives the process at once, and the machine within 5 s.

        Args:
            row: From :func:`make_row`.

        Raises:
            OutputError: If it cannot be written; the file then ends with the row before.
        """
        line = encode(row)
        with atomic.output_errors(self.path, len(line)):
            try:
                written = 0
                while written < len(line):
                    written += os.write(self._file, line[written:])
            except OSError:
                with suppress(OSError):
                    os.ftruncate(self._file, self._size)
                raise
            self._size += len(line)
            if time.monotonic() - self._synced >= SYNC_SECONDS:
                self.sync()

    def sync(self) -> None:
        """Make every row so far survive a power cut."""
        os.fsync(self._file)
        self._synced = time.monotonic()

    def rewind(self, iteration: int) -> dict[str, Any] | None:
        """Drop the rows after an iteration, in one step of the file system.

        Args:
            iteration: The last one to keep.

        Returns:
            The last row kept, if any.
        """
        rows = list(read(self.path))
        kept = [row for row in rows if row["iteration"] <= iteration]
        if len(kept) < len(rows):
            atomic.write(self.path, b"".join(map(encode, kept)))
            os.close(self._file)
            self._open()
        return kept[-1] if kept else None

    def close(self) -> None:
        """Make the rows durable and close the file; a second call does nothing."""
        if self._file >= 0:
            with atomic.output_errors(self.path):
                self.sync()
                os.close(self._file)
            self._file = -1
