"""What the tests of faults share: processes, folders, damage, and figures for the record."""

import shutil
import tempfile
from contextlib import nullcontext
from pathlib import Path

import pytest

from lightning_gen.runs.checkpoint import CheckpointStore
from tests.faults.obtained import counted, keep
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


@pytest.fixture
def tally(request):
    """Count the cases of a goal that long tests try one by one."""
    slow = request.node.get_closest_marker("slow")
    return counted if slow else lambda *case: nullcontext()
