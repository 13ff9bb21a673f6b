import json
import os
import signal

import pytest

from lightning_gen.errors import OutputError
from lightning_gen.runs.lock import RunLock

HOLD = """
import sys, time
from pathlib import Path
from lightning_gen.runs.lock import RunLock
lock = RunLock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def test_a_second_process_is_told_who_holds_it(tmp_path, popen):
    holder = popen(HOLD, tmp_path)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(OutputError) as caught:
        RunLock(tmp_path)
    facts = json.loads((tmp_path / ".lock.json").read_text())
    assert facts["pid"] == holder.pid
    assert caught.value.what == (
        f"{tmp_path} is in use by pid {holder.pid} on {facts['host']} since {facts['since']}"
    )
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with RunLock(tmp_path):
        assert json.loads((tmp_path / ".lock.json").read_text())["pid"] == os.getpid()
    assert not (tmp_path / ".lock.json").exists()


def test_the_same_process_cannot_open_a_run_twice(tmp_path):
    lock = RunLock(tmp_path)
    with pytest.raises(OutputError, match=f"in use by pid {os.getpid()}"):
        RunLock(tmp_path)
    lock.release()
    lock.release()
    RunLock(tmp_path).release()


def test_a_holder_that_has_not_said_who_it_is(tmp_path):
    lock = RunLock(tmp_path)
    (tmp_path / ".lock.json").write_text("{")
    with pytest.raises(OutputError, match="in use by another process"):
        RunLock(tmp_path)
    lock.release()
