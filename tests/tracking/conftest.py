"""Runs for the tests of what is read from runs, made in no time by the calls real ones make."""

import numpy as np
import pytest
from PIL import Image

from lightning_gen.metrics.protocol import Protocol, Score
from lightning_gen.runs.run import Run

HOW = Protocol("mnist", "ab12", "none", 10_000, 10_000, "test", "ema", 0, "cd34")


@pytest.fixture
def how():
    return HOW


def maker(folder):
    """A function that makes runs below a folder and gives their own.

    A run's ``loss_D`` goes from 1 to 0; its scores come every 10 steps and last at the end.
    """

    def make(
        experiment="dcgan",
        seed=0,
        *,
        scores=(("fid", 10.0),),
        how=HOW,
        steps=40,
        batch=100,
        state="finished",
        hours=1.0,
        alert=None,
        pictures=True,
        loss=None,
        **config,
    ):
        tree = {
            "seed": seed,
            "experiment_name": experiment,
            "model": {"lr": 1e-3},
            "data": {"name": "mnist"},
            "trainer": {"devices": 1},
            "paths": {"runs": str(folder / "runs")},
            **config,
        }
        run = Run.open(tree, command=["lightning-gen", "train", "<b>"])
        run.set_status("running")
        measured = [Score(metric, value, how) for metric, value in scores]
        for step in range(1, steps + 1):
            images = step * batch
            value = 1 - step / steps if loss is None else loss(step)
            run.log("train", step, images, {"loss_D": value})
            if step % 10 == 0:
                worse = {s.name: s.value and s.value * steps / step for s in measured}
                run.log("eval", step, images, worse)
                run.log("collapse", step, images, {"recall": 0.5, "reasons": 0})
                if hours is not None:
                    run.log("system", step, images, {"device_hours": hours * step / steps})
                if pictures:
                    grey = (40 * seed + 5 * step) % 256
                    run.picture("samples", Image.new("RGB", (32, 32), (grey,) * 3), step, images)
        if pictures:
            run.picture("real", Image.new("RGB", (32, 32), (1, 2, 3)), 0, 0)
        if alert is not None:
            run.alert("collapse", alert)
        if measured:
            run.record_scores([s.to_json() for s in measured], steps, steps * batch)
        run.set_status(state, iteration=steps, images_seen=steps * batch)
        run.close()
        return run.path

    return make


@pytest.fixture
def make_run(tmp_path):
    return maker(tmp_path)


@pytest.fixture(scope="session")
def two_groups(tmp_path_factory):
    """Two recipes over five seeds each, to be read only; the scores of both by seed."""
    make = maker(tmp_path_factory.mktemp("groups"))
    rng = np.random.default_rng(0)
    a = {seed: float(x) for seed, x in enumerate(rng.normal(10, 1, 5))}
    b = {seed: float(a[seed] - 1 + x) for seed, x in enumerate(rng.normal(0, 0.3, 5))}
    folders = [make("dcgan", seed, scores=[("fid", x)]) for seed, x in a.items()]
    folders += [
        make("wgan", seed, scores=[("fid", x)], model={"lr": 2e-3}, hours=2.0)
        for seed, x in b.items()
    ]
    return folders, a, b
