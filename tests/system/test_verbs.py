"""The commands, on real small runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.system.harness import CONTEXT, TINY, only_run, tiny, train

RING = [
    *TINY,
    "model=wgan_gp",
    "data=ring",
    "network@model=wgan_toy",
    "model.latent_dim=2",
    "model.G.units=16",
    "model.D.units=16",
    "data.batch_size=64",
    "budget.images=1280",
    "callbacks.scores.every_images=640",
    "callbacks.scores.n_fake=500",
    "callbacks.scores.final_n_fake=500",
    "callbacks.history.every_images=320",
]


def _verb(words, out):
    os.chdir(out)
    with open("stdout", "w") as sys.stdout, open("stderr", "w") as sys.stderr:
        from lightning_gen.cli import main

        code = main(words)
    sys.exit(code)


def verb(words, out):
    """Run a verb in a process of its own; give exit code, stdout and stderr."""
    process = CONTEXT.Process(target=_verb, args=(words, str(out)))
    process.start()
    process.join(300)
    return process.exitcode, (out / "stdout").read_text(), (out / "stderr").read_text()


@pytest.fixture(scope="module", params=["dcgan", "cgan", "ring"])
def run(request, tmp_path_factory, mnist_root):
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "ring":
        paths = [f"paths.{k}={folder}/{k}" for k in ("data", "cache", "runs")]
        assert train([*RING, *paths]) == 0
        return only_run(folder / "runs")
    assert train(tiny(request.param, folder, mnist_root)) == 0
    return only_run(folder)


def test_evaluate(run, tmp_path):
    code, out, err = verb(["evaluate", f"run={run}", "n=256", "weights=both"], tmp_path)
    assert code == 0, err
    scores = json.loads((run / "evaluation.json").read_text())["scores"]
    assert {s["protocol"]["weights"] for s in scores} == {"ema", "raw"}
    assert all(s["protocol"]["n_fake"] == 256 for s in scores)
    assert scores[0]["name"] in out


def test_sample(run, tmp_path):
    grid = tmp_path / "grid.png"
    assert verb(["sample", f"run={run}", "n=16", f"out={grid}"], tmp_path)[0] == 0
    first = grid.read_bytes()
    assert Image.open(grid).size[0] > 28
    assert verb(["sample", f"run={run}", "n=16", f"out={grid}"], tmp_path)[0] == 0
    assert grid.read_bytes() == first
    words = ["sample", f"run={run}", "n=70", "format=npz", "seed=1", f"out={tmp_path}/x.npz"]
    assert verb(words, tmp_path)[0] == 0
    with np.load(tmp_path / "x.npz", allow_pickle=False) as x:
        points = x["images"].ndim == 2
        assert x["images"].shape == ((70, 2) if points else (70, 1, 28, 28))
        assert x["images"].dtype == (np.float32 if points else np.uint8)
    code, _, err = verb(
        ["sample", f"run={run}", "n=3", "format=png", f"out={tmp_path}/p"], tmp_path
    )
    if points:
        assert code == 2 and "points are no pictures" in err
    else:
        assert sorted(p.name for p in (tmp_path / "p").iterdir()) == [
            f"00000{i}.png" for i in range(3)
        ]


def test_labels_are_for_conditional_models(run, tmp_path):
    code, _, err = verb(["sample", f"run={run}", "n=4", "labels=1,2"], tmp_path)
    assert (code, "not conditional" in err) == (
        (0, False) if run.parent.name == "cgan_mnist" else (2, True)
    )


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["evaluate"], 2, "missing argument 'run='"),
        (["evaluate", "rum=x"], 2, "did you mean 'run='?"),
        (["evaluate", "run=nowhere"], 2, "there is no run here"),
        (["sample", "run=x", "n=0", "seed=a"], 2, "seed=a"),
        (["tran"], 2, "did you mean 'train'?"),
    ],
)
def test_mistakes_are_blocks(words, code, text, tmp_path):
    got, _, err = verb(words, tmp_path)
    assert got == code and text in err and "Traceback" not in err


def launch(words, **environment):
    """Run the command as a user does, in a new interpreter."""
    ranks = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT"}
    env = {k: v for k, v in os.environ.items() if k not in ranks} | environment
    command = [sys.executable, "-m", "lightning_gen", "train", *words]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_processes_are_one_run_with_the_scores_of_one(tmp_path):
    options = [*RING, "data.batch_size=64"]
    rows = {}
    for devices in (1, 2):
        folder = tmp_path / str(devices)
        paths = [f"paths.{k}={tmp_path}/{k}" for k in ("data", "cache")]
        launch([*options, *paths, f"paths.runs={folder}", f"trainer.devices={devices}"])
        run = only_run(folder)
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        rows[devices] = [row for row in lines if row["kind"] in {"eval", "train"}]
        assert not list(run.rglob("*tmp~"))
    assert [r["iteration"] for r in rows[1]] == [r["iteration"] for r in rows[2]]
    for one, two in zip(rows[1], rows[2], strict=True):
        for name, value in one["values"].items():
            assert two["values"][name] == pytest.approx(value, rel=1e-4, abs=1e-5), name
    assert any(row["kind"] == "eval" for row in rows[1])


def test_a_sweep_is_a_run_for_each_job(tmp_path):
    paths = [f"paths.{k}={tmp_path}/{k}" for k in ("data", "cache", "runs")]
    launch([*RING, *paths, "-m", "seed=0,1"])
    assert len(list((tmp_path / "runs").glob("*/*/config.yaml"))) == 2


def test_a_killed_run_is_whole_in_wandb(tmp_path, mnist_root):
    overrides = [w for w in tiny("dcgan", tmp_path, mnist_root) if not w.startswith("logger")]
    overrides += ["logger=wandb", "logger.mode=offline"]
    die = ("lightning_gen.players", "AlternatingModule", "descending", 14, False)
    assert train(overrides, die=die) == -9
    assert train(overrides) == 0
    run = only_run(tmp_path)
    (folder,) = (run / "wandb").glob("offline-run-*")
    leet = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json"]
    (file,) = folder.glob("*.wandb")
    shown = subprocess.run([*leet, str(file)], capture_output=True, text=True, timeout=60)
    assert shown.returncode == 0, shown.stderr
    for word in ("images_seen", "train/loss_D", "fid_mnist@192_test", "samples", "dcgan"):
        assert word in shown.stdout, word
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert {row["kind"] for row in rows} >= {"train", "eval", "collapse", "system"}
