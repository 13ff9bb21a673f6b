"""A hostile checkpoint is never executed (B11) and never fills the memory (B14)."""

import os
import pickle

import pytest
import torch

from lightning_gen.errors import CheckpointError
from lightning_gen.runs import checkpoint
from lightning_gen.runs.checkpoint import Facts


class Evil:
    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


@pytest.mark.parametrize("call", ["system", "exec", "open", "getattr"])
@pytest.mark.parametrize("dress", ["pickle", "torch", "signed"])
def test_B11_hostile_pickles_are_refused_and_never_executed(store, tmp_path, call, dress):
    sentinel = tmp_path / "sentinel"
    evil = {
        "system": Evil(os.system, f"touch {sentinel}"),
        "exec": Evil(exec, f"open({str(sentinel)!r}, 'w')"),
        "open": Evil(open, str(sentinel), "w"),
        "getattr": Evil(getattr, Evil(__import__, "os"), "system"),
    }[call]
    store.folder.mkdir()
    path = store.folder / "000000000064.ckpt"
    if dress == "pickle":
        path.write_bytes(pickle.dumps(evil))
    elif dress == "torch":
        torch.save({"w": torch.zeros(2), "x": evil}, path)
    else:
        path.write_bytes(checkpoint.serialise({"x": evil}, Facts(1, "0.1.0", 1, 64, False)))
    with pytest.raises(CheckpointError, match="refused") as caught:
        store.load(path)
    if dress == "signed":
        assert "contains " in caught.value.what
    with pytest.raises(CheckpointError, match="no usable checkpoint"):
        store.latest()
    assert not sentinel.exists()
    if call != "getattr":
        pickle.loads(pickle.dumps(evil))
        assert sentinel.exists(), "the payload would have worked"
