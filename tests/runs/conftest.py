import copy
import subprocess
import sys

import pytest

CONFIG = {
    "seed": 0,
    "experiment_name": "tiny",
    "budget": {"images": 1000},
    "data": {"name": "ring", "root": "data", "batch_size": 64, "resident": False},
    "model": {"optimizers": {"G": {"lr": 0.0002}, "D": {"lr": 0.0002}}, "betas": [0.5, 0.999]},
    "trainer": {"accelerator": "cpu", "devices": 1, "precision": "32-true"},
    "callbacks": {"progress": {"every": 1}, "scores": None},
    "metrics": None,
    "logger": None,
    "tags": [],
    "paths": {"data": "data", "runs": "runs"},
    "run": {"name": None, "fresh": False},
    "resume": {"allow": []},
}


@pytest.fixture
def config(tmp_path):
    config = copy.deepcopy(CONFIG)
    config["paths"]["runs"] = str(tmp_path / "runs")
    return config


@pytest.fixture
def python():
    """Run a script in a process of its own; what it asserts there fails here."""

    def run(script, *arguments, env=None, prefix=()):
        command = [*prefix, sys.executable, "-c", script, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=600, env=env)

    return run


@pytest.fixture
def popen():
    """Start a script; it is killed at the end."""
    started = []

    def start(script, *arguments):
        command = [sys.executable, "-c", script, *map(str, arguments)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()
