"""A checkpoint of another class (B8) or of other sizes (B9) is refused before any weight is set."""

import re
import shutil

import pytest
import torch

from lightning_gen.cli import main
from lightning_gen.errors import CheckpointError
from lightning_gen.runs.state import load_weights
from tests.faults.test_B15_older_version import WORDS
from tests.models.test_gan import build


def held(model):
    kind = f"{type(model).__module__}.{type(model).__qualname__}"
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    return {"class": kind, "model": state, "iteration": 3, "images_seen": 48}


def refused(model, payload):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        load_weights(model, payload, "x.ckpt", {"model": {}, "data": {}})
    assert caught.value.where == "x.ckpt"
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())
    assert model.iteration == 0
    return caught.value.what


@pytest.mark.parametrize("other", ["wgan", "vae", "ddpm"])
def test_B08_another_class_is_named(other):
    what = refused(build("dcgan"), held(build(other)))
    assert re.search(rf"is of .*\.{other}\.\w+, the configuration asks for .*\.dcgan\.DCGAN", what)


@pytest.mark.parametrize("value", [7, 9, 14])
def test_B09_other_sizes_are_named_with_both_shapes(value):
    model = build("dcgan")
    theirs = held(model)
    changed = 0
    for name, tensor in theirs["model"].items():
        if tensor.ndim == 4 and changed < 5:
            theirs["model"][name] = torch.zeros(value, *tensor.shape[1:])
            changed += 1
    what = refused(model, theirs)
    assert what.startswith(f"{changed} tensors differ; ")
    assert what.count(" in checkpoint, ") == 3 and what.count(" in model") == 3
    assert f"({value}, " in what


def test_B09_absent_tensors_are_named():
    model = build("dcgan")
    theirs = held(model)
    name, _ = theirs["model"].popitem()
    assert f"{name}: absent in checkpoint" in refused(model, theirs)


def test_B09_the_setting_that_differs_is_named(tmp_path, capsys):
    paths = [f"paths.{k}={tmp_path}/{k}" for k in ("data", "cache", "runs")]
    for units in (4, 8):
        words = [f"model.G.units={units}", f"run.name=of_{units}", "budget.images=320"]
        assert main(["train", *WORDS, *paths, *words]) == 0
    (theirs,) = tmp_path.glob("runs/*/of_4/checkpoints/*.ckpt")
    (mine,) = tmp_path.glob("runs/*/of_8/checkpoints/*.ckpt")
    shutil.copyfile(theirs, mine)
    capsys.readouterr()
    assert main(["sample", f"run={mine.parents[1]}", "n=4"]) == CheckpointError.exit_code
    assert "model.G.units: 4 in checkpoint, 8 in configuration" in capsys.readouterr().err
