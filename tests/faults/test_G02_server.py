"""G2: a W&B server that fails at any moment costs neither a step nor ten seconds.

The client is W&B's own and the server is ours (loopback.py): what it got is compared with the run's
own history.
"""

import io

import pytest
from PIL import Image

from tests.faults.loopback import LoopbackServer
from tests.faults.wandb_harness import arrived, environment, expected, training

LIMIT = 10 + 3  # seconds that training may wait, and what a loaded machine adds


@pytest.fixture
def server():
    server = LoopbackServer()
    yield server
    server.vanish()


def test_G02_a_server_that_is_well_gets_the_history_and_the_files(tmp_path, server):
    with training(tmp_path / "run", environment(server)) as run:
        said = run.end()
        facts = run.facts
    assert facts["closed"]["hint"] == f"{server.url}/loopback/lightning_gen/runs/r1"
    assert any(line == f"W&B: online, {facts['closed']['hint']}" for line in said), said
    bucket = server.buckets["r1"]
    assert bucket.exit_code == 0
    assert arrived(bucket) == expected(tmp_path / "run") and len(bucket.history) == 40
    assert bucket.config["model"] == {"lr": 2e-4}
    assert bucket.summary["scores/fid_mnist@10k_test"] == 0.5
    assert bucket.summary["eval/fid_mnist@10k_test"] == {"min": 0.5, "last": 20.5}
    assert [alert["title"] for alert in bucket.alerts] == ["collapse"]
    shown = {row["_step"]: row["samples"] for row in bucket.history if "samples" in row}
    assert list(shown) == [10, 20, 30, 40]
    for step, picture in shown.items():
        with Image.open(io.BytesIO(bucket.files[picture["path"]])) as image:
            assert image.getpixel((0, 0)) == (step, 0, 0)


@pytest.mark.parametrize(("manner", "patience"), [("vanish", 10), ("hang", 2)])
def test_G02_a_server_that_fails_half_way_stops_nothing(tmp_path, server, manner, patience):
    def fail():
        if manner == "vanish":
            server.wait_for(lambda: server.operations)
            server.vanish()
        else:
            server.manner = manner

    with training(tmp_path / "run", environment(server), finish_timeout=patience) as run:
        run.pass_("mid", fail)
        said = run.end()
        facts = run.facts
    assert sorted(expected(tmp_path / "run")) == list(range(1, 41))
    assert facts["started"]["seconds"] < LIMIT and facts["closed"]["seconds"] < LIMIT
    assert "to upload: wandb sync" in said[-1], said
    got = arrived(server.buckets["r1"])
    assert got == {step: row for step, row in expected(tmp_path / "run").items() if step in got}


def test_G05_a_killed_run_goes_on_in_the_same_wandb_run(tmp_path, server):
    with training(tmp_path / "run", environment(server), steps=35) as run:
        run.until("last")
        # The client holds the last step back, until the next one or the end.
        server.wait_for(lambda: "r1" in server.buckets and len(server.buckets["r1"].history) >= 30)
        run.kill()
    server.wait_for(lambda: server.buckets["r1"].exit_code is not None)
    assert server.buckets["r1"].exit_code == 1
    with training(tmp_path / "run", environment(server), steps=60, resume=True) as run:
        run.end()
    assert server.buckets["r1"].exit_code == 0
    assert arrived(server.buckets["r1"]) == expected(tmp_path / "run")
    assert len(server.buckets["r1"].history) == 60
