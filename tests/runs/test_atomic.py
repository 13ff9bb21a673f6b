import pytest

from lightning_gen.errors import OutputError
from lightning_gen.runs import atomic


def test_writes_and_replaces(tmp_path):
    target = tmp_path / "a.json"
    for value in ({"x": 1}, {"x": "é\u2028", "y": [None, 1.5]}):
        atomic.write_json(target, value)
        assert list(tmp_path.iterdir()) == [target]
    assert "é" in target.read_text("utf-8")


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "folder").write_text("")
    with pytest.raises(OutputError, match=r"cannot write to .*folder/a: not a directory"):
        atomic.write(tmp_path / "folder" / "a", b"")


def test_sweep_takes_only_its_own(tmp_path):
    for name in (".a.json.1-ab.tmp~", "a.tmp", ".hidden", "b.tmp~"):
        (tmp_path / name).touch()
    atomic.sweep(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"a.tmp", ".hidden", "b.tmp~"}
    atomic.sweep(tmp_path / "missing")


def test_no_torch(python):
    rooms = "atomic, history, identity, lock, preemption, provenance, run"
    script = f"import sys; from lightning_gen.runs import {rooms}; sys.exit('torch' in sys.modules)"
    assert python(script).returncode == 0
