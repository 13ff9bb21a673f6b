"""R20: no input to a metric ends the process, or gives a number that is none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.obtained import write

ROOT = Path(__file__).parents[2]


def survive(count, seed, folder):
    """Run so many hostile inputs in a process of its own."""
    command = [sys.executable, "-m", "tests.faults.hostile_metrics", str(count), str(seed)]
    return subprocess.run(
        [*command, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )


def test_R20_fifty_hostile_inputs(tmp_path):
    done = survive(50, 0, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) >= 50


@pytest.mark.slow
def test_R20_a_thousand_hostile_inputs(tmp_path):
    done = survive(1000, 1, tmp_path)
    ended = done.returncode == 0
    write(
        "R20",
        "0 process aborts over 1,000 hostile inputs to the metrics",
        f"{done.stdout.strip() or 0} inputs, {'no' if ended else 'an'} abort, "
        "each a finite number or a reason why there is none",
        count=int(done.stdout or 0),
        failures=0 if ended else 1,
    )
    assert ended, done.stderr[-3000:]
