"""SLURM's warning saves and requeues the job once (A5); failing to requeue loses nothing (A6)."""

import os
import signal
import stat

import pytest

from lightning_gen.runs.preemption import StopRequest


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
