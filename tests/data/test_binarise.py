"""Black and white digits: drawn with the right chances, the same on any number of devices."""

import pytest
import torch

from lightning_gen.data.mnist import MNIST
from lightning_gen.errors import DataError
from tests.data.few_digits import COUNTS, few
from tests.data.trained import batches, fitted, joined, same

KINDS = ["dynamic", "static", "threshold"]


@pytest.fixture
def digits(monkeypatch, tmp_path):
    few(monkeypatch)

    def make(**options):
        data = MNIST(str(tmp_path), str(tmp_path), **({"batch_size": 12} | options))
        data.prepare_data()
        data.setup()
        return data

    return make


@pytest.mark.parametrize("resident", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_pixels_are_black_or_white_wherever_they_are_seen(digits, kind, resident):
    data = digits(binarise=kind, resident=resident)
    streamed = joined(batches(data, stop=5)).image
    for image in (data.real("train").image, data.real("test").image, streamed):
        assert image.dtype == torch.float32 and image.unique().tolist() == [-1, 1]


def test_only_dynamic_draws_change_from_epoch_to_epoch(digits):
    for kind in KINDS:
        data = digits(binarise=kind, batch_size=COUNTS["train"])
        first, second = (b.image[b.label.argsort(stable=True)] for b in batches(data, stop=2))
        known = {row.numpy().tobytes() for row in data.real("train").image}
        drawn = {row.numpy().tobytes() for batch in (first, second) for row in batch}
        assert (drawn == known) == (kind != "dynamic")


def test_a_pixel_is_white_as_often_as_it_is_bright(digits):
    grey = digits().real("train").image
    data = digits(binarise="dynamic", batch_size=COUNTS["train"])
    epochs = batches(data, stop=200, seed=1)
    rows = [torch.from_numpy(data.train_dataloader().indices(k)) for k in range(200)]
    white = torch.zeros_like(grey)
    for batch, row in zip(epochs, rows, strict=True):
        white[row] += (batch.image > 0).float()
    error = white / 200 - (grey + 1) / 2
    assert error.mean().abs() < 0.002 and error.std() < 1.1 * (0.25 / 200) ** 0.5
    once = (digits(binarise="static").real("train").image + 1) / 2
    assert abs(float((once - (grey + 1) / 2).mean())) < 0.01
    cut = digits(binarise="threshold").real("train").image
    assert torch.equal(cut, torch.where(grey > 0, 1.0, -1.0))


@pytest.mark.parametrize("minibatches", [1, 3])
def test_devices_share_one_draw(digits, minibatches):
    data = digits(binarise="dynamic")
    whole = batches(data, stop=4, minibatches=minibatches)
    options = {"stop": 4, "minibatches": minibatches, "world": 2}
    halves = [batches(data, rank=r, **options) for r in (0, 1)]
    for one, *both in zip(whole, *halves, strict=True):
        parts = [half.image.unflatten(0, (minibatches, 6)) for half in both]
        assert torch.equal(one.image, torch.cat(parts, 1).flatten(0, 1))


def test_a_stream_entered_half_way_goes_on_as_it_was(digits):
    data = digits(binarise="dynamic")
    assert same(joined(batches(data, stop=6)[3:]), joined(batches(data, start=3, stop=6)))
    assert not torch.equal(*(batches(data, stop=1, seed=s)[0].image for s in (0, 1)))


def test_lightning_moves_it_to_a_device(digits):
    data = digits(binarise="dynamic")
    assert all(same(a, b) for a, b in zip(fitted(data, 3), batches(data, stop=3), strict=True))


def test_scores_of_other_pixels_are_told_apart(digits):
    prints = {digits(binarise=kind).fingerprint for kind in (None, *KINDS)}
    assert len(prints) == 4
    assert digits(without=[9]).fingerprint not in prints


def test_digits_left_out_are_in_the_test_set_alone(digits):
    data = digits(without=[3, 9], valid=20)
    assert set(data.labels("train").tolist()) == {0, 1, 2, 4, 5, 6, 7, 8}
    assert not {3, 9} & set(data.labels("valid").tolist())
    assert set(data.labels("test").tolist()) == set(range(10))
    assert not {3, 9} & set(joined(batches(data, stop=9)).label.tolist())


@pytest.mark.parametrize("without", [[10], [-1], list(range(10))])
def test_digits_there_are_not_cannot_be_left_out(digits, without):
    with pytest.raises(DataError, match=r"data\.without"):
        digits(without=without)
