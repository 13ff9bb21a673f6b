"""B15: a checkpoint of an earlier version loads; one small run of each is kept.

There has been no release before this one: the first is the one kept, as its format must stay
readable. `python -m tests.faults.test_B15_older_version` writes that of the present version.
"""

import shutil
import sys
from pathlib import Path

import pytest
import torch

from lightning_gen.cli import main
from lightning_gen.runs.checkpoint import CheckpointStore, read_facts

KEPT = Path(__file__).parent / "versions"
WORDS = [
    "logger=none", "trainer=cpu", "trainer.threads=1", "model=wgan_gp", "data=ring",
    "network@model=wgan_toy", "model.latent_dim=2", "model.G.units=4", "model.D.units=4",
    "data.batch_size=64", "metrics=none", "callbacks.scores=null", "callbacks.collapse=null",
    "callbacks.sample_grid=null", "callbacks.latents=null", "callbacks.progress=null",
    "callbacks.throughput=null", "run.name=kept",
]  # fmt: skip


@pytest.mark.parametrize("version", sorted(path.name for path in KEPT.glob("*.ckpt")))
def test_loads(version):
    path = KEPT / version
    payload = CheckpointStore(KEPT).load(path)
    assert read_facts(path).version == path.stem
    assert payload["iteration"] == 5 and payload["class"].endswith(".WGANGP")
    assert len(payload["optimizers"]) == 2
    assert all(isinstance(tensor, torch.Tensor) for tensor in payload["model"].values())


def test_one_is_kept_of_this_version():
    from lightning_gen import __version__

    assert (KEPT / f"{__version__}.ckpt").exists(), "python -m tests.faults.test_B15_older_version"


def write(folder):
    paths = [f"paths.{k}={folder}/{k}" for k in ("data", "cache", "runs")]
    per_step = 64 * 5
    assert main(["train", *WORDS, *paths, f"budget.images={5 * per_step}"]) == 0
    (path,) = Path(folder).glob("runs/*/kept/checkpoints/*.ckpt")
    KEPT.mkdir(exist_ok=True)
    shutil.copyfile(path, KEPT / f"{read_facts(path).version}.ckpt")


if __name__ == "__main__":
    write(sys.argv[1])
