"""Pairs made on the device: the partner is that of the augmented image, and of the test image."""

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_gen.cli.prepare import main
from lightning_gen.config.compose import check_overrides, compose_data
from lightning_gen.core import PairBatch
from lightning_gen.data.derived import DerivedPairs
from lightning_gen.data.module import DataModule, ImageSet
from lightning_gen.data.pairs import PairModule
from lightning_gen.errors import ConfigError, DataError
from lightning_gen.functional.degrade import edges
from tests.data.trained import batches, fitted, joined, levels, same

SHAPE = (3, 12, 12)
KINDS = {
    "grey": ((1, 12, 12), {"kind": "grey"}),
    "edges": ((1, 12, 12), {"kind": "edges"}),
    "downsample": ((3, 6, 6), {"kind": "downsample", "factor": 2}),
    "small grey": ((1, 4, 4), {"kind": "grey", "factor": 3}),
}


class Noise(DataModule):
    """Coloured noise whose labels are its numbers."""

    def __init__(self, root, shape=SHAPE, **options):
        family = {"batch_size": 1, "name": "noise", "num_classes": 10} | options
        super().__init__(str(root), str(root), shape=shape, **family)

    def write(self, writer):
        pixels = np.random.RandomState(0).randint(256, size=(14, *self.shape))
        writer.save("image", pixels.astype(np.uint8))
        return "drawn"

    def open(self, prepared):
        image, label = prepared.array("image"), np.arange(14) % 10
        return {"train": ImageSet(image[:10], label[:10]), "test": ImageSet(image[10:], label[10:])}


@pytest.fixture(params=KINDS)
def derived(request, tmp_path):
    def make(kind=request.param, **options):
        shape, said = KINDS[kind]
        family = {"batch_size": 4, "name": kind, "resolution": 12, "num_classes": 10}
        data = DerivedPairs(Noise(tmp_path), **family | said | options)
        data.prepare_data()
        data.setup()
        assert data.shape_a == shape
        return data

    return make


def truth(kind, image):
    """Domain a by Pillow, from bytes (3, 12, 12)."""
    picture = Image.fromarray(image.byte().numpy().transpose(1, 2, 0))
    size = KINDS[kind][0][1:]
    if KINDS[kind][0][0] == 1:
        picture = picture.convert("L")
    return np.atleast_3d(np.asarray(picture.resize(size, Image.Resampling.BICUBIC)))


def test_partner_is_the_image_without_what_is_taken(derived, request):
    data, kind = derived(), request.node.callspec.params["derived"]
    for split, n in (("train", 10), ("test", 4)):
        a, label_a = data.real(f"{split}_a")
        b, label_b = data.real(f"{split}_b")
        assert a.shape == (n, *data.shape_a) and b.shape == (n, *SHAPE)
        assert torch.equal(label_a, label_b) and torch.equal(label_a, data.labels(f"{split}_a"))
        assert torch.equal(b, data.sources[0].real(split).image)
        if kind in {"edges"}:
            torch.testing.assert_close(a, edges(b), atol=1 / 255 + 1e-6, rtol=0)
            continue
        for ours, image in zip(levels(a), levels(b), strict=True):
            theirs = truth(kind, image).transpose(2, 0, 1)
            np.testing.assert_allclose(ours.numpy(), theirs, atol=2 if data.factor > 1 else 1)


def test_partners_have_the_levels_of_a_file(derived):
    a = derived().real("train_a").image
    torch.testing.assert_close((a + 1) * 127.5, ((a + 1) * 127.5).round(), atol=1e-4, rtol=0)
    assert a.abs().max() <= 1


@pytest.mark.parametrize("augment", [{}, {"flip": True}, {"flip": True, "shift": 3}])
def test_training_partner_is_that_of_the_augmented_image(derived, augment):
    data = derived(**augment)
    seen = batches(data, stop=10)
    for batch in seen:
        assert torch.equal(batch.a, data.degraded(batch.b))
        assert torch.equal(batch.label_a, batch.label_b)
    whole = joined(seen)
    plain = data.real("train_b", whole.label_b).image
    assert ((whole.b != plain).flatten(1).any(1)).any() == bool(augment)
    counts = torch.bincount(whole.label_b, minlength=10)
    assert (counts == 4).all()


