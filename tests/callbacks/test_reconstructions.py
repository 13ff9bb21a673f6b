"""Pictures of codes: which images stand where, codes in the plane, and sums of codes."""

import numpy as np
import pytest
import torch

from lightning_gen.callbacks.reconstructions import (
    arithmetic_rows,
    flat_map,
    latent_map,
    read,
    reconstruction_rows,
)
from lightning_gen.errors import DataError
from tests.metrics.methods import Bare, Real, images


class Digits(Real):
    def domain(self, split, name, *, inside=True):
        _, labels = self.sets[split]
        return split, torch.nonzero((labels == int(name)) == inside).flatten()


class Halving(Bare):
    """Codes are the first two pixels; what comes back is half of an image."""

    def reconstruct(self, x):
        return x / 2

    def encode(self, x):
        return x[:, 0, 0, :2]

    def decode(self, z):
        return z[:, :, None, None].mean(1, keepdim=True).expand(-1, 1, 4, 4)


def data(n=150):
    return Digits(images(n), torch.arange(n) % 3)


def test_rows_of_the_same_images_over_what_becomes_of_them():
    x, columns = reconstruction_rows(Halving(), data(), 8, 4)
    assert (columns, x.shape) == (4, (16, 1, 4, 4))
    rows = x.unflatten(0, (4, 4))
    assert torch.equal(rows[1], rows[0] / 2) and torch.equal(rows[3], rows[2] / 2)
    shown = torch.arange(8) * 150 // 8
    assert torch.equal(rows[::2].flatten(0, 1), data().real("test").image[shown])
    assert reconstruction_rows(Halving(), data(), 5, 4)[0].shape[0] == 16  # whole rows


def test_what_was_corrupted_stands_between():
    model = Halving()
    model.corrupt = lambda x, generator: x + torch.rand(x.shape, generator=generator)
    x, columns = reconstruction_rows(model, data(), 8, 4)
    rows = x.unflatten(0, (2, 3, columns))
    assert torch.equal(rows[:, 2], rows[:, 1] / 2)
    noise = rows[:, 1] - rows[:, 0]
    assert 0 <= noise.min() and (noise[0] != noise[1]).any()
    assert torch.equal(x, reconstruction_rows(model, data(), 8, 4)[0])


def test_codes_and_labels_in_order():
    codes, labels = read(Halving(), data(), "test", torch.arange(100))
    assert torch.equal(codes, data().real("test").image[:100, 0, 0, :2])
    assert labels.tolist() == [i % 3 for i in range(100)]
    assert read(Halving(), Real(images()), "test", torch.arange(3))[1] is None


def test_arithmetic_moves_codes_by_the_difference_of_means():
    real, model = data(), Halving()
    x, columns = arithmetic_rows(model, real, 4, "0", "2", steps=3)
    assert (columns, len(x)) == (4, 16)
    rows = x.unflatten(0, (4, 4))
    image, labels = real.real("train")
    of = [model.encode(image[labels == k]).mean(0) for k in (0, 2)]
    z = model.encode(rows[:, 0])
    for i, t in enumerate((0, 0.5, 1)):
        expected = model.decode(z + t * (of[1] - of[0]))
        assert torch.allclose(rows[:, 1 + i], expected, atol=1e-6)
    zeros = real.real("test").image[::3]
    assert all(any(torch.equal(row, zero) for zero in zeros) for row in rows[:, 0])
    others, _ = arithmetic_rows(model, real, 50, None, "2", steps=1)
    assert len(others) == 2 * 50
    model.decode = lambda z, labels: labels.float().view(-1, 1, 1, 1).expand(-1, 1, 4, 4)
    told, _ = arithmetic_rows(model, real, 4, "1", "2", steps=1)
    assert (told.unflatten(0, (4, 2))[:, 1] == 1).all()  # images keep the labels they have
    with pytest.raises(DataError, match="no train images of '7'"):
        arithmetic_rows(model, real, 4, "0", "7")


def test_codes_in_the_plane():
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(200, 5, generator=generator) * torch.tensor([0.1, 5, 0.1, 2, 0.1])
    assert torch.equal(flat_map(codes[:, :2], "codes"), codes[:, :2])
    flat = flat_map(codes, "pca")
    centred = codes - codes.mean(0)
    for k, axis in enumerate((1, 3)):
        r = np.corrcoef(flat[:, k], centred[:, axis])[0, 1]
        assert abs(r) > 0.99
    groups = codes[:60] + torch.arange(3).repeat(20)[:, None] * 50
    near = torch.cdist(*[flat_map(groups, "tsne")] * 2).fill_diagonal_(torch.inf).argmin(1)
    assert ((near - torch.arange(60)) % 3 == 0).all()
    assert torch.equal(flat_map(groups, "tsne"), flat_map(groups, "tsne"))


@pytest.mark.parametrize("kinds", [0, 3, 15])
def test_a_map_has_a_colour_for_each_label(kinds):
    n = 300
    codes = torch.randn(n, 2, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(n) % kinds if kinds else None
    picture = np.asarray(latent_map(codes, labels, "codes")).astype(int)
    assert picture.shape[2] == 3
    colourful = picture[(picture.max(2) - picture.min(2)) > 60]
    hues = {tuple(c // 32) for c in colourful}
    assert len(hues) >= max(1, kinds)
