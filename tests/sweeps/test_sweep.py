"""The sweep, with processes that have real runs and train nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from lightning_gen.errors import Interrupted, MetricError, OutputError, Preempted
from lightning_gen.runs.run import Run
from lightning_gen.sweeps import sweep as room
from lightning_gen.sweeps.space import Space
from lightning_gen.sweeps.sweep import Sweep

STAND_IN = [sys.executable, str(Path(__file__).with_name("stand_in.py"))]
LR = "model.optimizers.G.lr"
GRID = [1e-4, 3e-4, 5.0, 0.5]
BASE = ["experiment=gan_ring", "logger=none"]
MAIN = """
import sys
from lightning_gen.cli import main
from lightning_gen.sweeps import sweep
sweep.TRAIN[:] = {train!r}
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def make(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "TRAIN", STAND_IN)
    (tmp_path / "runs").mkdir()

    def make(values=GRID, method="grid", metric="reverse_kl_ring@2500", words=(), **more):
        node = {"method": method, "metric": {"name": metric, "goal": "minimize"},
                "parameters": {LR: {"values": list(values)}, **more}}  # fmt: skip
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump(node))
        space = Space.read(str(path))
        overrides = [*BASE, f"paths.runs={tmp_path}/runs", *words]
        make.command = ["sweep", f"sweep={path}", *overrides]
        make.said = []
        return Sweep(space, overrides, space.check(overrides), make.said.append)

    return make


