"""A run of several processes ends when one is lost, names it, and goes on with another number.

Real processes over gloo; NCCL and several GPUs cannot be had on every machine that tests, and take
the same way: an error of the communication, or a time in which there was no answer.
"""

import json
import os
import socket
import subprocess
import sys

import pytest
import torch

from lightning_gen.cli import main
from lightning_gen.data.module import ImageSet, StreamLoader
from tests.faults.pairs import RING, both, environment, free_port, paths, start, timed
from tests.system.harness import only_run

FAST = ("trainer.rank_timeout=30",)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The ring, made once."""
    folder = tmp_path_factory.mktemp("ring")
    assert main(["prepare", "ring", f"paths.data={folder}/data"]) == 0
    return folder


@pytest.fixture
def folder(prepared, tmp_path):
    os.symlink(prepared / "data", tmp_path / "data")
    return tmp_path


def state(folder):
    return json.loads((only_run(folder / "runs") / "status.json").read_text())


def test_F01_more_gpus_than_there_are(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    words = ["trainer.accelerator=gpu", "trainer.devices=8", "data=ring", "data.batch_size=96"]
    words += [
        "model=wgan_gp",
        "network@model=wgan_toy",
        "model.latent_dim=2",
        "metrics=none",
        *paths(tmp_path),
    ]
    assert main(["train", "logger=none", "callbacks.scores=null", *words]) == 2
    said = capsys.readouterr().err
    assert "8 GPUs are asked for and 0 are visible (CUDA_VISIBLE_DEVICES='')" in said


def test_F02_a_batch_that_does_not_divide(capsys, tmp_path):
    assert main(["train", *RING, *paths(tmp_path), "data.batch_size=63"]) == 2
    assert "data.batch_size: the global batch must be a multiple" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_F03_F09_a_rank_that_is_killed(folder):
    codes, said = both(folder, ["none", "SIGKILL"])
    assert codes == [8, -9]
    assert "error [8]: rank 1 (pid " in said[0] and "has died" in said[0]
    assert state(folder)["state"] == "failed"
    assert len(list((folder / "runs").glob("*/*"))) == 1, "the other rank made no folder"
    assert not list((folder / "runs").rglob("*.tmp~"))


def test_F04_a_rank_that_hangs(folder):
    codes, said = both(folder, ["none", "SIGSTOP"], words=FAST)
    assert codes == [8, -9]
    assert "error [8]: rank 1 (pid " in said[0] and "did not answer within 30 s" in said[0]
    assert "most recent call first" in said[1], "its stack"


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["SIGKILL", "SIGSTOP"])
def test_R22_a_lost_rank_is_named_in_time(fault, folder, figure):
    limit, took = {"SIGKILL": 10, "SIGSTOP": 15 + 10}[fault], []
    cases = [(lost, step) for lost in (0, 1) for step in (1, 2, 5, 10, 20)]
    for number, (lost, step) in enumerate(cases):
        place = folder / str(number)
        place.mkdir()
        os.symlink(folder / "data", place / "data")
        faults = ["none", "none"]
        faults[lost] = fault
        codes, said, seconds = timed(place, faults, step, ("trainer.rank_timeout=15",))
        assert codes[1 - lost] == 8 and codes[lost] == -9, (codes, said)
        assert f"error [8]: rank {lost} (pid " in said[1 - lost], said
        took.append(seconds)
    held = sum(seconds <= limit for seconds in took)
    figure(f"R22_{fault}", held, len(took), **{f"{fault}_worst_seconds": max(took)})
    assert held == len(took), took


def test_F05_an_error_on_one_rank_only(folder):
    codes, said = both(folder, ["none", "raise"])
    assert codes == [8, 1]
    assert "rank 1: ZeroDivisionError('bad step')" in said[1]
    assert "rank 1 (pid " in said[0] and "see its own message above" in said[0]


def test_C02_F05_a_gradient_of_one_rank_only(folder):
    codes, said = both(folder, ["none", "nan"])
    assert codes == [5, 5], said
    assert all("gradient of D is not finite at iteration 5" in text for text in said)
    assert state(folder)["state"] == "diverged"


def test_A03_F03_a_signal_to_one_rank_stops_both(folder):
    codes, said = both(folder, ["none", "SIGTERM"])
    assert codes == [75, 75], said
    assert state(folder)["state"] == "preempted"
    assert "asked to stop at iteration 5" in said[0]


def test_F07_ranks_that_differ(folder):
    port = free_port()
    ranks = [start(folder, rank, port, words=[f"seed={rank}"]) for rank in (0, 1)]
    said = [rank.communicate(timeout=240)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [8, 8]
    for text in said:
        assert "has another configuration than rank 0" in text and "seed 1, and not " in text


def test_F08_a_port_that_is_taken(folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        rank = start(folder, 0, port, words=FAST)
        said = rank.communicate(timeout=240)[1]
    assert rank.returncode == 8
    assert f"rank 0 of 2 cannot meet the others at 127.0.0.1:{port}" in said


def test_F08_an_address_that_does_not_answer(folder):
    rank = start(folder, 1, free_port(), words=("trainer.rank_timeout=3",))
    said = rank.communicate(timeout=240)[1]
    assert rank.returncode == 8
    assert "rank 1 of 2 cannot meet the others at 127.0.0.1:" in said


def launch(words):
    command = [sys.executable, "-m", "lightning_gen", "train", *words]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.slow
def test_F06_F09_resumed_on_another_number_of_processes(folder, figure):
    rows = {}
    for name, devices in {"one": (1, 1), "up": (1, 2), "down": (2, 1)}.items():
        for count, images in zip(devices, (3200, 9600), strict=True):
            launch([
                *RING, *paths(folder)[:2], f"paths.runs={folder}/{name}",
                f"trainer.devices={count}", f"budget.images={images}",
            ])  # fmt: skip
        lines = (only_run(folder / name) / "metrics.jsonl").read_text().splitlines()
        rows[name] = [row for row in map(json.loads, lines) if row["kind"] == "train"]
    assert [row["iteration"] for row in rows["one"]] == list(range(1, 151))
    worst = 0.0
    for name in ("up", "down"):
        assert [r["images_seen"] for r in rows[name]] == [r["images_seen"] for r in rows["one"]]
        for mine, theirs in zip(rows[name], rows["one"], strict=True):
            for key, value in theirs["values"].items():
                scale = max(1.0, abs(value))
                worst = max(worst, abs(mine["values"][key] - value) / scale)
    assert worst < 1e-4
    figure("R11", 2, 2, largest_difference=worst, steps=100)


@pytest.mark.parametrize("size, batch", [(101, 10), (7, 4), (64, 64)])
def test_F10_no_sample_twice_and_none_left_out(size, batch):
    images = torch.arange(size, dtype=torch.float32)[:, None].expand(size, 2).numpy()
    steps = 3 * size // batch + 1
    ranks = [
        StreamLoader(ImageSet(images, None), batch_size=batch, rank=rank, world=2, stop=steps)
        for rank in (0, 1)
    ]
    seen = []
    for first, second in zip(*ranks, strict=True):
        assert len(first.image) == len(second.image) == batch // 2, "none waits for a shorter one"
        seen += [*first.image[:, 0].tolist(), *second.image[:, 0].tolist()]
    for epoch in range(3):
        assert sorted(seen[epoch * size : (epoch + 1) * size]) == list(range(size))
