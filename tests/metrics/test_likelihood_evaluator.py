"""Likelihoods: closed forms, spaces and their bits, kinds, refusals, several processes."""

import math

import pytest
import torch
from torch import nn

from lightning_gen.baselines.known.gaussian_logit import logits
from lightning_gen.config.compose import check_overrides, instantiate
from lightning_gen.data.mnist import MNIST
from lightning_gen.functional.ais import LogPartition
from lightning_gen.functional.pixels import grey_levels, unit_range
from lightning_gen.metrics.likelihood_evaluator import LikelihoodEvaluator, bits_per_dim
from tests.metrics.methods import Bare, Real, black_and_white, by_processes, images, notes, values


class Coins(Bare):
    """Independent pixels that are white with probability p."""

    def __init__(self, p=0.25):
        super().__init__()
        self.p, self.asked = p, []
        self.norm = nn.BatchNorm2d(1)

    def log_likelihood(self, x, *, samples=None, generator=None):
        assert not self.norm.training
        self.asked.append(samples)
        u = unit_range(x)
        return (u * math.log(self.p) + (1 - u) * math.log(1 - self.p)).flatten(1).sum(1)


class Noisy(Bare):
    """A likelihood that is nothing but what it draws."""

    likelihood_kind, importance_samples = "lower bound", 3

    def log_likelihood(self, x, *, samples=None, generator=None):
        return torch.rand(len(x), samples or 3, generator=generator).sum(1)


class Flat(Bare):
    """A density of grey pixels that knows nothing of them."""

    def __init__(self, space, alpha=0.05):
        super().__init__()
        self.likelihood_space, self.alpha = space, alpha

    def log_likelihood(self, x, *, samples=None, generator=None):
        if self.likelihood_space in {"bytes"}:
            return torch.full((len(x),), -math.log(256.0) * x[0].numel())
        if self.likelihood_space in {"unit"}:
            return torch.zeros(len(x))
        u = torch.rand(x.shape, generator=generator)
        s = self.alpha + (1 - 2 * self.alpha) * (grey_levels(x) + u) / 256
        return ((s * (1 - s)).log() - math.log(1 - 2 * self.alpha)).flatten(1).sum(1)


def test_coins_have_their_closed_form():
    x, model = black_and_white(), Coins().train()
    found = LikelihoodEvaluator().evaluate(model, Real(x, binarise="static")).require()
    (score,) = found.scores
    white = (x > 0).flatten(1).double().sum(1)
    nll = -(white * math.log(0.25) + (16 - white) * math.log(0.75))
    assert score.value == pytest.approx(float(nll.mean()), abs=1e-5)
    assert score.ci == pytest.approx(float(nll.std()) / 150**0.5, abs=1e-5)
    assert score.name == "nll_binary@0_test"
    assert model.training and model.norm.training
    how = score.protocol
    assert (how.n_real, how.weights, how.seed) == (150, "raw", 0)
    assert how.options == {
        "kind": "exact", "binarisation": "static", "ci": "standard error over test points",
    }  # fmt: skip


def test_samples_are_asked_for_and_named():
    x = Real(black_and_white(), binarise="dynamic")
    for samples, name in ((None, "nll_binary@3_test"), (5000, "nll_binary@5k_test")):
        (score,) = LikelihoodEvaluator(samples, n_real=64).evaluate(Noisy(), x).scores
        assert (score.name, score.protocol.options["kind"]) == (name, "lower bound")
        assert score.value == pytest.approx(-(samples or 3) / 2, rel=0.1)
    model = Coins()
    (score,) = LikelihoodEvaluator(7, n_real=3).evaluate(model, x).scores
    assert (score.protocol.n_fake, score.protocol.n_real, model.asked) == (0, 3, [7])


@pytest.mark.parametrize("kind", ["lower bound", "estimate"])
def test_any_number_of_processes_draws_the_same(kind):
    model, data = Noisy(), Real(black_and_white(500), binarise="static")
    model.likelihood_kind = kind

    def evaluate(seed=0, **team):
        return LikelihoodEvaluator(seed=seed).evaluate(model, data, **team)

    alone = by_processes(1, evaluate)[0]
    for world in (2, 3):
        assert by_processes(world, evaluate) == [alone] * world
    assert values(evaluate(seed=1))["nll"] != alone[0][1]
    first = LikelihoodEvaluator(n_real=64).evaluate(model, data)
    again = LikelihoodEvaluator(n_real=128).evaluate(model, data)
    assert (values(first) == values(again)) == (kind == "estimate")  # whose draws are no image's


