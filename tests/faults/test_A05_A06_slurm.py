"""SLURM's warning saves and requeues the job once (A5); failing to requeue loses nothing (A6)."""

import os
import signal
import stat

import pytest

from lightning_gen.runs.checkpoint import CheckpointStore
from lightning_gen.runs.preemption import StopRequest
from tests.faults.hooks import PLAY, signalled
from tests.system.harness import only_run, tiny, train


@pytest.fixture
def scontrol(tmp_path, monkeypatch):
    """A stand-in that notes its arguments and gives an exit code."""

    def make(code):
        tool = tmp_path / "scontrol"
        tool.write_text(
            f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\necho no such job >&2\nexit {code}\n'
        )
        tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
        return tmp_path / "calls"

    for name in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    return make


def test_A05_requeues_once(scontrol):
    calls = scontrol(0)
    stop = StopRequest()
    assert stop.requeue(signal.SIGUSR1)
    assert stop.requeue(signal.SIGUSR1)
    assert calls.read_text() == "requeue 77\n"


def test_A05_requeues_a_task_of_an_array(scontrol, monkeypatch):
    calls = scontrol(0)
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "70")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert stop.requeue()
    assert calls.read_text() == "requeue 70_3\n"


def test_A05_only_slurm_s_warning_requeues(scontrol, monkeypatch):
    calls = scontrol(0)
    assert not StopRequest().requeue(signal.SIGTERM)
    assert not StopRequest().requeue(signal.SIGINT)
    assert not StopRequest().requeue()
    monkeypatch.delenv("SLURM_JOB_ID")
    assert not StopRequest().requeue(signal.SIGUSR1)
    assert not calls.exists()


def test_A06_failing_to_requeue_is_a_warning(scontrol, monkeypatch, tmp_path, caplog):
    scontrol(1)
    assert not StopRequest().requeue(signal.SIGUSR1)
    assert "could not requeue job 77: no such job; the state is saved" in caplog.text
    (tmp_path / "scontrol").unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    caplog.clear()
    assert not StopRequest().requeue(signal.SIGUSR1)
    assert "could not requeue job 77: " in caplog.text


@pytest.mark.parametrize("code", [0, 1])
def test_A05_A06_a_run_is_saved_first_and_then_requeued(code, tmp_path, mnist_root):
    tools, runs = tmp_path / "bin", tmp_path / "runs"
    tools.mkdir()
    tool = tools / "scontrol"
    tool.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\nls {runs}/*/*/checkpoints >> {tmp_path}/calls\n'
        f"exit {code}\n"
    )
    tool.chmod(0o755)
    environment = {"PATH": f"{tools}:/usr/bin:/bin", "SLURM_JOB_ID": "77"}
    overrides = tiny("gan", runs, mnist_root)
    asked = (PLAY, 9, signal.SIGUSR1)
    assert signalled(overrides, asked, environment=environment) == 75
    payload, path = CheckpointStore(only_run(runs) / "checkpoints").latest()
    assert payload["iteration"] == 5
    first, *files = (tmp_path / "calls").read_text().splitlines()
    assert first == "requeue 77"
    assert path.name in files, "the state was durable before the job was queued again"
    assert train(overrides) == 0
