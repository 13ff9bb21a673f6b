"""E6, E7: what is required and not given is named with an example; so is what is not installed."""

import subprocess
import sys

import pytest

from lightning_gen.config.compose import check_overrides
from tests.config.refusal import refusal
from tests.faults.wrong import keys

REQUIRED = ["budget.images", "seed", "paths.data", "paths.runs", "data.name", "data.batch_size"]
REQUIRED += [
    "model.latent_dim",
    "model.optimizers.G.lr",
    "model.G.width",
    "callbacks.scores.n_fake",
]


@pytest.mark.parametrize("key", ["data.batch_size", "model.G", "budget.images"])
def test_E06_a_value_that_is_still_to_be_given_is_named(key):
    assert f"{key}: is required" in refusal("experiment=dcgan_mnist", f"{key}=???")


def test_E06_every_key_may_be_left_open_and_is_then_named():
    config = check_overrides(["experiment=dcgan_mnist"])
    wanted = [k.name for k in keys(config) if k.name in REQUIRED]
    text = refusal("experiment=dcgan_mnist", *(f"{name}=???" for name in wanted))
    assert len(wanted) > 6
    for name in wanted:
        assert f"{name}: is required" in text and f"fix: {name}=..." in text


HIDDEN = """
import sys
sys.modules["hydra_plugins.hydra_joblib_launcher"] = None
sys.modules["joblib"] = None
from lightning_gen.cli import main
sys.exit(main(["train", "-m", "seed=0,1", "launcher=joblib", "experiment=gan_ring"]))
"""


def test_E07_an_extra_that_is_not_installed_is_named(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", HIDDEN], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "lightning-gen[sweep]" in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
