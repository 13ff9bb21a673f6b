"""Two streams side by side: aligned or each in its own order, on any number of ranks."""

import numpy as np
import pytest
import torch

from lightning_gen.core import PairBatch
from lightning_gen.data.module import ImageSet
from lightning_gen.data.pairs import PairModule
from lightning_gen.errors import DataError
from tests.data.trained import batches, fitted, joined, levels, same

SHAPE = (3, 4, 4)


class Strangers(PairModule):
    """Images whose labels are their numbers; domain b is larger."""

    sizes = (6, 10)

    def __init__(self, root, **options):
        family = {"batch_size": 4, "name": type(self).__name__, "shape": SHAPE} | options
        super().__init__(str(root), str(root), shape_a=SHAPE, num_classes=10, **family)

    def pixels(self):
        draw = np.random.RandomState(0)
        return [draw.randint(256, size=(n, *SHAPE)).astype(np.uint8) for n in self.sizes]

    def write(self, writer):
        for domain, image in zip("ab", self.pixels(), strict=True):
            writer.save(domain, image)
        return "drawn"

    def open(self, prepared):
        made = {
            d: ImageSet(prepared.array(d), np.arange(len(prepared.array(d)))) for d in ("a", "b")
        }
        return {f"{split}_{d}": made[d] for split in ("train", "test") for d in "ab"}


class Twins(Strangers):
    """Image b is the negative of image a."""

    aligned = True
    gives = ("pairs", "paired")

    def pixels(self):
        first = super().pixels()[0]
        return first, 255 - first


@pytest.fixture(params=[Strangers, Twins])
def opened(request, tmp_path):
    def make(kind=request.param, **options):
        data = kind(tmp_path, **options)
        data.prepare_data()
        data.setup()
        return data

    return make


def test_twins_stay_together_however_they_are_augmented(opened):
    for options in ({}, {"flip": True}, {"shift": 2}, {"flip": True, "shift": 2}):
        data = opened(Twins, **options)
        seen = joined(batches(data, stop=30))
        assert torch.equal(levels(seen.a) + levels(seen.b), torch.full((120, *SHAPE), 255))
        assert torch.equal(seen.label_a, seen.label_b)
        plain = data.real("train_a", seen.label_a).image
        changed = (seen.a != plain).flatten(1).any(1)
        assert changed.any() if options else not changed.any()


def test_strangers_have_orders_of_their_own_and_each_epoch_all_of_them(opened):
    seen = joined(batches(opened(Strangers), stop=15))
    a, b = seen.label_a.view(10, 6), seen.label_b.view(6, 10)
    assert (a.sort(1).values == torch.arange(6)).all()
    assert (b.sort(1).values == torch.arange(10)).all()
    assert len({tuple(epoch) for epoch in a.tolist()}) > 1
    n = min(len(seen.label_a), len(seen.label_b))
    assert (seen.label_a[:n] != seen.label_b[:n]).any()
    data = opened(Strangers)
    assert torch.equal(seen.a, data.real("train_a", seen.label_a).image)
    assert torch.equal(seen.b, data.real("train_b", seen.label_b).image)


def test_domains_of_one_size_are_in_different_orders_too(opened, monkeypatch):
    monkeypatch.setattr(Strangers, "sizes", (10, 10))
    seen = joined(batches(opened(Strangers), stop=10))
    assert (seen.label_a != seen.label_b).any()


@pytest.mark.parametrize("minibatches", [1, 2])
def test_ranks_share_what_one_would_get(opened, minibatches):
    options = {"flip": True, "shift": 1}
    whole = batches(opened(**options), stop=5, minibatches=minibatches)
    for world in (2, 4):
        ranks = [
            batches(opened(**options), stop=5, minibatches=minibatches, rank=r, world=world)
            for r in range(world)
        ]
        for k, batch in enumerate(whole):
            for place, tensor in enumerate(batch):
                shares = [rank[k][place].unflatten(0, (minibatches, -1)) for rank in ranks]
                assert torch.equal(torch.cat(shares, 1).flatten(0, 1), tensor)


def test_resumed_stream_is_the_rest_of_it(opened):
    whole = batches(opened(flip=True, shift=1), stop=9, seed=3)
    rest = batches(opened(flip=True, shift=1), start=6, stop=9, seed=3)
    assert len(rest) == 3 and all(map(same, whole[6:], rest))
    assert not same(whole[6], batches(opened(), start=6, stop=9, seed=4)[0])


def test_resident_sets_give_the_same(opened):
    whole = batches(opened(flip=True, shift=1), stop=5)
    kept = batches(opened(flip=True, shift=1, resident=True), stop=5)
    assert all(map(same, whole, kept))


def test_lightning_gives_a_model_floats(opened):
    seen = fitted(opened(), 3, seed=5)
    assert all(type(batch) is PairBatch and batch.a.dtype == torch.float32 for batch in seen)
    assert all(map(same, seen, batches(opened(), stop=3, seed=5))) and len(seen) == 3


def test_where_the_images_of_a_domain_are(opened):
    data = opened(Strangers)
    assert data.domains == ("a", "b")
    split, rows = data.domain("test", "a")
    assert (split, rows.tolist()) == ("test_a", [0, 1, 2, 3, 4, 5])
    split, rows = data.domain("test", "a", inside=False)
    assert (split, len(rows)) == ("test_b", 10)
    with pytest.raises(DataError, match="no domain 'zebra'") as caught:
        data.domain("test", "zebra")
    assert caught.value.fix == "one of: a, b"


def test_partners_of_different_sides_are_not_shifted(tmp_path):
    class Uneven(PairModule):
        aligned = True

    family = {"batch_size": 1, "name": "x", "shape": (1, 8, 8), "num_classes": None}
    with pytest.raises(DataError, match="images of 4 and of 8 pixels cannot be shifted alike"):
        Uneven(str(tmp_path), str(tmp_path), shape_a=(1, 4, 4), shift=1, **family)
