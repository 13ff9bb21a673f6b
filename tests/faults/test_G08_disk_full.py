"""G8: a history that cannot grow is named, and keeps the rows it has."""

import subprocess
import sys
from pathlib import Path

import pytest

from lightning_gen.errors import OutputError
from lightning_gen.runs.history import History, make_row, read


def rows_of(*iterations, kind="train"):
    return [make_row(kind, k, 64 * k, {"loss": k / 3}) for k in iterations]


@pytest.fixture
def python():
    """Run a script in a process of its own; what it asserts there fails here."""

    def run(script, *arguments):
        command = [sys.executable, "-c", script, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)

    return run


def test_G08_disk_full_is_named():
    history = History(Path("/dev/full"))
    with pytest.raises(OutputError, match="disk full writing /dev/full"):
        history.append(rows_of(1)[0])


def test_G08_a_row_that_does_not_fit_leaves_the_rows_before(tmp_path, python):
    script = """
import resource, sys
from pathlib import Path
from lightning_gen.errors import OutputError
from lightning_gen.runs.history import History, make_row
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
history = History(Path(sys.argv[1]))
try:
    for k in range(1000):
        history.append(make_row("train", k, k, {"loss": 0.5}))
except OutputError as error:
    print(k)
    sys.exit(error.exit_code)
"""
    done = python(script, tmp_path / "m.jsonl")
    assert done.returncode == 7
    assert len(list(read(tmp_path / "m.jsonl"))) == int(done.stdout) > 50
    assert (tmp_path / "m.jsonl").read_bytes().endswith(b"}\n")
