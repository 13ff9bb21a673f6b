"""A run that is asked to stop finishes its step, saves, and says with which code it ended.

A3: SIGTERM, at any time from the start of the command. A4: a second one while saving is ignored, a
third ends the process at once, and what was saved before is intact. A7: when SIGKILL follows before
the state is saved, the checkpoint before loads. A8: Ctrl-C likewise, with exit code 130.
"""

import json
import os
import random
import signal
import time

import pytest
import torch

from lightning_gen.cli import main
from lightning_gen.errors import Preempted
from lightning_gen.runs.checkpoint import CheckpointStore
from tests.faults.hooks import DATA, MODEL, PLAY, RESUME, SAVE, signalled
from tests.system.harness import CONTEXT, _run, assert_same, only_run, outcome, tiny, train

TERM, INT = signal.SIGTERM, signal.SIGINT
SLOW = pytest.mark.slow


def send(overrides, folder, signum, after_rows):
    """Train, send a signal once the history has some rows, and give the exit code."""
    process = CONTEXT.Process(target=_run, args=(overrides, None, {}))
    process.start()
    deadline = time.monotonic() + 120
    while process.is_alive() and time.monotonic() < deadline:
        files = list(folder.glob("*/*/metrics.jsonl"))
        if files and files[0].read_bytes().count(b'"train"') >= after_rows:
            os.kill(process.pid, signum)
            break
        time.sleep(0.005)
    process.join(120)
    return process.exitcode


@pytest.mark.parametrize(
    ("signum", "code", "state"),
    [
        (signal.SIGTERM, 75, "preempted"),
        (signal.SIGUSR1, 75, "preempted"),
        (signal.SIGINT, 130, "interrupted"),
    ],
)
def test_A03_A08_a_signal_ends_the_step_saves_and_the_same_command_continues(
    signum, code, state, tmp_path, mnist_root
):
    whole = tiny("wgan_gp", tmp_path / "whole", mnist_root, iterations=40)
    assert train(whole) == 0
    overrides = tiny("wgan_gp", tmp_path / "cut", mnist_root, iterations=40)
    assert send(overrides, tmp_path / "cut", signum, after_rows=6) == code
    run = only_run(tmp_path / "cut")
    assert json.loads((run / "status.json").read_text())["state"] == state
    payload = torch.load(sorted((run / "checkpoints").glob("*.ckpt"))[-1], weights_only=True)
    D, G = ({int(s["step"]) for s in payload["optimizers"][i]["state"].values()} for i in (0, 1))
    assert D == {2 * payload["iteration"]} and G == {payload["iteration"]}  # no torn pair
    assert train(overrides) == 0
    assert_same(outcome(only_run(tmp_path / "whole")), outcome(run))


@pytest.mark.parametrize("place", [MODEL, DATA, RESUME], ids=lambda place: place[-1])
@pytest.mark.parametrize(("signum", "code"), [(TERM, 75), (INT, 130)])
def test_A03_A08_a_signal_before_the_first_step(signum, code, place, tmp_path, mnist_root):
    overrides = tiny("gan", tmp_path, mnist_root, iterations=3)
    assert signalled(overrides, (place, 1, signum)) == code
    status = json.loads((only_run(tmp_path) / "status.json").read_text())
    assert status["state"] == {75: "preempted", 130: "interrupted"}[code]
    if place == RESUME:
        assert train(overrides) == 0


def test_A03_a_signal_while_torch_is_imported(popen, tmp_path, mnist_root):
    words = ["train", *tiny("gan", tmp_path, mnist_root)]
    process = popen("import sys; from lightning_gen.cli import main; sys.exit(main())", *words)
    assert "starting" in process.stdout.readline()
    process.send_signal(TERM)
    assert process.wait(60) == 75
    assert not list(tmp_path.rglob("*.ckpt"))


def test_A04_a_second_signal_while_saving_is_ignored(tmp_path, mnist_root):
    overrides = tiny("wgan_gp", tmp_path, mnist_root)
    assert signalled(overrides, (PLAY, 14, TERM), (SAVE, 3, TERM)) == 75
    payload, _ = CheckpointStore(only_run(tmp_path) / "checkpoints").latest()
    assert payload["iteration"] == 5, "the 14th turn is of the fifth step: two of D, one of G"


@pytest.mark.parametrize(
    ("signals", "code"),
    [([(PLAY, 14, TERM), (SAVE, 3, TERM), (SAVE, 3, TERM)], 143), ([(PLAY, 14, INT)] * 2, 130)],
    ids=["SIGTERM", "Ctrl-C"],
)
def test_A04_A08_insisting_ends_at_once_and_loses_nothing(signals, code, tmp_path, mnist_root):
    overrides = tiny("wgan_gp", tmp_path, mnist_root)
    assert signalled(overrides, *signals) == code
    store = CheckpointStore(only_run(tmp_path) / "checkpoints")
    assert store.latest()[0]["iteration"] == 4
    assert train(overrides) == 0


@pytest.mark.parametrize("seed", [*range(3), *(pytest.param(k, marks=SLOW) for k in range(3, 20))])
def test_A07_killed_soon_after_being_asked(seed, tmp_path, mnist_root):
    rng = random.Random(seed)
    overrides = tiny("wgan_gp", tmp_path, mnist_root)
    asked = (PLAY, rng.randrange(10, 27), TERM)
    code = signalled(overrides, asked, kill_after=rng.uniform(0, 0.1))
    assert code in {-9, 75}
    run = only_run(tmp_path)
    assert CheckpointStore(run / "checkpoints").latest()[0]["iteration"] >= 3
    assert train(overrides) == 0
    assert outcome(run)["time"][0] == 9


def test_A03_a_signal_that_a_library_turns_into_an_error_of_its_own(
    tmp_path, monkeypatch, mnist_root
):
    def build(config):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except Preempted as error:  # as Hydra does when a signal meets an import
            raise ImportError(repr(error)) from error

    monkeypatch.setattr("lightning_gen.runs.session.build_model", build)
    assert main(["train", *tiny("gan", tmp_path, mnist_root)]) == Preempted.exit_code
    assert json.loads((only_run(tmp_path) / "status.json").read_text())["state"] == "preempted"
