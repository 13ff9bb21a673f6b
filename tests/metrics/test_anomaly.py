"""Areas under curves: all pairs by hand, errors by resampling, refusals."""

import pytest
import torch
from sklearn.decomposition import PCA

from lightning_gen.config.compose import check_overrides, instantiate
from lightning_gen.data.mnist import MNIST
from lightning_gen.metrics.anomaly_evaluator import AnomalyEvaluator, auc_error
from tests.metrics.methods import Bare, Real, by_processes, images, notes, values


class Told(Bare):
    """How strange an image is stands in its first pixel, for either method."""

    likelihood_space = "unit"

    def reconstruct(self, x):
        error = (x[:, :, :1, :1] + 1) / 2
        return x + 2 * error.sqrt() / 4

    def log_likelihood(self, x, *, samples=None, generator=None):
        return x[:, 0, 0, 0]  # backwards


def told(n=150):
    x = images(n)
    labels = torch.where(x[:, 0, 0, 0] + torch.randn(n, generator=torch.Generator()) > 0.8, 9, 3)
    return Real(x, labels, without=[9])


def test_the_area_is_the_share_of_pairs():
    data = told()
    x, labels = data.real("test")
    strange, known = x[labels == 9][:, 0, 0, 0], x[labels == 3][:, 0, 0, 0]
    right = (strange[:, None] > known).double() + (strange[:, None] == known).double() / 2
    auc, precision = AnomalyEvaluator().evaluate(Told(), data).require().scores
    assert auc.value == pytest.approx(float(right.mean()), abs=1e-3)  # ties are rounded
    assert auc.name == "anomaly_auc_reconstruction@0_test"
    assert auc.protocol.options["held_out"] == [9]
    assert len(strange) / 150 < precision.value < 1 and 0.6 < auc.value < 0.95
    by_likelihood, _ = AnomalyEvaluator(by="likelihood").evaluate(Told(), data).scores
    assert by_likelihood.value == pytest.approx(1 - auc.value, abs=1e-3)
    assert by_likelihood.name == "anomaly_auc_likelihood@0_test"


def test_its_error_is_that_of_resampling():
    generator = torch.Generator().manual_seed(0)
    strange = torch.randn(2000, 40, generator=generator) + 1
    known = torch.randn(2000, 60, generator=generator)
    areas = (strange[:, :, None] > known[:, None]).float().mean((1, 2))
    assert auc_error(float(areas.mean()), 40, 60) == pytest.approx(float(areas.std()), rel=0.15)


def test_any_number_of_processes_has_the_same_area():
    data = told(500)
    evaluate = AnomalyEvaluator().evaluate
    alone = by_processes(1, lambda **team: evaluate(Told(), data, **team))[0]
    assert by_processes(3, lambda **team: evaluate(Told(), data, **team)) == [alone] * 3


def test_what_cannot_be_told_has_a_note():
    x, labels = images(), torch.arange(150) % 3
    held_out = Real(x, labels, without=[2])
    evaluate = AnomalyEvaluator().evaluate
    assert "data.without=[9]" in notes(evaluate(Told(), Real(x, labels)))
    assert "0 of 150 images" in notes(evaluate(Told(), Real(x, labels, without=[9])))
    assert "without labels" in notes(evaluate(Told(), Real(x, without=[9])))
    assert "Bare has no log_likelihood" in notes(evaluate(Bare(), held_out))
    by = AnomalyEvaluator(by="reconstruction").evaluate(Bare(), held_out)
    assert "Bare has no reconstruct" in notes(by)


def test_a_digit_that_was_held_out(mnist_root):
    data = MNIST(str(mnist_root), str(mnist_root / "downloads"), batch_size=64, without=[0])
    data.setup()
    x = data.real("train", torch.arange(3000)).image.flatten(1)
    components = PCA(16, random_state=0).fit(x.numpy())

    class Components(Bare):
        def reconstruct(self, x):
            codes = components.transform(x.flatten(1).numpy())
            return torch.from_numpy(components.inverse_transform(codes)).view_as(x).float()

    words = ["data.without=[0]", "metrics=anomaly", "metrics.n_real=2000"]
    evaluator = instantiate(check_overrides(words)["metrics"])
    found = values(evaluator.evaluate(Components(), data).require())
    assert 0.8 < found["anomaly_auc"] < 0.99
    assert 0.2 < found["anomaly_precision"] < 0.99
