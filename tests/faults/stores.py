"""Checkpoints of a few numbers, and damage to them."""

import torch


def payload(k=1, size=1000):
    torch.manual_seed(k)
    adam = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"betas": (0.5, 0.999)}]}
    return {"k": k, "model": {"w": torch.randn(size), "n": torch.tensor(k)}, "adam": adam, "s": "é"}


def assert_same(loaded, saved):
    words = loaded.pop("s"), saved.pop("s")
    assert words[0] == words[1]
    torch.testing.assert_close(loaded, saved, rtol=0, atol=0)


def flip(path, position, bit=0):
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ (1 << bit)]))
