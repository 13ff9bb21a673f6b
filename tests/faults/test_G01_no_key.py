"""G1: without an API key, training starts, W&B is offline, and one line says how to upload."""

from tests.faults.loopback import LoopbackServer
from tests.faults.wandb_harness import environment, expected, training


def test_G01_no_key(tmp_path):
    server = LoopbackServer()
    with training(tmp_path / "run", environment(server, WANDB_API_KEY=None)) as run:
        said = run.end()
        hint = run.facts["closed"]["hint"]
    server.vanish()
    assert hint.startswith("wandb sync ") and "/offline-run-" in hint
    assert said == [f"W&B: offline, no API key; to upload: {hint}"]
    assert server.operations == []
    assert sorted(expected(tmp_path / "run")) == list(range(1, 41))
