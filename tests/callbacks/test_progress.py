"""Bars are for those who look on: a terminal has all, a log one line a minute."""

import contextlib
import os
import sys
import termios
import threading

from lightning_gen.callbacks.progress import Progress
from lightning_gen.callbacks.scores import Scores
from lightning_gen.metrics.protocol import Evaluation
from tests.callbacks.conftest import Idle


class Asked:
    def __init__(self):
        self.progress = []

    def evaluate(self, model, data, *, progress, **how):
        self.progress.append(progress)
        return Evaluation([], {})


@contextlib.contextmanager
def terminal(shown):
    """A pseudo-terminal for stderr; what it shows is read as it comes, as a full one blocks."""
    main, other = os.openpty()
    termios.tcsetwinsize(other, (24, 100))

    def read():
        with contextlib.suppress(OSError):  # the other end was closed
            while True:
                shown.append(os.read(main, 4096).decode())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        with open(other, "w") as stderr, contextlib.redirect_stderr(stderr):
            yield
    finally:
        reader.join()
        os.close(main)


def trained(fit, ring, callbacks):
    asked = Asked()
    fit(Idle(None), ring, [Scores(every_images=None, n_fake=7), *callbacks], 50, asked)
    return asked.progress


def test_a_terminal_has_a_bar_that_moves_and_those_of_evaluations(fit, ring):
    shown = []
    with terminal(shown):
        assert sys.stderr.isatty()
        assert trained(fit, ring, [Progress(refresh=1e-9)]) == [True]
    assert "".join(shown).count("\r") > 10


def test_a_log_has_a_line_a_minute_and_no_passing_bars(fit, ring, tmp_path):
    with open(tmp_path / "log", "w") as stderr, contextlib.redirect_stderr(stderr):
        assert trained(fit, ring, [Progress(refresh=1e-9)]) == [False]
    text = (tmp_path / "log").read_bytes().decode()
    assert "training: 100%" in text
    assert text.count("\r") <= 3


def test_without_progress_nothing_is_drawn(fit, ring):
    shown = []
    with terminal(shown):
        assert trained(fit, ring, []) == [False]
    assert "training" not in "".join(shown)
