import os
import shutil

import pytest

from lightning_gen.errors import OutputError
from lightning_gen.runs import atomic

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
CALLS = {"write": "write", "fsync": "fsync", "rename": "?rename,?renameat,?renameat2"}
needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None
    or os.system("strace -o /dev/null -e trace=none true 2>/dev/null") != 0,
    reason="strace, or the permission to trace, is missing",
)


def inject(python, target, call, what, when):
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    fault = f"inject={CALLS[call]}:{what}:when={when}"
    return python(WRITE, target, env=env, prefix=["strace", "-f", "-o", "/dev/null", "-e", fault])


def test_writes_and_replaces(tmp_path):
    target = tmp_path / "a.json"
    for value in ({"x": 1}, {"x": "é\u2028", "y": [None, 1.5]}):
        atomic.write_json(target, value)
        assert list(tmp_path.iterdir()) == [target]
    assert "é" in target.read_text("utf-8")


@needs_strace
@pytest.mark.parametrize("call, when", [("write", 1), ("fsync", 1), ("rename", 1), ("fsync", 2)])
def test_killed_at_every_call_leaves_old_or_new(tmp_path, python, call, when):
    target = tmp_path / "file"
    target.write_bytes(b"old")
    assert inject(python, target, call, "signal=SIGKILL", when).returncode == -9
    replaced = (call, when) == ("fsync", 2)
    assert target.read_bytes() == (b"new" * 50_000 if replaced else b"old")
    assert len(list(tmp_path.iterdir())) == (1 if replaced else 2)
    atomic.sweep(tmp_path)
    assert list(tmp_path.iterdir()) == [target]


@needs_strace
@pytest.mark.parametrize(
    "call, when, error",
    [
        ("write", 1, "ENOSPC"),
        ("write", 1, "EIO"),
        ("fsync", 1, "EIO"),
        ("fsync", 1, "ENOSPC"),
        ("rename", 1, "EIO"),
    ],
)
def test_failing_calls_are_named_and_leave_the_old(tmp_path, python, call, when, error):
    target = tmp_path / "file"
    target.write_bytes(b"old")
    done = inject(python, target, call, f"error={error}", when)
    assert done.returncode == 7
    assert str(target) in done.stdout
    if error == "ENOSPC":
        assert "disk full" in done.stdout
        assert "need 0.1 MB, free " in done.stdout  # 150 kB, and what the real disk has
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_file_size_limit_leaves_the_old(tmp_path, python):
    target = tmp_path / "file"
    target.write_bytes(b"old")
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))\n"
    done = python(limit + WRITE, target)
    assert done.returncode == 7
    assert "file too large" in done.stdout
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


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
