"""B1: a disk that fills up is named with what is needed and free; the last checkpoint loads.

B2: a disk that is nearly full is refused before the data are touched.
"""

import os
import resource
import subprocess
from pathlib import Path

import pytest
import torch

from lightning_gen.errors import OutputError
from lightning_gen.runs import atomic
from lightning_gen.runs.checkpoint import CheckpointStore
from lightning_gen.runs.history import History, make_row, read
from tests.faults.stores import payload
from tests.system.harness import only_run, outcome, tiny, train


@pytest.fixture
def disk(tmp_path):
    """Make a file system of so many kB."""
    mounted = []

    def make(size):
        folder = tmp_path / "disk"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(folder)]
        if os.getuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
            pytest.skip("only root, where it may, can mount a small file system")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_small_disk_that_fills_up(disk):
    store = CheckpointStore(disk(1000), keep=10)
    with pytest.raises(OutputError, match=r"disk full writing .* \(need 0\.2 MB, free ") as caught:
        for k in range(1, 10):
            store.save({"k": k, "w": torch.full((50_000,), float(k))}, k, k)
    assert k > 2
    assert f"last good checkpoint: {store.folder}/{k - 1:012d}.ckpt" in str(caught.value)
    assert store.latest()[0]["k"] == k - 1
    assert len(list(store.folder.iterdir())) == k - 1, "no part of a file is left"


def test_a_run_goes_on_once_there_is_room(disk, tmp_path, mnist_root):
    folder = disk(60_000)
    overrides = tiny("dcgan", folder, mnist_root)
    assert train(overrides, die=("lightning_gen.players", *PLAY, 12, False)) == -9
    run = only_run(folder)
    filler = folder / "filler"
    with pytest.raises(OSError, match="No space"), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    assert train(overrides) == 7
    for checkpoint in (run / "checkpoints").iterdir():
        CheckpointStore(run / "checkpoints").load(checkpoint)
    filler.unlink()
    assert train(overrides) == 0
    assert outcome(run)["time"][0] == 9
    assert not [path for path in run.rglob("*") if path.name.endswith(atomic.SUFFIX)]


PLAY = ("AlternatingModule", "descending")


def test_B02_a_disk_that_is_nearly_full_is_refused_before_the_data(disk, tmp_path):
    folder = disk(200)  # kB: a configuration fits, four checkpoints do not
    data = tmp_path / "data"
    assert train(tiny("dcgan", folder, data)) == 7
    assert not data.exists()


def test_a_save_that_does_not_fit_names_the_last_good_one(store):
    good = store.save(payload(1), 1, 64)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(OutputError, match=r"cannot write to .*: file too large") as caught:
            store.save({"w": torch.zeros(100_000)}, 2, 128, best=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert f"last good checkpoint: {good}" in str(caught.value)
    assert list(store.folder.iterdir()) == [good]
    assert store.latest()[0]["k"] == 1


WRITE = """
import sys
from pathlib import Path
from lightning_gen.errors import OutputError
from lightning_gen.runs import atomic
try:
    atomic.write(Path(sys.argv[1]), b"new" * 50_000)
except OutputError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def test_file_size_limit_leaves_the_old(tmp_path, python):
    target = tmp_path / "file"
    target.write_bytes(b"old")
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))\n"
    done = python(limit + WRITE, target)
    assert done.returncode == 7
    assert "file too large" in done.stdout
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def rows_of(*iterations, kind="train"):
    return [make_row(kind, k, 64 * k, {"loss": k / 3}) for k in iterations]


def test_a_history_on_a_full_disk():
    history = History(Path("/dev/full"))
    with pytest.raises(OutputError, match="disk full writing /dev/full"):
        history.append(rows_of(1)[0])


def test_a_row_that_does_not_fit_leaves_the_rows_before(tmp_path, python):
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
