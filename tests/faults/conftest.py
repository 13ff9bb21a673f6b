"""What the tests of faults share: processes, folders, damage, and figures for the record."""

import shutil
import tempfile
from pathlib import Path

import pytest

from lightning_gen.runs.checkpoint import CheckpointStore
from tests.faults.obtained import keep
from tests.runs.conftest import config, popen, python  # noqa: F401


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
    return keep
