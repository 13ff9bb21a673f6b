"""MNIST at another size: the same digits, scaled once, in a folder of their own."""

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from lightning_gen.data import mnist as module
from lightning_gen.data.mnist import FILES, MNIST, scaled, to_idx


@pytest.fixture
def few(monkeypatch):
    """Five digits a split in the place of LeCun's."""
    draw = np.random.RandomState(0)
    image = draw.randint(256, size=(5, 28, 28)).astype(np.uint8)
    label = np.arange(5, dtype=np.uint8)
    files = dict(zip(FILES, map(to_idx, (image, label, image, label)), strict=True))
    monkeypatch.setattr(module, "find_files", lambda root, cache: (files, "drawn"))
    return image


@pytest.mark.parametrize("side", [32, 64])
def test_digits_are_scaled_bilinearly(side):
    image = np.random.RandomState(0).randint(256, size=(4, 28, 28)).astype(np.uint8)
    x = torch.from_numpy(image)[:, None].double()
    true = interpolate(x, (side, side), mode="bilinear", align_corners=False)[:, 0]
    np.testing.assert_allclose(scaled(image, side), true.numpy(), atol=1)
    assert scaled(image, 28) is image


def test_each_size_has_its_own_folder(few, tmp_path):
    made = {}
    for side in (14, 28, 32, 64):
        data = MNIST(str(tmp_path), str(tmp_path), batch_size=2, resolution=side)
        data.prepare_data()
        data.setup()
        image, label = data.real("train")
        assert image.shape == (5, 1, side, side) == (5, *data.shape)
        assert label.tolist() == [0, 1, 2, 3, 4] and image.abs().max() <= 1
        made[data.folder] = data.fingerprint
    assert len(set(made.values())) == len(made) == 4
    assert tmp_path / "mnist" / "arrays" in made, "28 pixels lie where they always have"
