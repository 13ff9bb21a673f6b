"""Signals that reach a run at a known place of it."""

import importlib
import os
import time
from functools import partial

from tests.system.harness import CONTEXT, _run

PLAY = ("lightning_gen.players", "AlternatingModule", "descending")
EVALUATE = ("lightning_gen.callbacks.scores", "Scores", "measure")
SAVE = ("lightning_gen.runs.checkpoint", "CheckpointStore", "save")
SCORES = ("lightning_gen.runs.run", "Run", "record_scores")
LOG = ("lightning_gen.runs.run", "Run", "log")
DATA = ("lightning_gen.runs.session", "", "build_data")
MODEL = ("lightning_gen.runs.session", "", "build_model")
RESUME = ("lightning_gen.callbacks.checkpoint", "Checkpoint", "on_fit_start")


def before(place, count, act):
    """Have something done before the n-th call of a function in this process."""
    module, owner, name = place
    target = importlib.import_module(module)
    for part in filter(None, owner.split(".")):
        target = getattr(target, part)
    original, calls = getattr(target, name), [0]

    def hooked(*args, **kwargs):
        calls[0] += 1
        if calls[0] == count:
            act(*args)
        return original(*args, **kwargs)

    setattr(target, name, hooked)


def _signalled(overrides, signals, environment, reached):
    os.environ.update(environment)
    for place, count, signum in signals:
        before(place, count, partial(_send, reached, signum))
    _run(overrides, None, {})


def _send(reached, signum, *args):
    reached.set()
    os.kill(os.getpid(), signum)


def signalled(overrides, *signals, environment=None, kill_after=None):
    """Train in a process that sends itself signals, each (place, n-th call, signal).

    Args:
        overrides: Of ``lightning-gen train``.
        signals: Where they come.
        environment: Added to the child's.
        kill_after: Seconds from the first of the signals to SIGKILL.

    Returns:
        The exit code.
    """
    reached = CONTEXT.Event()
    arguments = overrides, signals, environment or {}, reached
    process = CONTEXT.Process(target=_signalled, args=arguments)
    process.start()
    if kill_after is not None:
        assert reached.wait(120)
        time.sleep(kill_after)
        process.kill()
    process.join(120)
    if process.is_alive():
        process.kill()
        raise TimeoutError(f"no end of {overrides}")
    return process.exitcode
