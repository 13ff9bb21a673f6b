"""A process that dies, or a disk that fails, at any system call of a save: old or new is whole.

Every call that an action makes to the file system is hit once: strace kills the process as it
makes the call (A2), or answers that the disk is full (B1) or broken (B3). Best and last
checkpoint are never both missing (B21).
"""

import json
import os
import shutil
import subprocess
import sys

import pytest

needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None
    or os.system("strace -o /dev/null -e trace=none true 2>/dev/null") != 0,
    reason="strace, or the permission to trace, is missing",
)
KILL, FULL, BROKEN = "signal=SIGKILL", "error=ENOSPC", "error=EIO"
WRITE = """
import sys
from pathlib import Path
from lightning_gen.runs import atomic
atomic.write(Path(sys.argv[1]), b"new")
"""
WRITING = {"write", "sync", "truncate", "rename", "unlink"}


def suffer(action, folder, *faults):
    """What each fault at each call came to."""
    command = [sys.executable, "-m", "tests.faults.syscalls", action, str(folder / "it"), *faults]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def hold(points, steps):
    """Whatever happened, what is found is one of the states that were ever whole."""
    broken = [p for p in points if "failed" in p or p["latest"] not in steps]
    assert not broken
    assert all(point["left"] <= 1 for point in points)


def stopped_in(points):
    return {point["call"] for point in points if point["code"] not in (0,)}


@needs_strace
def test_A02_B21_killed_at_every_call_of_a_save(fast):
    points = suffer("save", fast, KILL)
    hold(points, {3, 4})
    assert {point["best"] for point in points} == {1, 4}
    assert {point["code"] for point in points} == {-9}
    assert stopped_in(points) >= {"open", "write", "sync", "rename", "unlink"}
    assert {p["latest"] for p in points if p["call"] == "rename"} == {3}, "the rename is the moment"
    assert {p["latest"] for p in points if p["call"] == "unlink"} == {4}, "only then the old goes"
    assert any(point["left"] for point in points)


@needs_strace
def test_B01_B03_a_failing_call_of_a_save_is_named(fast):
    points = suffer("save", fast, FULL, BROKEN)
    hold(points, {3, 4})
    assert not any(point["left"] for point in points), "nothing half written is left"
    for point in points:
        assert {point["latest"], point["best"]} in ({3, 1}, {4}), point
        if point["call"] in WRITING:
            assert point["code"] == 7, point
            disk_full = point["fault"] == FULL
            assert ("disk full writing" if disk_full else "input/output error") in point["what"]
            if point["latest"] == 3:
                assert "last good checkpoint: " in point["what"]
                assert "000000000003.ckpt" in point["what"]
    assert {p["latest"] for p in points if p["call"] == "write"} == {3}


@needs_strace
@pytest.mark.parametrize(
    "action, fault",
    [
        ("step", KILL),
        pytest.param("rewind", KILL, marks=pytest.mark.slow),
        pytest.param("step", FULL, marks=pytest.mark.slow),
        pytest.param("step", BROKEN, marks=pytest.mark.slow),
        pytest.param("rewind", FULL, marks=pytest.mark.slow),
        pytest.param("rewind", BROKEN, marks=pytest.mark.slow),
        pytest.param("first", KILL, marks=pytest.mark.slow),
        pytest.param("first", FULL, marks=pytest.mark.slow),
        pytest.param("first", BROKEN, marks=pytest.mark.slow),
    ],
)
def test_A02_B01_B03_everything_a_run_writes(action, fault, fast, figure, request):
    points = suffer(action, fast, fault)
    hold(points, {"step": {3, 4}, "rewind": {3}, "first": {0, 1}}[action])
    if fault == KILL:
        assert -9 in {point["code"] for point in points}
    else:
        assert not any(point["left"] for point in points)
        assert {point["code"] for point in points if point["call"] in WRITING} <= {0, 7}
    if action == "step":
        assert {point["best"] for point in points} == {1}
    if request.node.get_closest_marker("slow"):
        goal = "R4" if fault == KILL else "R5"
        figure(f"{goal}_{action}_{fault[6:]}", len(points), len(points))


@needs_strace
def test_B23_what_is_being_written_lies_beside_its_target(tmp_path, python):
    log = tmp_path / "log"
    (tmp_path / "runs").mkdir()
    prefix = ["strace", "-f", "-o", log, "-e", "trace=openat,?rename,?renameat,?renameat2"]
    env = {**os.environ, "TMPDIR": "/dev/shm", "PYTHONDONTWRITEBYTECODE": "1"}
    done = python(WRITE, tmp_path / "runs" / "file", env=env, prefix=prefix)
    assert done.returncode == 0, done.stderr
    made = [line for line in log.read_text().splitlines() if "O_CREAT" in line or "rename" in line]
    assert len(made) == 2
    assert all(f'"{tmp_path}/runs/.file.' in line for line in made), made


@needs_strace
def test_R4_syncs_the_file_before_the_rename_and_the_folder_after(tmp_path, python):
    log = tmp_path / "log"
    (tmp_path / "runs").mkdir()
    calls = "trace=fsync,?rename,?renameat,?renameat2"
    prefix = ["strace", "-f", "-y", "-o", log, "-e", calls]
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = python(WRITE, tmp_path / "runs" / "file", env=env, prefix=prefix)
    assert done.returncode == 0, done.stderr
    made = [line.split(maxsplit=1)[1] for line in log.read_text().splitlines() if "(" in line]
    assert [line[: line.index("(")].rstrip("at2") for line in made] == ["fsync", "rename", "fsync"]
    assert f"<{tmp_path}/runs/.file." in made[0] and f"<{tmp_path}/runs>" in made[2]
