"""Spectral norms against numpy's singular values."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm as normalised

from lightning_gen.functional.spectral import layer_norms, spectral_norm
from lightning_gen.networks.equalized import EqualizedLinear


@pytest.mark.parametrize("shape", [(7, 5), (5, 7), (6, 3, 2, 2), (40, 1), (1, 9)])
def test_small_weights_are_exact(shape):
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    expected = np.linalg.svd(weight.flatten(1).numpy(), compute_uv=False)[0]
    assert float(spectral_norm(weight)) == pytest.approx(expected, rel=1e-6)


def test_large_weights_by_power_iteration(monkeypatch):
    monkeypatch.setattr("lightning_gen.functional.spectral.EXACT", 8)
    generator = torch.Generator().manual_seed(0)
    for shape in ((30, 90), (90, 30)):
        weight = torch.randn(shape, generator=generator)
        expected = np.linalg.svd(weight.numpy(), compute_uv=False)[0]
        found = float(spectral_norm(weight))
        assert expected * 0.99 < found <= expected * (1 + 1e-5)
        assert found == float(spectral_norm(weight))  # no randomness


def test_layers_have_the_weights_they_use():
    net = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), normalised(nn.Linear(6, 4)), EqualizedLinear(4, 5)
    ).eval()
    norms = layer_norms(net)
    assert list(norms) == ["0", "2", "3"]
    identity = torch.eye(4)
    used = net[3](identity) - net[3](torch.zeros(1, 4))  # rows are the columns of what it applies
    assert float(norms["3"]) == pytest.approx(float(torch.linalg.matrix_norm(used, 2)), rel=1e-5)
    assert float(norms["2"]) == pytest.approx(
        float(torch.linalg.matrix_norm(net[2].weight, 2)), rel=1e-5
    )
    assert 0.5 < float(norms["2"]) < 1.5