def test_the_error_of_an_estimated_constant_is_told():
    model = Noisy()
    model.likelihood_kind = "estimate"
    model.log_partition = lambda runs, generator: LogPartition(
        runs + float(torch.rand(1, generator=generator)), 0.125
    )
    data = Real(black_and_white(), binarise="static")
    (score,) = LikelihoodEvaluator(7).evaluate(model, data).require().scores
    assert score.note.startswith("log Z is 7.") and "error of 0.12" in score.note


@pytest.mark.parametrize("space", ["unit", "logit", "bytes"])
def test_who_knows_nothing_needs_eight_bits(space):
    found = LikelihoodEvaluator().evaluate(Flat(space), Real(images(600))).require()
    nats, bits = found.scores
    assert (nats.name, bits.name) == (f"nll_{space}@0_test", "bits_per_dim_bytes@0_test")
    assert bits.value == pytest.approx(8, abs={"logit": 0.02}.get(space, 1e-5))
    assert bits.ci < 0.01


def test_the_logits_slope_is_the_mean_over_noise():
    x = images(1, side=28)
    y = logits(grey_levels(x).double(), torch.rand(2000, 1, 28, 28, dtype=torch.float64))
    s = y.sigmoid()
    slope = (math.log1p(-2e-6) - (s * (1 - s)).log()).flatten(1).sum(1)
    expected = (1000 - slope) / (784 * math.log(2)) + 8
    found = float(bits_per_dim(torch.tensor([1000.0]), x, "logit", 1e-6))
    assert found == pytest.approx(float(expected.mean()), abs=4 * float(expected.std()) / 2000**0.5)


def test_nats_are_refused_where_they_mean_nothing():
    grey, binary = Real(images()), Real(black_and_white(), binarise="dynamic")
    evaluate = LikelihoodEvaluator().evaluate
    assert "grey pixels have no nats" in notes(evaluate(Coins(), grey))
    assert "data.binarise=dynamic" in notes(evaluate(Coins(), grey))
    for space in ("unit", "logit", "bytes"):
        assert "data.binarise=null" in notes(evaluate(Flat(space), binary))
    assert "Bare has no log_likelihood" in notes(evaluate(Bare(), binary))


def test_what_is_not_finite_is_counted():
    model, data = Coins(), Real(black_and_white(), binarise="static")
    plain = model.log_likelihood
    model.log_likelihood = lambda x, **how: plain(x, **how).where(x[:, 0, 0, 0] > 0, -math.inf)
    black = int((data.real("test").image[:, 0, 0, 0] < 0).sum())
    assert f"nll of {black} of 150 test images" in notes(
        LikelihoodEvaluator().evaluate(model, data)
    )


def test_labels_go_where_they_are_asked_for_and_units_are_counted():
    x = black_and_white()
    data = Real(x, torch.arange(150) % 3, binarise="static")
    model = Coins()
    model.log_likelihood = lambda x, *, labels, **how: -labels.float()
    model.active_units = lambda x: len(x) // 10
    found = LikelihoodEvaluator().evaluate(model, data).require()
    assert values(found) == {"nll": 1.0, "active_units": 15.0}
    assert found.scores[1].name == "active_units_code@0_test" and found.scores[1].ci is None


def test_pixel_means_of_binarised_digits(digits, mnist_root):
    binary = MNIST(
        str(mnist_root), str(mnist_root / "downloads"), batch_size=64, binarise="dynamic"
    )
    binary.setup()
    config = check_overrides(["model=bernoulli", "data.binarise=dynamic", "metrics=likelihood"])
    model, evaluator = instantiate(config["model"]), instantiate(config["metrics"])
    mean = (1 + unit_range(digits.mean()) * 60_000) / 60_002
    with torch.no_grad():
        model.logits.copy_(mean.logit())
    (score,) = evaluator.evaluate(model, binary).require().scores
    assert score.value == pytest.approx(205.9, abs=0.3)  # the mean over binarisations
    assert "grey pixels" in notes(evaluator.evaluate(model, digits))
