"""R26: a guard that is taken out of the product makes a test fail.

Each mutant is a copy of the package with one guard removed, and the test that must notice.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
RUNS, CALLBACKS = "lightning_gen/runs", "lightning_gen/callbacks"
SYSCALLS = "tests/faults/test_A02_B01_B03_B21_syscalls.py"
DAMAGED = "tests/faults/test_B05_B06_B07_damaged.py"
HOSTILE = "tests/faults/test_B11_B12_B14_hostile.py"
ORDER = "tests/faults/test_B16_B17_B18_order.py"
ROTATION = "tests/faults/test_A02_B21_rotation.py"
TWO = "tests/faults/test_B19_B20_two_runs.py"
SIGNALS = "tests/faults/test_A03_A04_A07_A08_signals.py"
NAN = "tests/faults/test_C01_C02_not_finite.py"
KILLED = "tests/faults/test_A01_A11_A12_A13_killed.py"
# name: file, what is there, what is put there, tests, those of them
MUTANTS = {
    "no fsync of the file": (
        f"{RUNS}/atomic.py", "                os.fsync(file.fileno())\n", "",
        SYSCALLS, "test_R4_syncs",
    ),
    "no fsync of the folder": (
        f"{RUNS}/atomic.py", "        sync_folder(path.parent)\n", "",
        SYSCALLS, "test_R4_syncs",
    ),
    "no replace": (
        f"{RUNS}/atomic.py", "os.replace(temporary, path)",
        "path.write_bytes(data); temporary.unlink()", SYSCALLS, "killed_at_every_call",
    ),
    "a half-written file stays": (
        f"{RUNS}/atomic.py", "                temporary.unlink()\n", "                pass\n",
        SYSCALLS, "failing_call_of_a_save",
    ),
    "the file being written lies in TMPDIR": (
        f"{RUNS}/atomic.py", "temporary = path.with_name(",
        "temporary = Path(os.environ.get('TMPDIR', '/tmp'), ", SYSCALLS, "beside_its_target",
    ),
    "no sum": (
        f"{RUNS}/checkpoint.py", "if data[-66:-2] != _hash(memoryview(data)).encode():",
        "if False:", DAMAGED, "random_byte_flips",
    ),
    "pickles run": (
        f"{RUNS}/checkpoint.py", '"cpu", weights_only=True)', '"cpu", weights_only=' + "False)",
        HOSTILE, "no_callable_is_called",
    ),
    "packed archives load": (
        f"{RUNS}/checkpoint.py", "        _refuse_packed(data)\n", "",
        HOSTILE, "unpacks_to_more",
    ),
    "no fall back": (
        f"{RUNS}/checkpoint.py", "                rejected.append(error.what)\n",
        "                raise\n", DAMAGED, "falls_back",
    ),
    "from scratch when all are bad": (
        f"{RUNS}/checkpoint.py", "        if not rejected:\n", "        if True:\n",
        DAMAGED, "all_bad",
    ),
    "the old goes first": (
        f"{RUNS}/checkpoint.py", "            atomic.write(path, data)\n",
        "            self._prune(iteration)\n            [p.unlink() for p, _ in before]\n"
        "            atomic.write(path, data)\n", SYSCALLS, "killed_at_every_call",
    ),
    "the best is not kept": (
        f"{RUNS}/checkpoint.py",
        "        kept |= {path for path, facts in [f for f in past if f[1].best][:1]}\n", "",
        ROTATION, "keeps_the_newest",
    ),
    "what cannot be read is deleted": (
        f"{RUNS}/checkpoint.py", "        for path, _ in known:\n",
        "        for path, _ in self._found():\n", ROTATION, "does_not_say",
    ),
    "the latest by time": (
        f"{RUNS}/checkpoint.py", "key=lambda f: f[1].iteration if f[1] else -1",
        "key=lambda f: f[0].stat().st_mtime", ORDER, "B17",
    ),
    "a newer version is passed over": (
        f"{RUNS}/checkpoint.py",
        "            except NewerCheckpointError:\n                raise\n", "",
        ORDER, "newer_schema",
    ),
    "no lock": (
        f"{RUNS}/lock.py", "self._lock.acquire(timeout=0)", "pass", TWO, "one_wins",
    ),
    "no rewind": (
        f"{RUNS}/session.py",
        '    run.rewind(newest[0]["iteration"] if newest else 0)\n', "", KILLED, "A12",
    ),
    "no seed of a step": (
        "lightning_gen/core.py",
        "torch.default_generator.manual_seed(seed)", "pass",
        KILLED, "A12",
    ),
    "the optimisers are not restored": (
        f"{RUNS}/state.py", "        optimizer.load_state_dict(state)\n", "",
        "tests/faults/test_B22_everything_is_restored.py", "",
    ),
    "the loss scale is not restored": (
        f"{RUNS}/state.py", '    trainer.precision_plugin.load_state_dict(payload["precision"])\n',
        "", "tests/faults/test_B22_everything_is_restored.py", "",
    ),
    "no finite check before a step": (
        f"{CALLBACKS}/finite_guard.py", "if math.isfinite((loss + norm).item()):", "if True:",
        NAN, "stops_before_the_optimiser",
    ),
    "no finite check of weights": (
        f"{CALLBACKS}/finite_guard.py", "if _norm(held)", "if True or _norm(held)",
        NAN, "a_weight_or_an_average",
    ),
    "what is not finite is saved": (
        f"{RUNS}/checkpoint.py", "if inexact and not allow_nonfinite and", "if False and",
        NAN, "never_saved",
    ),
    "signals are not heard before the first step": (
        "lightning_gen/cli/train.py", "with StopRequest(at_once=True):", "if True:",
        SIGNALS, "before_the_first_step",
    ),
    "a second signal is the end": (
        f"{RUNS}/preemption.py", "signal.SIGTERM: 3", "signal.SIGTERM: 2",
        SIGNALS, "second_signal_while_saving",
    ),
    "stopped without saving": (
        f"{CALLBACKS}/preemption.py", "                callback.save(trainer, pl_module)\n",
        "                pass\n", SIGNALS, "second_signal_while_saving",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """The package, its configuration and its tests, to be mutated one guard at a time."""
    folder = tmp_path_factory.mktemp("mutant")
    for name in ("lightning_gen", "conf", "experiments", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("conftest.py", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def passes(folder, tests, chosen):
    """Whether tests of the copy pass; none of them may be missing."""
    command = [sys.executable, "-m", "pytest", "-x", "-m", "not slow", "-p", "no:cacheprovider"]
    env = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*command, tests, "-k", chosen], cwd=folder, env=env, capture_output=True, text=True
    )
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    return done.returncode == 0


@pytest.mark.parametrize("name", MUTANTS)
def test_noticed(name, copied, figure):
    file, there, instead, tests, chosen = MUTANTS[name]
    path = copied / file
    whole = path.read_text()
    assert whole.count(there) == 1, "the guard is no longer where it was"
    path.write_text(whole.replace(there, instead))
    try:
        noticed = not passes(copied, tests, chosen)
    finally:
        path.write_text(whole)
    figure(f"R26_{name.replace(' ', '_')}", int(noticed), 1)
    assert noticed
