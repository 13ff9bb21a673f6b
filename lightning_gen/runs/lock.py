"""One process at a time in a run's folder."""

import json
import os
import socket
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout

from lightning_gen.errors import OutputError
from lightning_gen.runs import atomic


class RunLock:
    """An exclusive lock on a folder, freed by the system when its holder dies.

    Args:
        folder: The folder, which exists.

    Raises:
        OutputError: If another process holds it, with its pid and host, or it is not writable.
    """

    def __init__(self, folder: Path) -> None:
        self._holder = folder / ".lock.json"
        self._lock = FileLock(folder / ".lock", thread_local=False)
        with atomic.output_errors(folder):
            try:
                self._lock.acquire(timeout=0)
            except Timeout:
                raise OutputError(
                    f"{folder} is in use by {self._describe_holder()}",
                    where=folder,
                    fix="wait for it or stop it; for another run beside it, run.fresh=true",
                ) from None
        holder = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        try:
            atomic.write_json(self._holder, holder)
        except BaseException:
            self._lock.release()
            raise

    def _describe_holder(self) -> str:
        try:
            holder = json.loads(self._holder.read_text())
            return f"pid {holder['pid']} on {holder['host']} since {holder['since']}"
        except (OSError, ValueError, KeyError):
            return "another process"

    def release(self) -> None:
        """Give the folder back."""
        if self._lock.is_locked:
            with suppress(OSError):
                self._holder.unlink()
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()
