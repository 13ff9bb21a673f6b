"""Data whose modes can be counted: ring, grid and stacked MNIST."""

import numpy as np
import pytest
import torch

from lightning_gen.data.mixture import Grid, Ring
from lightning_gen.data.stacked_mnist import StackedMNIST
from lightning_gen.errors import DataError

RING = [(np.cos(t), np.sin(t)) for t in 2 * np.pi * np.arange(8) / 8]
GRID = [(x, y) for x in (-4, -2, 0, 2, 4) for y in (-4, -2, 0, 2, 4)]


@pytest.fixture(scope="module", params=[(Ring, RING, 0.01), (Grid, GRID, 0.05)])
def kind(request):
    return request.param


def opened(cls, root, **options):
    data = cls(str(root), str(root), batch_size=100, **options)
    data.prepare_data()
    data.setup()
    return data


def test_points_are_those_of_the_mixture(kind, tmp_path):
    cls, centres, std = kind
    data = opened(cls, tmp_path)
    assert data.size("train") == 100_000 and data.shape == (2,)
    found_centres, found_std = data.mixture
    assert np.allclose(found_centres, centres, atol=1e-7) and found_std == std
    point, label = data.real("train")
    assert point.dtype == torch.float32 and label.dtype == torch.int64
    counts = label.bincount(minlength=len(centres)).double()
    expected = 1e5 / len(centres)
    assert ((counts - expected).abs() < 5 * expected**0.5).all()
    for k, centre in enumerate(centres):
        off = point[label == k].double() - torch.tensor(centre, dtype=torch.float64)
        n = len(off)
        assert (off.mean(0).abs() < 5 * std / n**0.5).all()
        assert ((off.std(0) / std - 1).abs() < 5 / (2 * n) ** 0.5).all()
        assert abs((off[:, 0] * off[:, 1]).mean()) < 5 * std**2 / n**0.5
    nearest = torch.cdist(point, found_centres).argmin(1)
    assert (nearest == label).double().mean() > 0.99999
    test, _ = data.real("test")
    assert not torch.equal(test[:100], point[:100])


def test_high_quality_share_is_the_ceiling_in_both_scales(kind, tmp_path):
    cls, _, _ = kind
    raw, unit = opened(cls, tmp_path), opened(cls, tmp_path, standardise=True)
    assert raw.folder == unit.folder and raw.fingerprint == unit.fingerprint
    shares = []
    for data in (raw, unit):
        centres, std = data.mixture
        near = torch.cdist(data.real("train").image, centres).min(1).values < 3 * std
        shares.append(near.double().mean().item())
    assert shares[0] == pytest.approx(1 - np.exp(-4.5), abs=0.001)
    assert shares[1] == pytest.approx(shares[0], abs=1e-4)
    spread = unit.real("train").image.std(0)
    assert spread.tolist() == pytest.approx([1, 1], abs=0.01)
    batch = unit.on_after_batch_transfer(opened_batch(unit))
    assert torch.equal(batch.image, unit.real("train", batch_indices(unit)).image)


def batch_indices(data):
    return loader(data).indices(0)


def opened_batch(data):
    return next(iter(loader(data)))


def loader(data):
    from lightning_gen.data.module import StreamLoader

    return StreamLoader(data._set("train"), batch_size=100, stop=1)


def test_points_are_reproducible_and_follow_the_seed(kind, tmp_path):
    cls, _, _ = kind
    options = {"n_train": 1000, "n_test": 10}
    one = opened(cls, tmp_path / "a", **options)
    assert one.fingerprint == opened(cls, tmp_path / "b", **options).fingerprint
    other = opened(cls, tmp_path / "a", draw_seed=1, **options)
    assert other.folder != one.folder and other.fingerprint != one.fingerprint


def test_wrong_facts_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"data.num_classes is 10, not 8"):
        Ring(str(tmp_path), str(tmp_path), batch_size=1, num_classes=10)
    with pytest.raises(DataError, match=r"data.channels is 1, not None"):
        Grid(str(tmp_path), str(tmp_path), batch_size=1, channels=1)


@pytest.fixture(scope="module")
def stacked(mnist, store):
    data = StackedMNIST(str(store), str(store / "downloads"), batch_size=64)
    data.prepare_data()
    data.setup()
    return data


@pytest.mark.parametrize("split", ["train", "test"])
def test_stacked_digits_and_labels(stacked, mnist, split):
    index = np.arange(0, stacked.size(split), 997)
    image, label = stacked.real(split, index)
    assert image.shape == (len(index), 3, 28, 28) and label.dtype == torch.int64
    triples = stacked.prepared.array(f"{split}_triple")[index]
    digits, classes = mnist.prepared.array(f"{split}_image"), mnist.prepared.array(f"{split}_label")
    for x, y, triple in zip(image, label.tolist(), triples, strict=True):
        want = np.stack([digits[i, 0] for i in triple])
        assert (((x + 1) * 127.5).round().byte().numpy() == want).all()
        assert [y // 100, y // 10 % 10, y % 10] == [int(classes[i]) for i in triple]


def test_stacked_labels_reach_all_modes(stacked):
    assert (stacked.size("train"), stacked.size("test")) == (128_000, 26_000)
    assert stacked.num_classes == 1000 and stacked.shape == (3, 28, 28)
    share = stacked.labels("test").bincount(minlength=1000).double() / 26_000
    assert len(share) == 1000 and (share > 0).all()
    divergence = (share * (share * 1000).log()).sum().item()
    assert divergence == pytest.approx(0.0235, abs=0.006)  # BASELINES' floor for real triples


def test_stacked_set_on_the_device_equals_the_gathered_one(mnist, store):
    from lightning_gen.data.module import StreamLoader

    batches = []
    for resident in (False, True):
        data = StackedMNIST(str(store), str(store), batch_size=8, shift=2, resident=resident)
        data.setup()
        loaded = StreamLoader(data._set("train"), batch_size=8, stop=1, shift=2, resident=resident)
        batches.append(data.on_after_batch_transfer(next(iter(loaded))))
    assert torch.equal(batches[0].image, batches[1].image)
    assert torch.equal(batches[0].label, batches[1].label)