def test_ranks_resume_and_residence(derived):
    options = {"flip": True, "shift": 1}
    whole = batches(derived(**options), stop=6)
    assert all(map(same, whole[4:], batches(derived(**options), start=4, stop=6)))
    assert all(map(same, whole, batches(derived(resident=True, **options), stop=6)))
    ranks = [batches(derived(**options), stop=6, rank=r, world=2) for r in (0, 1)]
    assert all(same(batch, joined(parts)) for batch, *parts in zip(whole, *ranks, strict=True))


def test_lightning_gives_a_model_pairs(derived):
    seen = fitted(derived(flip=True), 3, seed=2)
    assert all(type(batch) is PairBatch for batch in seen)
    assert all(map(same, seen, batches(derived(flip=True), stop=3, seed=2)))


def test_what_it_says_of_itself(derived):
    data = derived()
    assert isinstance(data, PairModule) and data.aligned and data.gives == ("pairs", "paired")
    assert data.splits == ("train_a", "train_b", "test_a", "test_b")
    split, rows = data.domain("test", "a")
    assert split == "test_a" and data.size(split) == len(rows) == 4
    torch.testing.assert_close(data.mean(), data.real("train_b").image.mean(0))
    data.verify()
    prints = {derived(kind).fingerprint for kind in KINDS}
    assert len(prints) == len(KINDS) and data.fingerprint in prints
    assert derived().fingerprint == data.fingerprint != data.sources[0].fingerprint


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"factor": 5}, "12 pixels are no multiple of data.factor=5"),
        ({"channels_a": 3}, "data.channels_a is 3, not 1"),
        ({"resolution_a": 6}, "data.resolution_a is 6, not 12"),
        ({"channels": 1}, "data.channels is 1, not 3"),
        ({"resolution": 28}, "data.resolution is 28, not 12"),
        ({"num_classes": None}, "data.num_classes is None, not 10"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, options, said):
    family = {"batch_size": 4, "name": "x", "kind": "grey", "resolution": 12, "num_classes": 10}
    with pytest.raises(DataError, match=said):
        DerivedPairs(Noise(tmp_path), **family | options)


def test_sources_that_cannot_be_are_refused(tmp_path):
    family = {"batch_size": 4, "name": "x", "kind": "grey", "resolution": 12, "num_classes": 10}
    with pytest.raises(DataError, match="which noise does not give"):
        DerivedPairs(Noise(tmp_path, shape=(2,)), **family)
    for key, value in (("flip", True), ("shift", 1), ("resident", True)):
        with pytest.raises(DataError, match=f"data.source.{key} has no effect"):
            DerivedPairs(Noise(tmp_path, **{key: value}), **family)


@pytest.mark.parametrize(
    ("name", "words", "expected"),
    [
        ("edges", [], [3, 28, 1, 28, 10]),
        ("downsample", ["data.source.resolution=32"], [3, 32, 3, 8, 10]),
        ("downsample", ["data@data.source=mnist", "data.factor=2"], [1, 28, 1, 14, 10]),
        (
            "grey",
            ["data@data.source=stacked_mnist", "data.source.n_train=50"],
            [3, 28, 1, 28, 1000],
        ),
    ],
)
def test_configuration(name, words, expected):
    node = compose_data(name, words)
    facts = ("channels", "resolution", "channels_a", "resolution_a", "num_classes")
    assert [node[fact] for fact in facts] == expected
    assert node["source"].get("n_train", 50) == 50


def test_wrong_source_is_suggested():
    with pytest.raises(ConfigError) as caught:
        compose_data("grey", ["data@data.source=stacked_mnst"])
    assert "did you mean 'stacked_mnist'" in str(caught.value)


@pytest.mark.parametrize("name", ["digits", "grey"])
def test_models_of_single_images_refuse_pairs(name):
    with pytest.raises(ConfigError) as caught:
        check_overrides([f"data={name}", "model=dcgan", "metrics=none"])
    assert "learns from images, and the data" in str(caught.value)


def test_prepare_verb(mnist_root, tmp_path, capsys):
    words = ["data@data.source=mnist", f"paths.data={mnist_root}", "verify=true"]
    assert main(["edges", *words]) == 0
    assert "test_a      10,000 samples" in capsys.readouterr().out
