"""A run that is killed, and killed again, ends as if nothing had happened.

A1: at any moment; the same command resumes and ends bitwise like a run that nobody killed. A11:
also in an evaluation. A12: also when killed six times. A13: a run that is done is left as it is.
"""

import json

import pytest
import torch

from tests.suited import MODELS
from tests.system.harness import assert_same, only_run, outcome, tiny, train

PLAY = ("lightning_gen.players", "AlternatingModule", "descending")
EVALUATE = ("lightning_gen.callbacks.scores", "Scores", "measure")
SCORES = ("lightning_gen.runs.run", "Run", "record_scores")
SAVE = ("lightning_gen.runs.checkpoint", "CheckpointStore", "save")
PRUNE = ("lightning_gen.runs.checkpoint", "CheckpointStore", "_prune")
REPLACE = ("os", "", "replace")
LOG = ("lightning_gen.runs.run", "Run", "log")
SAMPLE = ("lightning_gen.runs.run", "Run", "picture")

# (function, its n-th call, after it): first the place, then the place after the first resume.
BEFORE, AFTER = False, True
PLACES = {
    "before the first step": [(*PLAY, 1, BEFORE), (*PLAY, 1, BEFORE)],
    "between the players": [(*PLAY, 8, BEFORE), (*PLAY, 2, BEFORE)],
    "as the first evaluation starts": [(*EVALUATE, 1, BEFORE), (*EVALUATE, 1, AFTER)],
    "between an evaluation and its scores": [(*SCORES, 1, BEFORE), (*SCORES, 1, AFTER)],
    "in the second evaluation": [(*EVALUATE, 2, AFTER), (*PLAY, 3, AFTER)],
    "before a checkpoint": [(*SAVE, 1, BEFORE), (*SAVE, 1, BEFORE)],
    "after a checkpoint and before the old one goes": [(*PRUNE, 2, BEFORE), (*PRUNE, 1, BEFORE)],
    "before a rename": [(*REPLACE, 12, BEFORE), (*REPLACE, 9, BEFORE)],
    "after a row of the history": [(*LOG, 7, AFTER), (*LOG, 3, AFTER)],
    "after the last sample": [(*SAMPLE, 4, AFTER), (*SAVE, 1, AFTER)],
}


def newest(run):
    """The last checkpoint's file."""
    return max((run / "checkpoints").glob("*.ckpt"))


def flat(value, key=""):
    """Every tensor and number of a payload by its path."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from flat(part, f"{key}.{name}")
    elif isinstance(value, (list, tuple)):
        for number, part in enumerate(value):
            yield from flat(part, f"{key}[{number}]")
    else:
        yield key, value


def same(a, b):
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def survive(model, root, mnist, whole, place):
    """Kill twice, finish, compare."""
    folder = root / f"{model}-{place.replace(' ', '-')}"
    overrides = tiny(model, folder, mnist)
    codes = [train(overrides, die=die) for die in PLACES[place]]
    codes.append(train(overrides))
    assert codes[0] == -9 and codes[-1] == 0, f"{place}: {codes}"
    run = only_run(folder)
    assert_same(whole, outcome(run))
    leftovers = [p.name for p in run.rglob("*") if "tmp" in p.name]
    assert not leftovers, place
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [row["iteration"] for row in rows if row["kind"] in {"train"}]
    assert steps == list(range(1, 10)), place


# Every model is killed everywhere; ordinarily every third, each at another place.
KILLS = [
    pytest.param(
        model, place, marks=[pytest.mark.slow] if i % 3 or (i // 3 - j) % len(PLACES) else []
    )
    for i, model in enumerate(MODELS)
    for j, place in enumerate(PLACES)
]
EXTENDED = [
    pytest.param(model, marks=[pytest.mark.slow] if i % 8 else []) for i, model in enumerate(MODELS)
]


@pytest.fixture(scope="module")
def unbroken(request, tmp_path_factory, mnist_root):
    """(model, folder, outcome) of a run that nothing disturbed."""
    root = tmp_path_factory.mktemp(request.param)
    assert train(tiny(request.param, root / "whole", mnist_root)) == 0
    whole = outcome(only_run(root / "whole"))
    assert whole["state"] == "finished" and whole["time"][0] == 9
    return request.param, root, whole


@pytest.mark.parametrize(("unbroken", "place"), KILLS, indirect=["unbroken"])
def test_A01_A11_A12_killed_twice(unbroken, mnist_root, place, tally):
    model, root, whole = unbroken
    with tally("R1", model, list(PLACES).index(place)):
        survive(model, root, mnist_root, whole, place)


CHAIN = [(*PLAY, 8), (*SAVE, 1), (*EVALUATE, 1), (*LOG, 3), (*PLAY, 3), (*SCORES, 1)]
CHAINED = [
    pytest.param(model, marks=[pytest.mark.slow] if i % 24 else [])
    for i, model in enumerate(MODELS)
]


@pytest.mark.parametrize("unbroken", CHAINED, indirect=True)
def test_A12_B22_killed_six_times(unbroken, mnist_root):
    model, root, whole = unbroken
    overrides = tiny(model, root / "chain", mnist_root)
    codes = [train(overrides, die=(*place, BEFORE)) for place in CHAIN]
    assert codes.count(-9) >= 5 and set(codes) <= {-9, 0}, codes
    assert train(overrides) == 0
    run = only_run(root / "chain")
    assert_same(whole, outcome(run))
    last, first = (
        torch.load(newest(only_run(folder)), weights_only=True)
        for folder in (root / "chain", root / "whole")
    )
    assert dict(flat(last)).keys() == dict(flat(first)).keys()
    for (key, value), (_, other) in zip(flat(last), flat(first), strict=True):
        assert same(value, other) or key.endswith(".device_hours"), f"B22: {key}"


@pytest.mark.parametrize("unbroken", EXTENDED, indirect=True)
def test_A13_a_finished_run_is_left_alone_and_a_larger_budget_extends_it(unbroken, mnist_root):
    model, root, _ = unbroken
    folder = root / "short"
    assert train(tiny(model, folder, mnist_root, iterations=6)) == 0
    run = only_run(folder)
    files = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in run.rglob("*") if p.is_file()}
    assert train(tiny(model, folder, mnist_root, iterations=6)) == 0
    assert files == {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in files}
    assert train(tiny(model, folder, mnist_root, iterations=9)) == 0
    extended, whole = outcome(only_run(folder)), unbroken[2]
    assert extended["tensors"].keys() == whole["tensors"].keys()
    for key, value in whole["tensors"].items():
        other = extended["tensors"][key]
        assert (value == other).all() if hasattr(value, "all") else value == other, key


def test_A13_a_budget_that_a_killed_run_had_reached_is_what_it_saw(tmp_path, mnist_root):
    rare = {"callbacks.history.every_images": 16 * 5}  # the last row is of iteration 5
    overrides = tiny("gan", tmp_path, mnist_root, **rare)
    assert train(overrides, die=(*SAVE, 3, AFTER)) == -9  # that of iteration 6
    assert train(tiny("gan", tmp_path, mnist_root, iterations=6, **rare)) == 0
    status = json.loads((only_run(tmp_path) / "status.json").read_text())
    assert (status["state"], status["iteration"], status["images_seen"]) == ("finished", 6, 96)
