"""Signals, and numbers that are not finite."""

import json
import os
import signal
import time

import pytest
import torch

from tests.system.harness import (
    CONTEXT,
    _run,
    assert_same,
    only_run,
    outcome,
    tiny,
    train,
)


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
def test_a_signal_ends_the_step_saves_and_the_same_command_continues(
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


BAD = {
    "loss of G": ("lightning_gen.models.gan.dcgan", "non_saturating_loss", 4),
    "loss of D": ("lightning_gen.models.gan.dcgan", "discriminator_loss", 4),
}


def _planted(overrides, place, gradient_only):
    module, name, count = BAD[place]
    import importlib

    owner = importlib.import_module(module)
    original, calls = getattr(owner, name), [0]

    def bad(*args):
        calls[0] += 1
        loss = original(*args)
        if calls[0] == count:
            if gradient_only:  # a finite loss whose gradient is not
                loss.register_hook(lambda g: g * float("nan"))
            else:
                loss = loss * float("inf")
        return loss

    setattr(owner, name, bad)
    _run(overrides, None, {})


@pytest.mark.parametrize("gradient_only", [False, True], ids=["loss", "gradient"])
@pytest.mark.parametrize("place", BAD)
def test_what_is_not_finite_stops_before_the_optimiser(place, gradient_only, tmp_path, mnist_root):
    overrides = tiny("dcgan", tmp_path, mnist_root)
    process = CONTEXT.Process(target=_planted, args=(overrides, place, gradient_only))
    process.start()
    process.join(120)
    assert process.exitcode == 5
    run = only_run(tmp_path)
    status = json.loads((run / "status.json").read_text())
    assert status["state"] == "diverged" and "iteration 4" in status["reason"]
    assert place[-1] in status["reason"]
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert max(row["iteration"] for row in rows if row["kind"] in {"train"}) == 3
    for file in (run / "checkpoints").glob("*.ckpt"):
        payload = torch.load(file, weights_only=True)
        assert all(t.isfinite().all() for t in payload["model"].values())
    assert train(overrides) == 0  # what was bad was planted: the run goes on from its checkpoint


def test_a_rate_that_is_too_large_is_an_error_block(tmp_path, mnist_root):
    overrides = tiny("gan", tmp_path, mnist_root, **{"model.optimizers.G.lr": "1e30"})
    assert train(overrides) == 5


def test_an_allowed_change_of_the_rate_applies(tmp_path, mnist_root):
    assert train(tiny("dcgan", tmp_path, mnist_root, iterations=3)) == 0
    run = only_run(tmp_path)
    change = {"run.name": run.name, "model.optimizers.G.lr": 0.5}
    refused = tiny("dcgan", tmp_path, mnist_root, iterations=6, **change)
    assert train(refused) == 2
    assert train([*refused, "resume.allow=[model.optimizers.G.lr]"]) == 0
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rates = [row["values"]["lr_G"] for row in rows if row["kind"] in {"train"}]
    assert rates == [2e-4] * 3 + [0.5] * 3
