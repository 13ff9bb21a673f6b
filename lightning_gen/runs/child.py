"""A command of this program in a process of its own, whose failure leaves its caller alone."""

import signal
import subprocess
import sys
from collections.abc import Sequence
from types import FrameType

from lightning_gen.errors import Preempted

PASSED_ON = (signal.SIGTERM, signal.SIGUSR1)


def call(words: Sequence[str]) -> int:
    """Run ``lightning-gen WORDS`` and wait for it, whatever signals come.

    SIGTERM and SIGUSR1 are passed on, so that the child saves its state and ends; Ctrl-C reaches it
    from the terminal.

    Args:
        words: Verb and arguments.

    Returns:
        Its exit code, minus the signal's number if one killed it; that of a preempted run where a
        signal that was passed on came before the child could handle it.
    """
    child = subprocess.Popen([sys.executable, "-m", "lightning_gen", *words])
    passed: set[int] = set()

    def pass_on(number: int, frame: FrameType | None) -> None:
        passed.add(number)
        child.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in PASSED_ON}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        code = child.wait()
        return Preempted.exit_code if -code in passed else code
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
