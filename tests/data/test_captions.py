"""Pictures of digits show what their captions say, and some kinds are never trained on."""

import itertools

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from lightning_gen.data.captions import COLOURS, COUNTS, DIGITS, WORDS, Captions, kinds, sentences
from lightning_gen.errors import ConfigError, DataError
from lightning_gen.metrics.extractors import MNISTClassifier


def make(root, **options):
    sizes = {"n_train": 500, "n_test": 500, "n_unseen": 50}
    data = Captions(str(root), str(root / "cache"), batch_size=8, **sizes | options)
    data.prepare_data()
    data.setup()
    return data


@pytest.fixture(scope="module", params=[32, 28])
def data(request, mnist_root):
    return make(mnist_root, resolution=request.param)


def said(data, label):
    """Number, colour and digit that a caption names."""
    count, colour, noun = data.caption(label).split()
    return COUNTS.index(count) + 1, colour, noun


def cells(image):
    """Four cells (4, 3, h, h) of an image (3, 2 h, 2 h) in [0, 1]."""
    halves = torch.stack(((image + 1) / 2).chunk(2, 1))
    return torch.cat([torch.stack(half.chunk(2, 2)) for half in halves])


@pytest.mark.parametrize("split", ["train", "test", "unseen"])
def test_a_picture_has_the_number_and_the_colour_of_its_caption(data, split):
    image, label = data.real(split, range(50))
    assert image.shape[1:] == data.shape and label.shape == (50, 3) and label.dtype == torch.int64
    for x, t in zip(image, label, strict=True):
        count, colour, _ = said(data, t)
        parts = cells(x)
        assert int((parts.amax((1, 2, 3)) > 0.5).sum()) == count
        brightest = parts.amax((0, 2, 3))
        rgb = torch.tensor(COLOURS[colour]) / 255
        assert ((brightest > 0.5) == (rgb > 0.5)).all() and (brightest[rgb == 0] == 0).all()


def test_a_classifier_reads_the_digit_of_the_caption(data):
    image, label = data.real("test")
    found, truth = [], []
    for x, t in zip(image, label, strict=True):
        parts = cells(x).amax(1, keepdim=True)
        found.append(parts[parts.amax((1, 2, 3)) > 0.5])
        noun = said(data, t)[2]
        (digit,) = (k for k, d in enumerate(DIGITS) if noun in (d, f"{d}s", f"{d}es"))
        truth += [digit] * len(found[-1])
    # As MNIST has them: 14/16 of a cell is 24 of its pixels, less two of margin.
    side = data.shape[-1] // 2
    digits = interpolate(torch.cat(found), (24, 24), mode="bicubic").clamp(0, 1)
    digits = torch.nn.functional.pad(digits, (2, 2, 2, 2)) * 2 - 1
    seen = MNISTClassifier()(digits).logits.argmax(1)
    assert side in (14, 16)
    assert (seen == torch.tensor(truth)).float().mean() > 0.95


def test_held_out_kinds_are_in_a_split_of_their_own(data):
    splits = {s: {tuple(t.tolist()) for t in data.labels(s)} for s in data.splits}
    assert data.splits == ("train", "test", "unseen")
    assert not splits["unseen"] & (splits["train"] | splits["test"])
    unseen, seen = (sentences(kinds(unseen=u)) for u in (True, False))
    assert splits["unseen"] <= set(map(tuple, unseen)) and len(unseen) + len(seen) == 180
    assert set(unseen.flatten()) <= set(seen.flatten())


def test_any_two_facts_of_a_held_out_kind_are_seen_together():
    unseen, seen = (
        {p for kind in kinds(unseen=u) for p in itertools.combinations(enumerate(kind), 2)}
        for u in (True, False)
    )
    assert unseen <= seen


def test_every_caption_comes_back_from_its_words(data):
    for t in sentences(np.concatenate([kinds(unseen=u) for u in (True, False)])):
        text = data.caption(torch.from_numpy(t))
        assert data.ids(text).tolist() == t.tolist()
    assert data.caption(data.ids("two red sixes")) == "two red sixes"
    assert data.ids("sevens").tolist() == [WORDS.index("sevens"), 0, 0]


@pytest.mark.parametrize(
    ("text", "what"),
    [("two orange sevens", "'orange'"), ("", "0 words"), ("one one one one", "4 words")],
)
def test_what_is_no_caption(data, text, what):
    with pytest.raises(ConfigError, match=what):
        data.ids(text)


def test_conditions_are_captions_that_are_trained_on_in_turn(data):
    asked = data.conditions(162)
    assert torch.equal(data.conditions(30, start=150)[12:], asked[:18])
    assert torch.equal(data.conditions(3, start=7), asked[7:10])
    assert set(map(tuple, asked.tolist())) == set(map(tuple, sentences(kinds(unseen=False))))
    assert len(asked[:8].unique(dim=0)) == 8


def test_pictures_are_a_function_of_their_seed(mnist_root):
    first, second = (make(mnist_root, draw_seed=k, name=f"captions_{k}") for k in (0, 1))
    again = make(mnist_root, name="captions_again")
    x = [d.real("train", range(20)).image for d in (first, second, again)]
    assert torch.equal(x[0], x[2]) and not torch.equal(x[0], x[1])
    assert first.num_classes is None and first.fingerprint != second.fingerprint
    assert not np.array_equal(first.labels("train"), first.labels("test"))


@pytest.mark.parametrize("fact", [{"words": 5}, {"channels": 1}, {"num_classes": 10}])
def test_facts_that_are_not_so(mnist_root, fact):
    with pytest.raises(DataError):
        make(mnist_root, **fact)
