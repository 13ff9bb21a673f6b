"""G3: W&B's own processes may be killed: training goes on and its history is whole."""

import os
import signal

import pytest

from tests.faults.loopback import LoopbackServer
from tests.faults.wandb_harness import children, environment, expected, training, wait_until_gone


@pytest.mark.parametrize("victim", ["helper", "wandb-core"])
def test_G03_a_killed_helper_stops_nothing(tmp_path, victim):
    server = LoopbackServer()

    def kill():
        helper = run.facts["started"]["helper"]
        pid = helper if victim == "helper" else children(helper)[0]
        os.kill(pid, signal.SIGKILL)
        wait_until_gone(pid)

    with training(tmp_path / "run", environment(server), steps=200) as run:
        run.pass_("mid", kill)
        said = run.end()
    server.vanish()
    told = [line for line in said if "W&B: stopped, " in line or "did not take" in line]
    assert len(told) == 1, said
    assert sorted(expected(tmp_path / "run")) == list(range(1, 201))
