"""A1, R3, R9: hundreds of SIGKILLs at random moments, and every run ends as if there were none.

R1 and R12 are the slow parts of test_A01_A11_A12_A13_killed.py and test_C09_same_twice.py; here are
R2, R3, R7, R8, R9 and R27. SOAK=1000 says how many kills and signals.
"""

import itertools
import json
import os
import random
import signal
import time

import pytest
import torch

from lightning_gen.errors import CheckpointError
from lightning_gen.runs import atomic
from lightning_gen.runs.checkpoint import CheckpointStore
from tests.faults.hooks import LOG
from tests.system.harness import CONTEXT, _run, assert_same, only_run, outcome, tiny, train

pytestmark = pytest.mark.slow
COUNT = int(os.environ.get("SOAK", "1000"))
MODELS = ["wgan_gp", "vae", "ddpm", "realnvp", "cyclegan"]
STEPS = 30


def killed_at_random(overrides, rng, pace):
    """Train until a random moment; give the exit code."""
    process = CONTEXT.Process(target=_run, args=(overrides, None, {}))
    process.start()
    process.join(rng.uniform(0.15, 1.2) * pace)
    if process.is_alive():
        process.kill()
        process.join()
    return process.exitcode


def look(folder):
    """Count what is not as it should be in a run that was just killed."""
    unreadable = 0
    for path in folder.rglob("*.ckpt"):
        try:
            CheckpointStore(path.parent).load(path)
        except CheckpointError:
            unreadable += 1
    orphans = [p for p in folder.rglob("*") if p.name.endswith(atomic.SUFFIX)]
    return unreadable, len(orphans) > 1


def test_R3_R8_R9_random_kills(tmp_path, mnist_root, figure):
    rng, kills, runs, equal, unreadable, littered = random.Random(0), 0, 0, 0, 0, 0
    unbroken, pace = {}, {}
    for model in itertools.cycle(MODELS):
        if kills >= COUNT:
            break
        if model not in unbroken:
            began = time.monotonic()
            whole = tiny(model, tmp_path / f"{model}-whole", mnist_root, iterations=STEPS)
            assert train(whole) == 0
            pace[model] = time.monotonic() - began
            unbroken[model] = outcome(only_run(tmp_path / f"{model}-whole"))
        folder = tmp_path / f"{model}-{runs}"
        overrides = tiny(model, folder, mnist_root, iterations=STEPS)
        while killed_at_random(overrides, rng, pace[model]) != 0:
            kills += 1
            bad, orphans = look(folder)
            unreadable, littered = unreadable + bad, littered + orphans
        runs += 1
        run = only_run(folder)
        assert_same(unbroken[model], outcome(run))
        equal += not [p for p in run.rglob("*") if p.name.endswith(atomic.SUFFIX)]
    figure("R3", equal, runs, kills=kills, unreadable=unreadable, littered=littered)
    figure("R9", equal, runs, kills=kills)
    assert not unreadable and not littered and equal == runs


@pytest.mark.parametrize("model", MODELS)
def test_R2_all_pairs(model, tmp_path, mnist_root, figure):
    whole = tiny(model, tmp_path / "whole", mnist_root)
    assert train(whole) == 0
    first, tried = outcome(only_run(tmp_path / "whole")), 0
    for one, two in itertools.combinations(range(1, 9), 2):
        overrides = tiny(model, tmp_path / f"{one}-{two}", mnist_root)
        codes = [
            train(overrides, die=(*LOG, one + 1, True)),
            train(overrides, die=(*LOG, two - one + 1, True)),
            train(overrides),
        ]
        assert codes[0] == -9 and codes[-1] == 0, codes
        assert_same(first, outcome(only_run(tmp_path / f"{one}-{two}")))
        tried += 1
    figure(f"R2_{model}", tried, tried)


def asked_to_stop(overrides, folder, rng):
    """SIGTERM at a random moment of training; give the exit code and the seconds it took."""
    process = CONTEXT.Process(target=_run, args=(overrides, None, {}))
    process.start()
    while process.is_alive() and not list(folder.glob("*/*/metrics.jsonl")):
        time.sleep(0.01)
    process.join(rng.uniform(0, 0.6))
    began = time.monotonic()
    if process.is_alive():
        os.kill(process.pid, signal.SIGTERM)
    process.join(120)
    return process.exitcode, time.monotonic() - began


def test_A03_R7_signals(tmp_path, mnist_root, figure):
    rng, took, torn = random.Random(0), [], 0
    for number in range(max(1, COUNT // 2)):
        folder = tmp_path / str(number)
        overrides = tiny("wgan_gp", folder, mnist_root, iterations=200)
        code, seconds = asked_to_stop(overrides, folder, rng)
        assert code in {0, 75}
        if code == 75:
            took.append(seconds)
        run = only_run(folder)
        for path in (run / "checkpoints").glob("*.ckpt"):
            payload = torch.load(path, weights_only=True)
            D, G = ({int(s["step"]) for s in o["state"].values()} for o in payload["optimizers"])
            torn += {2 * payload["iteration"]} != D or {payload["iteration"]} != G
        rows = (run / "metrics.jsonl").read_text().splitlines()
        last = max(json.loads(row)["iteration"] for row in rows) if rows else 0
        saved = CheckpointStore(run / "checkpoints").latest()
        assert last - (saved[0]["iteration"] if saved else 0) <= 1 or code == 0
    took.sort()
    p99 = took[min(len(took) - 1, int(0.99 * len(took)))]
    figure("R7", len(took), len(took), p99_seconds=round(p99, 2), torn_pairs=torn)
    assert not torn


def test_R27_goodput(tmp_path, mnist_root, figure):
    """Killed each minute, with a checkpoint each ten seconds: what is kept of the steps trained."""
    seconds, interval = float(os.environ.get("SOAK_SECONDS", "1800")), 60.0
    options = {"callbacks.checkpoint.every_minutes": 10 / 60}
    overrides = tiny("wgan_gp", tmp_path, mnist_root, iterations=10**7, **options)
    off = ("callbacks.scores", "callbacks.sample_grid", "callbacks.checkpoint.every_images")
    overrides = [word for word in overrides if not word.startswith(off)]
    overrides += [f"callbacks.{name}=null" for name in ("scores", "sample_grid", "collapse")]
    lost, began = 0, time.monotonic()
    while time.monotonic() - began < seconds:
        process = CONTEXT.Process(target=_run, args=(overrides, None, {}))
        process.start()
        process.join(interval)
        process.kill()
        process.join()
        run = only_run(tmp_path)
        *_, last = (run / "metrics.jsonl").read_bytes().splitlines()[:-1]
        saved = CheckpointStore(run / "checkpoints").latest()
        kept = saved[0]["iteration"] if saved else 0
        lost += json.loads(last)["iteration"] - kept
    share = kept / (kept + lost)
    figure("R27", kept, kept + lost, share=round(share, 3))
    assert share >= 0.9 or seconds < 600
