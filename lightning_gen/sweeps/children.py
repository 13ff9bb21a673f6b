"""Processes that a sweep waits for, and that hear every signal it gets."""

import subprocess
from contextlib import suppress
from types import FrameType
from typing import Any

from lightning_gen.errors import Interrupted, LightningGenError, Preempted
from lightning_gen.runs.preemption import StopRequest

STOPPED = {Preempted.exit_code, Interrupted.exit_code}


class Children(StopRequest):
    """Passes SIGTERM, SIGUSR1 and Ctrl-C on to the processes it started, and remembers them.

    The processes are out of reach of the terminal's Ctrl-C, which would come to them twice, and
    twice means at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        """Start a process.

        Args:
            command: Program and arguments.
            options: Of :class:`subprocess.Popen`.
        """
        process = subprocess.Popen(command, start_new_session=True, **options)
        self.processes.append(process)
        if self.signum is not None:  # it came while the process was being started
            process.send_signal(self.signum)
        return process

    def tell(self, signum: int) -> None:
        """Send a signal to every process that still runs."""
        for process in self.processes:
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    process.send_signal(signum)

    def stop(self, signum: int) -> None:
        """Stop as if the signal had come from outside."""
        if self.signum is None:
            self.signum = signum
            self.tell(signum)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        self.tell(signum)
        super()._handle(signum, frame)

    def error(self) -> LightningGenError:
        """What a sweep that was asked to stop ends with."""
        stopped = Interrupted if self.signum and self.is_interrupt(self.signum) else Preempted
        return stopped("the sweep was asked to stop", fix="the same command continues it")
