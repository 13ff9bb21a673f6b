"""An error nobody foresaw is kept, with where to go on from (A9); so is one of memory (A10)."""

import json
import resource
from functools import partial
from pathlib import Path

import pytest
import torch

from tests.faults.hooks import PLAY, before
from tests.system.harness import CONTEXT, _run, only_run, tiny, train

BLOCK = "lightning_gen: error [1]: "


def _raises(overrides, error, log):
    import sys

    def fail(*args):
        raise error

    before(PLAY, 9, fail)
    with log.open("w") as sys.stderr:
        _run(overrides, None, {})


def raises(overrides, error, log):
    process = CONTEXT.Process(target=_raises, args=(overrides, error, log))
    process.start()
    process.join(120)
    return process.exitcode, log.read_text()


def test_A09_an_error_in_a_step(tmp_path, mnist_root):
    overrides = tiny("gan", tmp_path / "runs", mnist_root)
    code, shown = raises(overrides, ZeroDivisionError("bad step"), tmp_path / "log")
    run = only_run(tmp_path / "runs")
    assert code == 1
    assert f"{BLOCK}ZeroDivisionError: bad step" in shown and "Traceback" not in shown
    newest = max((run / "checkpoints").glob("*.ckpt"))
    assert f"where: {run}/error.log" in shown and str(newest) in shown
    assert "Traceback" in (run / "error.log").read_text()
    assert json.loads((run / "status.json").read_text())["state"] == "failed"
    lines = (run / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert max(row["iteration"] for row in rows) == 4, "every step before it is there"
    assert train(overrides) == 0


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), MemoryError()]
)
def test_A10_out_of_memory_says_what_to_make_smaller(error, tmp_path, mnist_root):
    overrides = tiny("gan", tmp_path / "runs", mnist_root)
    code, shown = raises(overrides, error, tmp_path / "log")
    assert code == 1
    assert f"{BLOCK}out of memory in a batch of 16 x 1 x 28 x 28" in shown
    assert "fix: data.batch_size=8, or model.accumulate=2" in shown
    assert not list((tmp_path / "runs").rglob("*.tmp~"))


def _limited(overrides, log):
    import sys

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before(PLAY, 9, partial(_limit, used + 50_000_000))
    with log.open("w") as sys.stderr:
        _run(overrides, None, {})


def _limit(size, *args):
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    torch.ones(500_000_000)


def test_A10_a_machine_without_memory(tmp_path, mnist_root):
    overrides = tiny("gan", tmp_path / "runs", mnist_root)
    process = CONTEXT.Process(target=_limited, args=(overrides, tmp_path / "log"))
    process.start()
    process.join(120)
    assert process.exitcode == 1
    assert "out of memory in a batch of 16" in (tmp_path / "log").read_text()
    assert train(overrides) == 0
