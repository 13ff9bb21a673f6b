"""Which checkpoint is the latest is said by the step inside it.

B16: one of a newer version asks for an upgrade and is not passed over. B17: names, copies and
modification times do not count. B18: nor do clocks and time zones.
"""

import os
import shutil
from datetime import UTC, datetime

import pytest

from lightning_gen.errors import CheckpointError
from lightning_gen.runs import checkpoint
from lightning_gen.runs.checkpoint import CheckpointStore
from lightning_gen.runs.run import Run
from tests.faults.stores import payload


def test_B16_newer_schema_asks_for_an_upgrade_and_is_not_passed_over(store, monkeypatch):
    store.save(payload(1), 1, 64)
    with monkeypatch.context() as later:
        later.setattr(checkpoint, "SCHEMA", 2)
        later.setattr(checkpoint, "__version__", "9.0")
        store.save(payload(2), 2, 128)
    with pytest.raises(CheckpointError, match=r"was written by 9\.0, this is ") as caught:
        store.latest()
    assert "upgrade" in caught.value.fix


def test_B17_order_is_by_the_step_inside(store, tmp_path):
    store = CheckpointStore(store.folder, keep=4)
    paths = [store.save(payload(k), k, 64 * k) for k in (1, 2, 3, 4)]
    for k, path in enumerate(paths):
        os.utime(path, (10_000 - k, 10_000 - k))
    assert store.latest()[0]["k"] == 4
    shutil.copytree(store.folder, tmp_path / "copy")
    for path, name in zip(paths, ["d.ckpt", "b.ckpt", "c.ckpt", "a.ckpt"], strict=True):
        os.rename(tmp_path / "copy" / path.name, tmp_path / "copy" / name)
    assert CheckpointStore(tmp_path / "copy").latest()[0]["k"] == 4


CLOCKS = """
import datetime, sys, time
from pathlib import Path
from lightning_gen.runs.run import Run
time.tzset()
config = {"seed": 0, "experiment_name": "tiny", "paths": {"runs": sys.argv[1]}}
run = Run.open(config, command=["x"])
now = time.time
for k, shift in enumerate((0, -86400 * 400, 86400 * 400, -3600), int(sys.argv[2])):
    time.time = lambda shift=shift: now() + shift
    run.log("train", k, k, {"loss": 0.5})
    run.checkpoints.save({"k": k}, k, k)
    run.set_status("running", iteration=k, images_seen=k)
print(run.status["updated"])
run.close()
"""


def test_B18_a_clock_that_jumps_and_another_time_zone(python, tmp_path):
    zones = ["Pacific/Kiritimati", "America/Los_Angeles", "UTC", "XYZ-99"]
    for count, zone in enumerate(zones):
        before = datetime.now(UTC).replace(microsecond=0)
        done = python(CLOCKS, tmp_path, 1 + 4 * count, env={**os.environ, "TZ": zone})
        assert done.returncode == 0, done.stderr
        said = datetime.fromisoformat(done.stdout.strip())
        assert before <= said <= datetime.now(UTC), "in UTC, whatever the zone"
        run = Run.read(tmp_path / "tiny" / os.listdir(tmp_path / "tiny")[0])
        assert run.checkpoints.latest()[0]["k"] == 4 * (count + 1)
    assert [row["iteration"] for row in run.history()] == list(range(1, 17))