def command(make, *words):
    program = MAIN.format(train=STAND_IN)
    return subprocess.Popen(
        [sys.executable, "-c", program, *make.command, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def starts(tmp_path, lr):
    file = tmp_path / "runs" / f"started-{lr}"
    return len(file.read_text()) if file.exists() else 0


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def states(sweep):
    return [trial.state for trial in sweep.trials]


def test_failed_and_collapsed_trials_are_lines_of_the_table(make, tmp_path):
    sweep = make()
    sweep.run(4)
    assert states(sweep) == ["finished", "finished", "failed", "collapsed"]
    assert (sweep.trials[2].exit_code, sweep.trials[2].reason) == (5, "loss_D is not finite")
    assert sweep.trials[3].value is None and sweep.trials[3].score["value"] > 0.4
    assert "best 0 (trial 1)" in make.said[-1]
    for trial in sweep.trials:
        run = Run.read(trial.run)
        assert run.path.parent == tmp_path / "runs" / "gan_ring"
        assert run.config["model"]["optimizers"]["G"]["lr"] == float(trial.parameters[LR])
    again = make()
    again.run(4)
    assert again.trials == sweep.trials
    assert [starts(tmp_path, lr) for lr in GRID] == [1] * 4


def test_more_trials_extend_it_and_two_at_a_time_come_to_the_same(make, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    sweep = make()
    sweep.run(1)
    assert states(sweep) == ["finished"]
    sweep = make()
    sweep.run(4, jobs=2)
    assert [trial.number for trial in sweep.trials] == list(range(4))
    assert {(tmp_path / "runs" / f"gpu-{lr}").read_text() for lr in GRID} == {"4", "5"}
    assert [starts(tmp_path, lr) for lr in GRID] == [1] * 4


def test_a_killed_trial_is_started_again_three_times(make, tmp_path):
    (tmp_path / "runs" / "kill-0.0001").write_text("3")
    (tmp_path / "runs" / "kill-0.0002").write_text("9")
    sweep = make([1e-4, 2e-4, 3e-4])
    sweep.run(3)
    assert states(sweep) == ["finished", "failed", "finished"]
    assert (sweep.trials[0].kills, starts(tmp_path, 0.0001)) == (3, 4)
    assert "killed by signal 9" in sweep.trials[1].reason and sweep.trials[1].exit_code == -9
    (tmp_path / "runs" / "kill-0.0002").unlink()
    sweep = make([1e-4, 2e-4, 3e-4])
    sweep.run(3)
    assert states(sweep) == ["finished"] * 3


def test_a_score_that_no_run_has_stops_the_sweep_and_names_those_there_are(make, tmp_path):
    sweep = make(metric="fid_mnist@10k_test")
    with pytest.raises(MetricError, match="reverse_kl_ring@2500"):
        sweep.run(8)
    assert states(sweep) == ["failed"]
    corrected = make()
    corrected.run(1)
    assert corrected.folder != sweep.folder and corrected.trials[0].run == sweep.trials[0].run


def test_a_trial_under_another_protocol_fails_and_says_which_field(make):
    n = {"values": [2500, 2499]}
    sweep = make([1e-4], metric="reverse_kl_ring@2500", **{"callbacks.scores.final_n_fake": n})
    sweep.run(2)
    assert states(sweep) == ["finished", "failed"]
    assert "reverse_kl_ring@2499" in sweep.trials[1].reason
    sweep.trials[0].score["protocol"]["data_fingerprint"] = "other"
    sweep.space.source["parameters"][LR] = {"values": [1e-4, 2e-4]}
    more = make([1e-4, 2e-4])
    more.trials = [sweep.trials[0]]
    more.run(2)
    assert "data_fingerprint differ" in more.trials[1].reason


def test_ctrl_c_and_sigterm_leave_trials_that_continue(make, tmp_path):
    make([1e-4, 2e-4])
    for signum, code in ((signal.SIGINT, 130), (signal.SIGTERM, 75)):
        (tmp_path / "runs" / "hold").touch()
        before = starts(tmp_path, 0.0001)
        process = command(make, "jobs=2")
        until(lambda b=before: starts(tmp_path, 0.0001) > b and starts(tmp_path, 0.0002) > b)
        process.send_signal(signum)
        out, _ = process.communicate(timeout=60)
        assert process.returncode == code, out
        assert "the same command continues it" in out
    (tmp_path / "runs" / "hold").unlink()
    process = command(make)
    assert process.communicate(timeout=60) and process.returncode == 0
    assert states(make([1e-4, 2e-4])) == ["finished", "finished"]


def test_a_trial_that_was_preempted_stops_the_sweep(make, tmp_path):
    (tmp_path / "runs" / "hold").touch()
    make([1e-4, 2e-4])
    process = command(make)
    until(lambda: starts(tmp_path, 0.0001))
    (lock,) = (tmp_path / "runs").glob("gan_ring/*-seed0/.lock.json")
    os.kill(json.loads(lock.read_text())["pid"], signal.SIGUSR1)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 75, out
    assert states(make([1e-4, 2e-4])) == ["running"]


def test_a_killed_sweep_goes_on_and_waits_for_the_orphan(make, tmp_path):
    hold = tmp_path / "runs" / "hold"
    sweep = make([1e-4, 2e-4, 3e-4])
    sweep.run(1)
    hold.touch()
    process = command(make)
    until(lambda: starts(tmp_path, 0.0002))
    process.kill()
    process.communicate()
    process = command(make)
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "waiting for its end" in line:
            hold.unlink()
    assert process.wait(60) == 0 and any("waiting" in line for line in lines), lines
    sweep = make([1e-4, 2e-4, 3e-4])
    assert states(sweep) == ["finished"] * 3
    assert starts(tmp_path, 0.0001) == 1 and starts(tmp_path, 0.0003) == 1


def test_two_commands_cannot_lead_one_sweep(make, tmp_path):
    (tmp_path / "runs" / "hold").touch()
    sweep = make([1e-4])
    process = command(make)
    until(lambda: starts(tmp_path, 0.0001))
    with pytest.raises(OutputError, match="in use by pid"):
        sweep.run(1)
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == Preempted.exit_code != Interrupted.exit_code


def test_what_the_same_command_is(make):
    one = make([1e-4]).folder
    assert make([1e-4]).folder == one
    assert make([1e-4], words=["trainer.threads=1"]).folder == one
    others = [make([2e-4]), make([1e-4], words=["seed=1"]),
              make([1e-4], words=["budget.images=100"])]  # fmt: skip
    assert len({one, *(sweep.folder for sweep in others)}) == 4


def test_keys_are_shown_as_short_as_they_differ(make):
    sweep = make([1e-4], **{"model.optimizers.D.lr": {"values": [1e-4]}, "seed": {"values": [0]}})
    assert sorted(sweep.short_keys()) == ["D.lr", "G.lr", "seed"]
