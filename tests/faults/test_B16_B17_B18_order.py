"""Which checkpoint is the latest is said by the step inside it.

B16: one of a newer version asks for an upgrade and is not passed over. B17: names, copies and
modification times do not count. B18: nor do clocks and time zones.
"""

import os
import shutil

import pytest

from lightning_gen.errors import CheckpointError
from lightning_gen.runs import checkpoint
from lightning_gen.runs.checkpoint import CheckpointStore
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
