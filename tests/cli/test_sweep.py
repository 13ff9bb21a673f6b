"""The verb, with real trainings: failures, kills and all, and runs like any other."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from lightning_gen.config.compose import check_overrides
from lightning_gen.errors import LightningGenError
from lightning_gen.runs.identity import run_path
from lightning_gen.sweeps.space import Space, words
from lightning_gen.sweeps.sweep import Sweep
from tests.system.harness import assert_same, outcome

LR = "model.optimizers.G.lr"
BASE = [
    "experiment=gan_ring",
    "logger=none",
    "trainer.accelerator=cpu",
    "trainer.devices=1",
    "trainer.threads=1",
    "model.G.units=8",
    "model.D.units=8",
    "budget.images=40000",
    "callbacks.scores.every_images=20000",
    "callbacks.scores.n_fake=200",
    "callbacks.scores.final_n_fake=200",
    "callbacks.checkpoint.every_images=1000",
    "callbacks.sample_grid.every_images=20000",
    "callbacks.progress=null",
]


def launch(words, wait=True, verb="sweep"):
    process = subprocess.Popen(
        [sys.executable, "-m", "lightning_gen", verb, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"},
    )
    return (process.communicate(timeout=900)[0], process.returncode) if wait else process


def until(condition, process):
    end = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < end and process.poll() is None, process.stdout.read()
        time.sleep(0.02)


def mid_training(run):
    """Whether there is a checkpoint and the end is some way off."""
    return bool(list((run / "checkpoints").glob("*.ckpt"))) and state(run) in {"running"}


def state(run):
    file = run / "status.json"
    return json.loads(file.read_text())["state"] if file.exists() else None


def pid(run):
    return json.loads((run / ".lock.json").read_text())["pid"]


@pytest.mark.parametrize(
    "rates",
    [
        [1e-4, 1e30],
        pytest.param([1e-4, 1e30, 2e-4, 3e-4, 5e-4, 1e-3, 2e-3, 5e-3], marks=pytest.mark.slow),
    ],
    ids=["two", "eight"],
)
def test_a_sweep_with_a_failure_and_kills_is_runs_like_any_other(rates, tmp_path):
    file = tmp_path / "rates.yaml"
    metric = {"name": "reverse_kl_ring@200", "goal": "minimize"}
    space = {"method": "grid", "metric": metric, "parameters": {LR: {"values": rates}}}
    file.write_text(yaml.safe_dump(space))
    places = [f"paths.{k}={tmp_path}/{k}" for k in ("data", "cache")]
    shared = [*BASE, *places, f"paths.runs={tmp_path}/runs"]
    command = [f"sweep={file}", *shared]
    runs = [run_path(check_overrides([*shared, f"{LR}={rate}"])) for rate in rates]

    process = launch(command, wait=False)
    until(lambda: mid_training(runs[0]), process)
    os.kill(pid(runs[0]), signal.SIGKILL)  # the trial's process
    last = runs[2] if len(runs) > 2 else runs[0]
    killed = (last / "checkpoints").stat().st_mtime_ns if last is runs[0] else 0
    until(
        lambda: mid_training(last) and (last / "checkpoints").stat().st_mtime_ns > killed, process
    )
    process.kill()  # the sweep itself: its child goes on by itself, and the sweep finds it
    process.communicate()
    out, code = launch(command)
    assert code == 0, out
    assert "diverged" in out or "not finite" in out

    states = [state(run) for run in runs]
    assert states == ["diverged" if rate > 1 else "finished" for rate in rates]
    assert sorted((tmp_path / "runs").glob("*/*/config.yaml")) == sorted(
        run / "config.yaml" for run in runs
    )
    (table,) = (tmp_path / "runs").glob("gan_ring/sweeps/rates-*/trials.json")
    trials = json.loads(table.read_text())["trials"]
    assert [t["state"] for t in trials] == ["failed" if r > 1 else "finished" for r in rates]
    assert trials[0]["kills"] == 1 and trials[1]["exit_code"] == 5
    for trial, run in zip(trials, runs, strict=True):
        assert trial["run"] == str(run)
        names = [] if trial["value"] is None else [metric["name"]]
        scores = json.loads((run / "scores.json").read_text())[-1]["scores"] if names else []
        assert [s["value"] for s in scores if s["name"] in names] == [trial["value"]] * len(names)

    alone = [*BASE, *places, f"paths.runs={tmp_path}/alone", f"{LR}={rates[0]}"]
    out, code = launch(alone, verb="train")
    assert code == 0, out
    assert_same(outcome(runs[0]), outcome(run_path(check_overrides(alone))))

    before = table.read_bytes()
    out, code = launch(command)
    assert code == 0 and f"{len(runs)} of {len(runs)} trials done" in out
    assert table.read_bytes() == before
    assert f"best: trial {min(trials, key=lambda t: t['value'] or 99)['number']}" in out


def test_the_unbroken_sweep_would_have_tried_the_same(tmp_path):
    space = Space.read("points")
    overrides = ["experiment=gan_ring", f"paths.runs={tmp_path}"]
    sweep = Sweep(space, overrides, space.check(overrides))
    sweep.folder.mkdir(parents=True)
    first = sweep._next(3)
    again = Sweep(space, overrides, space.check(overrides))
    assert [t.parameters for t in again.trials] == [first.parameters]
    again.trials, sweep.trials[0].value = list(sweep.trials), 1.0
    assert again._next(3).parameters == sweep._next(3).parameters
    assert Path(first.run) == run_path(check_overrides([*overrides, *words(first.parameters)]))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "missing argument 'sweep='"),
        (["sweep=points", "trials=0"], "trials=0"),
        (["sweep=points", "-m"], "unknown flag '-m'"),
        (["sweep=points", "engine=wb"], "engine=wb"),
        (["sweep=points", "experiment=gan_ring", "seed=0,1"], "names several values"),
        (["sweep=nowhere/x.yaml"], "No such file"),
    ],
)
def test_mistakes_are_blocks(arguments, said):
    from lightning_gen.cli.sweep import main

    with pytest.raises(LightningGenError) as error:
        main(arguments)
    assert said in str(error.value) and error.value.exit_code == 2


def test_a_space_without_an_end_asks_how_many(tmp_path):
    from lightning_gen.cli.sweep import main

    node = yaml.safe_load(Path(space_file("points")).read_text())
    del node["run_cap"]
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(node))
    with pytest.raises(LightningGenError, match="how many trials"):
        main([f"sweep={tmp_path}/x.yaml", "experiment=gan_ring", f"paths.runs={tmp_path}"])


def space_file(name):
    from lightning_gen.config.paths import group_files

    return group_files("sweep")[name]


@pytest.mark.parametrize(
    "launcher",
    [
        "launcher=joblib",
        pytest.param("hydra/launcher=submitit_local", marks=pytest.mark.slow),
    ],
)
def test_launchers_of_hydra_run_every_job_and_only_what_is_not_finished(
    launcher, tmp_path, monkeypatch
):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    places = [f"paths.{k}={tmp_path}/{k}" for k in ("data", "cache", "runs")]
    short = ["budget.images=1600", "callbacks.scores.every_images=1000"]
    command = ["-m", launcher, *BASE, *short, *places, f"{LR}=1e30,1e-4"]
    out, code = launch(command, verb="train")
    assert code == 5, out
    assert "exit code 5" in out and "exit code 0" in out
    (diverged, finished) = (
        run_path(check_overrides([*BASE, *short, *places, f"{LR}={lr}"])) for lr in (1e30, 1e-4)
    )
    assert (state(diverged), state(finished)) == ("diverged", "finished")
    before = (finished / "status.json").stat().st_mtime_ns
    out, code = launch(command, verb="train")
    assert code == 5 and (finished / "status.json").stat().st_mtime_ns == before
    assert len(list((tmp_path / "runs").glob("*/*/config.yaml"))) == 2
    assert not list((tmp_path / "here").iterdir())


def test_the_slurm_preset_asks_for_what_it_says(tmp_path):
    """A sbatch of ours keeps the script and ends the command there."""
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    for name, text in {"sbatch": f'for last; do :; done\ncp "$last" {tmp_path}/job.sh\nexit 1',
                       "srun": "exit 0"}.items():  # fmt: skip
        (bin_ / name).write_text(f"#!/bin/sh\n{text}\n")
        (bin_ / name).chmod(0o755)
    command = [sys.executable, "-m", "lightning_gen", "train", "-m", "launcher=slurm", *BASE,
               f"paths.runs={tmp_path}", "hydra.launcher.partition=gpu", "seed=0,1"]  # fmt: skip
    path = f"{bin_}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, env=os.environ | {"PATH": path}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 2 and "SlurmLauncher" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    script = (tmp_path / "job.sh").read_text()
    for line in ("--partition=gpu", "--array=0-1%2", "--signal=USR1@", "--gpus-per-node=1"):
        assert f"#SBATCH {line}" in script
