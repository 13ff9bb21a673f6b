"""Probes of features: against scikit-learn, brute force, plain pixels and a plain optimiser."""

import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import nn
from torch.nn.functional import cross_entropy

from lightning_gen.baselines.known.nearest_neighbour_real import NearestNeighbourError
from lightning_gen.config.compose import check_overrides, instantiate
from lightning_gen.functional.pixels import grey_levels
from lightning_gen.metrics import nearest_neighbour
from lightning_gen.metrics.nearest_neighbour import nearest_neighbour_error
from lightning_gen.metrics.probe_evaluator import ProbeEvaluator, linear_probe_error
from tests.metrics.test_code_evaluator import Written

SCORES = ["nearest_neighbour_error", "linear_probe_error"]


def blobs(n, d=5, classes=4, noise=1.0, seed=0):
    """Points around the corners of a cube, their labels, and as many to test on."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, d, generator=generator) * 2
    labels = torch.randint(0, classes, (2, n), generator=generator)
    points = centres[labels] + noise * torch.randn(2, n, d, generator=generator)
    return points[0], labels[0], points[1], labels[1]


class Probed(nn.Module):
    """A model whose features, code and discriminator's features are told apart by a factor."""

    device = torch.device("cpu")

    def __init__(self, scale=1.0):
        super().__init__()
        self.D = nn.BatchNorm2d(1, affine=False, eps=0.0)
        self.scale = scale
        self.D.features = lambda x: self.D(x) * torch.tensor([1.0, 0.0])

    def features(self, x):
        return self.scale * x

    def encode(self, x):
        return x[..., :1]


def flat_data(test, test_labels, train, train_labels):
    def images(points):
        return points.view(len(points), 1, 1, -1)

    return Written(train=(images(train), train_labels), test=(images(test), test_labels))


@pytest.mark.parametrize("part", [7, 100, 16_384])
def test_the_neighbour_is_that_of_scikit_learn(part, monkeypatch):
    monkeypatch.setattr(nearest_neighbour, "PART", part)
    x, labels, train, names = blobs(250, noise=2.5)
    knn = KNeighborsClassifier(1, algorithm="brute").fit(train.double().numpy(), names.numpy())
    wrong = float((knn.predict(x.double().numpy()) != labels.numpy()).mean())
    assert 0.05 < wrong < 0.6
    for rows in (3, 500):
        assert nearest_neighbour_error(x, labels, train, names, rows=rows) == wrong


def test_near_copies_far_from_the_origin_are_told_apart():
    # In float32 the expanded square of distances would be noise of some 10 at such norms.
    train = torch.tensor([[1e4, 0.01], [1e4, 0.0]])
    x, names = torch.tensor([[1e4, 0.002]]), torch.tensor([0, 1])
    assert nearest_neighbour_error(x, torch.tensor([1]), train, names) == 0.0


