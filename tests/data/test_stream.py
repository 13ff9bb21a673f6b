import threading

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F

from lightning_gen.core import GenerativeModule
from lightning_gen.data import module
from lightning_gen.data.module import (
    ImageSet,
    StreamLoader,
    jittered,
    stream_indices,
    stream_jitter,
)
from lightning_gen.errors import DataError


def images(n, shape=(1, 1, 1)):
    return ImageSet(np.arange(n * int(np.prod(shape)), dtype=np.uint8).reshape(n, *shape))


@pytest.mark.parametrize("n", [1, 2, 7, 100, 1013])
@pytest.mark.parametrize("seed", [0, 1, 2**62])
def test_every_epoch_is_a_permutation(n, seed):
    epochs = stream_indices(n, 0, 3 * n, seed).reshape(3, n)
    assert (np.sort(epochs, axis=1) == np.arange(n)).all()
    if n >= 100:
        assert (epochs[0] != epochs[1]).any() and (epochs[1] != epochs[2]).any()
        assert (stream_indices(n, 0, n, seed + 1) != epochs[0]).any()


def test_stream_can_be_entered_anywhere():
    whole = stream_indices(17, 0, 200, seed=3)
    draw = np.random.RandomState(0)
    for start in draw.randint(150, size=50):
        count = draw.randint(1, 50)
        assert (stream_indices(17, start, count, seed=3) == whole[start : start + count]).all()


def test_order_is_that_of_every_machine_and_version():
    assert stream_indices(10, 0, 10, seed=0).tolist() == [0, 3, 9, 1, 4, 6, 5, 2, 8, 7]
    jitter = stream_jitter(10, 0, 3, seed=0, flip=True, shift=2)
    assert jitter.tolist() == [[0, -1, 2], [1, -2, 0], [1, 0, 2]]


