"""`lightning-gen ckpt`, on checkpoints that are sound and that are not."""

import pytest
import torch

from lightning_gen.cli import main
from lightning_gen.runs.checkpoint import CheckpointStore


@pytest.fixture
def run(tmp_path):
    store = CheckpointStore(tmp_path / "checkpoints")
    for k in (1, 2):
        state = {"class": "a.Model", "model": {"w": torch.zeros(10)}, "adam": [torch.ones(2)]}
        store.save(state, k, 64 * k, best=k == 1)
    return tmp_path


def test_info_says_what_it_holds(run, capsys):
    for path in (run, run / "checkpoints", run / "checkpoints" / "000000000064.ckpt"):
        assert main(["ckpt", "info", str(path)]) == 0
        out = capsys.readouterr().out
        assert "iteration 1, 64 images, the best so far" in out and "a.Model" in out
        assert "2 tensors, 12 numbers" in out
        assert ("iteration 2" in out) == path.is_dir()


def test_verify_names_each_that_is_damaged(run, capsys):
    assert main(["ckpt", "verify", str(run)]) == 0
    assert capsys.readouterr().out.count(": sound") == 2
    path = run / "checkpoints" / "000000000128.ckpt"
    path.write_bytes(path.read_bytes()[:700])
    assert main(["ckpt", "verify", str(run)]) == 4
    said = capsys.readouterr()
    assert "128.ckpt is truncated" in said.out and "064.ckpt: sound" in said.out
    assert "1 of 2 checkpoints do not verify" in said.err
    for verb in ("info", "verify"):
        assert main(["ckpt", verb, str(path)]) == 4
        assert "is truncated" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["info"], ["show", "x"], ["info", "x", "y"]])
def test_other_words_are_refused(words, capsys):
    assert main(["ckpt", *words]) == 2
    assert "lightning-gen ckpt info|verify PATH" in capsys.readouterr().err


def test_nothing_there(tmp_path, capsys):
    assert main(["ckpt", "verify", str(tmp_path)]) == 4
    assert f"no checkpoint at {tmp_path}" in capsys.readouterr().err
    assert main(["ckpt", "--help"]) == 0
