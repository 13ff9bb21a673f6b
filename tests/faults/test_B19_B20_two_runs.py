"""One process at a time in a run's folder (B19); runs started at once have their own (B20)."""

import json
import os
import signal
from pathlib import Path

import pytest

from lightning_gen.errors import OutputError
from lightning_gen.runs.lock import RunLock
from lightning_gen.runs.run import Run

STARTS = """
import json, os, signal, sys
from lightning_gen.errors import OutputError
from lightning_gen.runs.run import Run
config = json.loads(sys.argv[1])
gate, results = os.pipe(), os.pipe()
children = []
for _ in range(20):
    child = os.fork()
    if child == 0:
        os.close(gate[1])
        os.read(gate[0], 1)  # all are let go by the closing of the gate
        try:
            run = Run.open(config, command=["x"])
        except OutputError as error:
            os.write(results[1], (error.what + "\\n").encode())
            os._exit(7)
        os.write(results[1], f"won {os.getpid()} {run.path.name}\\n".encode())
        signal.pause()
    children.append(child)
os.close(gate[0])
os.close(gate[1])
text = b""
while text.count(b"\\n") < 20:
    text += os.read(results[0], 65536)
for child in children:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
print(text.decode())
"""


def reopen(config):
    return Run.open(config, command=["x"])


def test_B19_of_twenty_started_at_once_one_wins(python, config):
    done = python(STARTS, json.dumps(config))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.split("\n")[:20]
    assert len([line for line in lines if line.startswith("won ")]) == 1
    assert len([line for line in lines if " is in use by " in line]) == 19
    reopen(config).close()


def test_B20_of_twenty_fresh_ones_each_has_a_folder(python, config):
    config["run"]["fresh"] = True
    done = python(STARTS, json.dumps(config))
    folders = {line.split()[2] for line in done.stdout.split("\n") if line.startswith("won ")}
    assert len(folders) == 20


def test_B19_a_killed_holder_frees_the_run(config, popen):
    script = """
import json, sys, time
from lightning_gen.runs.run import Run
run = Run.open(json.loads(sys.argv[1]), command=["x"])
run.set_status("running")
run.log("train", 1, 64, {"loss": 1.0})
print(run.path, flush=True)
time.sleep(60)
"""
    holder = popen(script, json.dumps(config))
    path = Path(holder.stdout.readline().strip())
    with pytest.raises(OutputError, match=f"in use by pid {holder.pid} on "):
        reopen(config)
    assert Run.read(path).status["state"] == "running"
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    run = reopen(config)
    assert [row["iteration"] for row in run.history()] == [1]
    run.close()


HOLD = """
import sys, time
from pathlib import Path
from lightning_gen.runs.lock import RunLock
lock = RunLock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def test_B19_a_second_process_is_told_who_holds_it(tmp_path, popen):
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


def test_B19_the_same_process_cannot_open_a_run_twice(tmp_path):
    lock = RunLock(tmp_path)
    with pytest.raises(OutputError, match=f"in use by pid {os.getpid()}"):
        RunLock(tmp_path)
    lock.release()
    lock.release()
    RunLock(tmp_path).release()


def test_B19_a_holder_that_has_not_said_who_it_is(tmp_path):
    lock = RunLock(tmp_path)
    (tmp_path / ".lock.json").write_text("{")
    with pytest.raises(OutputError, match="in use by another process"):
        RunLock(tmp_path)
    lock.release()