@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize("minibatches", [1, 3])
def test_ranks_partition_each_minibatch_in_order(world, minibatches):
    n, batch = 50, 8
    options = {"batch_size": batch, "minibatches": minibatches, "seed": 5, "stop": 30}
    loaders = [StreamLoader(images(n), rank=r, world=world, **options) for r in range(world)]
    stream = stream_indices(n, 0, 30 * minibatches * batch, seed=5)
    seen = []
    for k in range(30):
        shares = [rank.indices(k).reshape(minibatches, batch // world) for rank in loaders]
        seen.append(np.concatenate(shares, axis=1).reshape(-1))
    assert (np.concatenate(seen) == stream).all()


def test_change_of_devices_half_way_keeps_the_order():
    options = {"batch_size": 8, "minibatches": 2, "seed": 1}
    before = list(StreamLoader(images(50), start=0, stop=5, **options))
    halves = [
        list(StreamLoader(images(50), start=5, stop=9, rank=r, world=2, **options)) for r in (0, 1)
    ]
    after = [
        torch.cat([a.image.view(2, 4), b.image.view(2, 4)], 1).flatten()
        for a, b in zip(*halves, strict=True)
    ]
    one = torch.cat([b.image.flatten() for b in before] + after)
    whole = StreamLoader(images(50), start=0, stop=9, **options)
    assert torch.equal(one, torch.cat([b.image.flatten() for b in whole]))


def test_length_and_restart():
    loader = StreamLoader(images(10), batch_size=5, seed=0, start=3, stop=7)
    assert len(loader) == len(list(loader)) == 4
    first, second = list(loader), list(loader)
    assert all(torch.equal(a.image, b.image) for a, b in zip(first, second, strict=True))
    assert list(StreamLoader(images(10), batch_size=5, start=9, stop=7)) == []


def test_reading_ahead_changes_nothing(monkeypatch):
    options = {"batch_size": 4, "seed": 2, "stop": 20, "flip": True}
    plain = list(StreamLoader(images(30, (1, 2, 2)), **options))
    monkeypatch.setattr(module, "PREFETCH_BYTES", 0)
    ahead = StreamLoader(images(30, (1, 2, 2)), **options)
    for a, b in zip(plain, ahead, strict=True):
        assert torch.equal(a.image, b.image) and torch.equal(a.jitter, b.jitter)
    threads = threading.active_count()
    half_read = iter(ahead)
    next(half_read)
    assert threading.active_count() == threads + 1
    half_read.close()
    assert threading.active_count() == threads


def test_error_of_the_reading_thread_is_raised(monkeypatch):
    monkeypatch.setattr(module, "PREFETCH_BYTES", 0)
    dataset = images(30)
    monkeypatch.setattr(dataset, "gather", lambda *a, **k: (_ for _ in ()).throw(OSError("gone")))
    with pytest.raises(OSError, match="gone"):
        next(iter(StreamLoader(dataset, batch_size=4, stop=2)))


def test_jitter_is_a_function_of_place_not_of_batch_or_device():
    def drawn(batch, world, minibatches=1):
        options = {"batch_size": batch, "world": world, "seed": 7, "flip": True, "shift": 2}
        count = 48 // batch // minibatches
        ranks = [
            torch.stack([b.jitter for b in StreamLoader(images(20), rank=r, stop=count, **options)])
            for r in range(world)
        ]
        return torch.cat(ranks, dim=1).reshape(-1, 3)

    whole = drawn(4, 1)
    assert torch.equal(whole, drawn(12, 1)) and torch.equal(whole, drawn(4, 2))
    assert set(whole[:, 0].tolist()) == {0, 1}
    assert set(whole[:, 1:].flatten().tolist()) == {-2, -1, 0, 1, 2}
    unflipped = stream_jitter(20, 0, 48, seed=7, flip=False, shift=2)
    assert (unflipped[:, 0] == 0).all() and (unflipped[:, 1:] != 0).any()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_jittered_equals_pad_and_crop(dtype):
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(256, (40, 3, 6, 5), generator=generator).to(dtype)
    jitter = torch.stack(
        [torch.randint(0, 2, (40,), generator=generator)]
        + [torch.randint(-3, 4, (40,), generator=generator) for _ in range(2)],
        dim=1,
    )
    result = jittered(image, jitter)
    assert result.dtype == dtype
    for x, (flip, dy, dx), y in zip(image, jitter.tolist(), result, strict=True):
        flipped = x.float().flip(-1) if flip else x.float()
        padded = F.pad(flipped[None], (3, 3, 3, 3), mode="reflect")[0]
        assert torch.equal(y.float(), padded[:, 3 + dy : 9 + dy, 3 + dx : 8 + dx])


class Watcher(GenerativeModule):
    """Does nothing but remember what it is given."""

    def __init__(self, seed, iteration=0, minibatches=1):
        super().__init__()
        self.automatic_optimization = False
        self.seed, self.iteration, self.minibatches = seed, iteration, minibatches
        self.seen = []

    def training_step(self, batch, batch_idx):
        self.seen.append((batch.image, batch.label))

    def configure_optimizers(self):
        return None


def watch(data, model, stop):
    data.stop_iteration = stop
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(model, datamodule=data)
    return model.seen


@pytest.mark.parametrize("resident", [False, True])
@pytest.mark.parametrize("minibatches", [1, 2])
def test_training_gets_the_stream_and_a_resumed_one_its_rest(numbers, resident, minibatches):
    data = numbers(resident=resident)
    whole = watch(data, Watcher(4, minibatches=minibatches), 9)
    rest = watch(data, Watcher(4, iteration=6, minibatches=minibatches), 9)
    index = torch.cat([label for _, label in whole])
    assert index.tolist() == stream_indices(20, 0, 36 * minibatches, seed=4).tolist()
    assert len(whole) == 9 and len(rest) == 3
    for (x, label), (x2, label2) in zip(whole[6:], rest, strict=True):
        assert torch.equal(x, x2) and torch.equal(label, label2)
    for x, label in whole:
        want = label.view(-1, 1, 1, 1).expand(-1, 1, 2, 3) / 127.5 - 1
        assert x.dtype == torch.float32 and torch.equal(x, want)


@pytest.mark.parametrize("augment", [{"flip": True}, {"shift": 1}, {"flip": True, "shift": 1}])
def test_resident_set_is_augmented_alike(numbers, augment):
    loose = watch(numbers(shape=(3, 4, 4), name="a", **augment), Watcher(1), 12)
    kept = watch(numbers(shape=(3, 4, 4), name="a", resident=True, **augment), Watcher(1), 12)
    for (x, label), (x2, label2) in zip(loose, kept, strict=True):
        assert torch.equal(x, x2) and torch.equal(label, label2)


def test_bytes_become_floats_from_minus_one_to_one(numbers):
    decoded = numbers().decode(torch.arange(256, dtype=torch.uint8))
    assert decoded[0] == -1 and decoded[255] == 1
    assert torch.equal(((decoded + 1) * 127.5).round().byte(), torch.arange(256).byte())


def test_real_samples(numbers):
    data = numbers()
    assert data.size("train") == 20 and data.splits == ("train",)
    everything = data.real("train")
    assert torch.equal(everything.label, torch.arange(20))
    some = data.real("train", torch.tensor([3, 3, 19]))
    assert torch.equal(some.image, everything.image[[3, 3, 19]])
    assert torch.equal(data.labels("train"), torch.arange(20))
    for wrong in ([20], [-1]):
        with pytest.raises(IndexError, match="split of 20"):
            data.real("train", wrong)
    with pytest.raises(DataError, match="no split 'valid'") as caught:
        data.real("valid")
    assert "train" in caught.value.fix


def test_too_large_a_shift_is_refused(numbers):
    with pytest.raises(DataError, match="shift is 2 pixels, the images have 2"):
        numbers(shift=2)
