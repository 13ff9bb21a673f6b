"""Being asked to stop: a flag for the loop, and a place in SLURM's queue for later."""

import logging
import os
import signal
import subprocess
import threading
from collections import Counter
from types import FrameType
from typing import Any, ClassVar, Self

from lightning_gen.errors import Interrupted, Preempted

_log = logging.getLogger(__name__)


class StopRequest:
    """Notes SIGTERM, SIGUSR1 and Ctrl-C while it is entered; the loop looks when a step is whole.

    The first signal only sets :attr:`signum`. Further ones do not disturb the saving, until
    someone insists: the second Ctrl-C and the third SIGTERM end the process at once, without
    clean-up, which checkpoints and history survive by design.

    Args:
        at_once: Raise at the first signal instead, where there is no step to finish.

    Raises:
        Preempted: At SIGTERM and SIGUSR1, with ``at_once``.
        Interrupted: At Ctrl-C, with ``at_once``.

    Example:
        >>> with StopRequest() as stop:
        ...     os.kill(os.getpid(), signal.SIGTERM)
        ...     stop.signum == signal.SIGTERM, stop.is_interrupt(stop.signum)
        (True, False)
    """

    LIMITS: ClassVar[dict[int, int]] = {signal.SIGINT: 2, signal.SIGTERM: 3}
    asked: ClassVar[int | None] = None  # with at_once; whoever swallowed the error, it is known
    SIGNALS: ClassVar[tuple[int, ...]] = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)

    def __init__(self, at_once: bool = False) -> None:
        self.at_once = at_once
        self.signum: int | None = None
        self._counts: Counter[int] = Counter()
        self._before: dict[int, Any] = {}
        self._requeued = False

    def __enter__(self) -> Self:
        """Install the handlers, in the main thread; elsewhere Python allows none."""
        if self.at_once:
            StopRequest.asked = None
        if threading.current_thread() is threading.main_thread() and not self._before:
            self._before = {s: signal.signal(s, self._handle) for s in self.SIGNALS}
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Give the handlers back; a second call does nothing."""
        while self._before:
            # None stands for a handler that was not installed from Python.
            signum, handler = self._before.popitem()
            signal.signal(signum, signal.SIG_DFL if handler is None else handler)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        self._counts[signum] += 1
        if self._counts[signum] == self.LIMITS.get(signum):
            os._exit(128 + signum)
        if self.signum is None:
            self.signum = signum
            if self.at_once:
                StopRequest.asked = signum
                raise self.ending(signum, "asked to stop before the first step")

    @classmethod
    def ending(cls, signum: int, what: str, where: object = None) -> Preempted | Interrupted:
        """Make the error that ends the program with the exit code of a signal.

        Args:
            signum: The signal.
            what: What happened.
            where: The run.
        """
        kind = Interrupted if cls.is_interrupt(signum) else Preempted
        return kind(what, where=where, fix="run the same command to continue")

    @staticmethod
    def is_interrupt(signum: int) -> bool:
        """Whether a signal is Ctrl-C.

        Args:
            signum: The signal.
        """
        return signum == signal.SIGINT

    def requeue(self, signum: int | None = None) -> bool:
        """Put a SLURM job back in the queue when SLURM's warning (SIGUSR1) is why it stops.

        Call it once the state is durable, on rank 0. A failure is a warning: the state is saved.

        Args:
            signum: Why it stops, when another rank was told; by default :attr:`signum`.

        Returns:
            Whether the job is in the queue again.
        """
        job = os.environ.get("SLURM_JOB_ID")
        if job is None or (signum or self.signum) != signal.SIGUSR1 or self._requeued:
            return self._requeued
        if "SLURM_ARRAY_JOB_ID" in os.environ and "SLURM_ARRAY_TASK_ID" in os.environ:
            job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
        try:
            subprocess.run(
                ["scontrol", "requeue", job], capture_output=True, text=True, timeout=30, check=True
            )
        except subprocess.CalledProcessError as error:
            reason = error.stderr.strip() or f"scontrol gave {error.returncode}"
        except (OSError, subprocess.TimeoutExpired) as error:
            reason = str(error)
        else:
            self._requeued = True
            return True
        _log.warning(
            "lightning_gen: could not requeue job %s: %s; the state is saved, submit it again",
            job,
            reason,
        )
        return False
