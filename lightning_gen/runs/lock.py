"""One process at a time in a run's folder."""

import json
import os
import socket
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout

from lightning_gen.errors import OutputError
from lightning_gen.runs import atomic


class InUseError(OutputError):
    """Another process has the run."""


class RunLock:
    """An exclusive lock on a folder, freed by the system when its holder dies.

    Args:
        folder: The folder, which exists.

    Raises:
        InUseError: If another process holds it, with its pid and host.
        OutputError: If it is not writable.
    """

    def __init__(self, folder: Path) -> None:
        self._holder = folder / ".lock.json"
        self._lock = FileLock(folder / ".lock", thread_local=False)
        with atomic.output_errors(folder):
            try:
                self._lock.acquire(timeout=0)
            except Timeout:
                raise InUseError(
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
        """Who holds the lock; one that has just taken it says so in a moment."""
        for _ in range(10):
            with suppress(OSError, ValueError, KeyError):
                holder = json.loads(self._holder.read_text())
                if holder["host"] != socket.gethostname() or _is_alive(holder["pid"]):
                    return f"pid {holder['pid']} on {holder['host']} since {holder['since']}"
            time.sleep(0.1)
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


def _is_alive(pid: int) -> bool:
    """Whether a process of this host is there: the note of one that was killed stays behind."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True
