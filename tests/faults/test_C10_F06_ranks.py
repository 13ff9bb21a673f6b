"""Two real processes against one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.suited import MODELS, data_of

NAMES = [name for name in MODELS if data_of(name) in {"mnist", "captions"}]
WORKER = Path(__file__).with_name("ranks.py")
RANK_VARIABLES = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT"}


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """What each rank ended with, by (model, world)."""
    out = tmp_path_factory.mktemp("ranks")
    env = {k: v for k, v in os.environ.items() if k not in RANK_VARIABLES}
    env["PYTHONPATH"] = str(WORKER.parents[2])
    for world, names in ((1, ["mlp"]), (2, ["mlp", *NAMES])):
        command = [sys.executable, str(WORKER), str(out), str(world), *names]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr

    def load(name, world):
        files = (out / f"{name}-{world}-{rank}.pt" for rank in range(world))
        return [torch.load(file, weights_only=True) for file in files]

    return load


@pytest.mark.parametrize("name", ["mlp", *NAMES])
def test_ranks_end_bitwise_equal_with_disjoint_noise(name, ended):
    first, second = ended(name, 2)
    for key, value in first["weights"].items():
        assert torch.equal(value, second["weights"][key]), key
    for a, b in zip(first["draws"], second["draws"], strict=True):
        assert not torch.isin(a, b).any()
    assert first["images_seen"] == second["images_seen"] == 4 * 8 * first["minibatches"]


def test_two_processes_are_one_with_the_same_global_batch(ended):
    (one,), two = ended("mlp", 1), ended("mlp", 2)
    for step in range(4):
        halves = [rank["seen"][step].chunk(one["minibatches"]) for rank in two]
        whole = torch.cat([torch.cat(pair) for pair in zip(*halves, strict=True)])
        assert torch.equal(whole, one["seen"][step])  # the same samples in the same order
    for key, value in one["weights"].items():
        torch.testing.assert_close(value, two[0]["weights"][key], rtol=1e-6, atol=1e-9)
