"""What the tests of faults share: processes, folders, damage, and figures for the record."""

import json
import shutil
import tempfile
from pathlib import Path

import pytest

from lightning_gen.runs.checkpoint import CheckpointStore
from tests.runs.conftest import config, popen, python  # noqa: F401

RESULTS = Path(__file__).parents[2] / "experiments" / "results" / "faults"


@pytest.fixture
def fast(tmp_path):
    """A folder in memory where there is one: syncing it costs nothing, and is still done."""
    memory = Path("/dev/shm")
    if not memory.is_dir():
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(dir=memory))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def store(tmp_path):
    return CheckpointStore(tmp_path / "checkpoints")


@pytest.fixture
def figure():
    """Keep what a long test measured of a goal, for the table of docs/FAULTS.md."""

    def keep(goal, held, tried, **more):
        RESULTS.mkdir(parents=True, exist_ok=True)
        facts = {"goal": goal, "held": held, "tried": tried, **more}
        (RESULTS / f"{goal}.json").write_text(json.dumps(facts, indent=2) + "\n")

    return keep
