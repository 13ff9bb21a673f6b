"""B13: every checkpoint we write opens with plain ``torch.load(weights_only=True)``."""

import collections
import zipfile

import numpy as np
import pytest
import torch

from lightning_gen.config.compose import check_overrides, instantiate
from lightning_gen.errors import CheckpointError
from tests.faults.stores import assert_same, payload
from tests.models.test_gan import small
from tests.suited import MODELS, words_of


def test_plain_torch_load_opens_it(store):
    path = store.save(payload(), 1, 64)
    loaded = torch.load(path, weights_only=True)
    assert_same(loaded, payload())
    assert_same(store.load(str(path)), payload())
    mapped = torch.load(path, weights_only=True, mmap=True)
    assert_same(mapped, payload())
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert b'"iteration": 1, "images_seen": 64' in archive.comment
    assert path.name == "000000000064.ckpt"


def test_state_of_real_optimisers_and_networks_survives(store):
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4))
    net.to(memory_format=torch.channels_last)
    adam = torch.optim.Adam(net.parameters(), betas=(0.5, 0.999))
    schedule = torch.optim.lr_scheduler.LinearLR(adam)
    net(torch.randn(2, 1, 5, 5)).sum().backward()
    adam.step()
    state = {
        "net": net.state_dict(),
        "adam": adam.state_dict(),
        "schedule": schedule.state_dict(),
        "half": torch.ones(3, dtype=torch.bfloat16),
        "view": torch.arange(1_000_000)[:2],
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }
    path = store.save(state, 1, 64)
    loaded = store.load(path)
    for name, tensor in net.state_dict().items():
        assert torch.equal(loaded["net"][name], tensor)
        assert loaded["net"][name].stride() == tensor.stride()
    for index, moments in adam.state_dict()["state"].items():
        for name, tensor in moments.items():
            assert torch.equal(loaded["adam"]["state"][index][name], tensor)
    assert loaded["adam"]["param_groups"] == adam.state_dict()["param_groups"]
    assert path.stat().st_size < 100_000, "a view does not bring its whole storage"
    net.load_state_dict(loaded["net"])
    adam.load_state_dict(loaded["adam"])
    schedule.load_state_dict(loaded["schedule"])


@pytest.mark.parametrize(
    "value, kind",
    [
        (np.float64(1.0), r"numpy\.float64"),
        (np.zeros(2), r"numpy\.ndarray"),
        (torch.device("cpu"), r"torch\.device"),
        ({1, 2}, r"builtins\.set"),
        (print, r"builtins\.builtin_function"),
        (collections.namedtuple("P", "x")(1), r"\.P"),
        (b"bytes", r"builtins\.bytes"),
    ],
)
def test_what_is_not_plain_is_refused_by_name(store, value, kind):
    with pytest.raises(CheckpointError, match=f"cannot save a .*{kind}") as caught:
        store.save({"adam": {"groups": [1, {"lr": value}]}}, 1, 64)
    assert caught.value.where == "payload.adam.groups[1].lr"
    assert not store.folder.exists()


def test_a_key_that_is_not_plain_is_refused(store):
    with pytest.raises(CheckpointError, match=r"cannot save a builtins\.tuple") as caught:
        store.save({"a": {(1, 2): 3}}, 1, 64)
    assert caught.value.where == "a key of payload.a"


@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_a_state_that_is_plain(name, store):
    config = check_overrides([f"model={name}", *words_of(name)])
    model = instantiate(small(config["model"]))
    made, _ = model.configure_optimizers()
    optimizers = [optimizer.state_dict() for optimizer in made]
    state = {"model": dict(model.state_dict()), "optimizers": optimizers}
    loaded = torch.load(store.save(state, 1, 64), weights_only=True)
    assert loaded["model"].keys() == state["model"].keys()
    for key, tensor in state["model"].items():
        assert torch.equal(loaded["model"][key], tensor), key
    assert loaded["optimizers"] == optimizers