def test_the_linear_probe_is_the_minimum_of_its_loss():
    x, labels, train, names = blobs(200, noise=2.0)
    x, train = x * torch.tensor([1.0, 10, 0.1, 3, 1]), train * torch.tensor([1.0, 10, 0.1, 3, 1])
    mean, deviation = train.double().mean(0), train.double().std(0, correction=0)
    inputs, tests = (train - mean) / deviation, (x - mean) / deviation
    for C in (1.0, 1e-3):
        W = torch.zeros(5, 4, dtype=torch.float64, requires_grad=True)
        b = torch.zeros(4, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS([W, b], max_iter=500, line_search_fn="strong_wolfe")

        def loss(W=W, b=b, C=C, optimizer=optimizer):
            optimizer.zero_grad()
            total = C * cross_entropy(inputs @ W + b, names, reduction="sum")
            total = total + W.square().sum() / 2
            total.backward()
            return total

        optimizer.step(loss)
        wrong = float(((tests @ W + b).argmax(1) != labels).double().mean())
        assert linear_probe_error(x, labels, train, names, C=C) == pytest.approx(wrong, abs=0.006)


def test_few_steps_are_taken_as_they_are_and_said():
    sets = blobs(100, noise=3.0)
    assert 0 < linear_probe_error(*sets, max_iter=1) < 1
    (score, *_) = ProbeEvaluator(max_iter=1).evaluate(Probed(), flat_data(*sets)).scores
    assert score.protocol.options["max_iter"] == 1


def test_labels_that_features_do_not_know_are_guessed():
    x, labels, train, names = blobs(2000)
    shuffled = names[torch.randperm(2000, generator=torch.Generator().manual_seed(3))]
    assert linear_probe_error(x, labels, train, shuffled) == pytest.approx(0.75, abs=0.1)
    assert nearest_neighbour_error(x, labels, train, shuffled) == pytest.approx(0.75, abs=0.05)


def test_each_place_has_features_of_its_own():
    x, labels, train, names = blobs(300, d=2, noise=1.5)
    data = flat_data(x, labels, train, names)
    found = {}
    for of in ("features", "encoder", "discriminator"):
        model = Probed().train()
        model.D.running_var.fill_(4.0)
        scores = ProbeEvaluator(of=of).evaluate(model, data).require().scores
        assert [s.metric for s in scores] == SCORES
        assert scores[0].name == f"nearest_neighbour_error_{of}@0_test"
        assert model.training and model.D.training
        assert model.D.num_batches_tracked == 0
        found[of] = [s.value for s in scores]
    assert found["features"][0] == nearest_neighbour_error(x, labels, train, names)
    one = x[:, :1], labels, train[:, :1], names
    assert found["encoder"] == [nearest_neighbour_error(*one), linear_probe_error(*one)]
    assert found["discriminator"] == found["encoder"] != found["features"]


def test_the_protocol_says_what_was_probed():
    data = flat_data(*blobs(90))
    evaluator = ProbeEvaluator(n_train=60, n_real=40, C=0.5)
    near, linear = evaluator.evaluate(Probed(), data, n_fake=9).scores
    assert near.protocol == linear.protocol
    how = near.protocol
    assert (how.extractor, how.n_real, how.n_fake, how.split) == ("features", 40, 0, "test")
    assert how.weights == "raw"
    assert how.options["n_train"] == 60
    assert how.options["C"] == 0.5
    assert near.ci == pytest.approx((near.value * (1 - near.value) / 40) ** 0.5)
    assert evaluator.evaluate(Probed(), data, split="train").scores[0].value == 0  # with itself


@pytest.mark.parametrize(
    ("of", "change", "said"),
    [
        ("features", lambda m: setattr(m, "scale", float("nan")), "features of 90 of 90"),
        ("discriminator", lambda m: delattr(m.D, "features"), "Probed has no D.features"),
        ("discriminator", lambda m: delattr(m, "D"), "Probed has no D.features"),
    ],
)
def test_what_cannot_be_probed_has_a_note(of, change, said):
    model = Probed()
    change(model)
    for score in ProbeEvaluator(of=of).evaluate(model, flat_data(*blobs(90))).scores:
        assert score.value is None
        assert said in score.note


def test_pixels_have_the_error_that_is_known(digits):
    class Pixels(Probed):
        def features(self, x):
            return grey_levels(x)

    (known,) = NearestNeighbourError(3000, 1000)(digits, seed=0, progress=False)
    evaluator = ProbeEvaluator(n_train=3000, n_real=1000, max_iter=1)
    near, _ = evaluator.evaluate(Pixels(), digits).require().scores
    assert near.value == known.value
    assert 0.03 < near.value < 0.15


@pytest.mark.parametrize(
    ("words", "of"),
    [
        (["model=bigan", "model.G.units=8", "model.D.units=8", "model.E.units=8"], "features"),
        (["model=bigan", "model.G.units=8", "model.D.units=8", "model.E.units=8"], "encoder"),
        (["model=autoencoder", "model.encoder.units=[8]", "model.latent_dim=20"], "encoder"),
        (["model=dcgan", "model.G.width=4", "model.D.width=4"], "discriminator"),
    ],
)
def test_models_of_this_package_are_probed_by_name(words, of, digits):
    torch.manual_seed(0)
    counts = ["metrics.n_train=600", "metrics.n_real=200", "metrics.max_iter=20"]
    config = check_overrides([*words, "metrics=probe", f"metrics.of={of}", *counts])
    model = instantiate(config["model"])
    scores = instantiate(config["metrics"]).evaluate(model, digits).require().scores
    assert all(0 < score.value < 0.85 for score in scores)
