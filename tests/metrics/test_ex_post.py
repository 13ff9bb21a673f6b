"""Densities of codes: mixtures by moments, real samples' scores, refusals, one or two processes."""

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture

from lightning_gen.config.compose import check_overrides, instantiate
from lightning_gen.metrics.ex_post_evaluator import ExPostEvaluator, fit
from tests.metrics.methods import Bare, Real, by_processes, notes, values
from tests.metrics.stubs import TinyExtractor

CHOSEN = ["fid", "prdc"]


class Auto(Bare):
    """Codes are three pixels that make the image."""

    def encode(self, x):
        return x[:, 0, 0, :3].atanh()

    def decode(self, z):
        return z.tanh().repeat(1, 22)[:, :64].view(-1, 1, 8, 8)


def made(n, seed, spread=0.3):
    """Images of codes that lie around two points."""
    generator = torch.Generator().manual_seed(seed)
    z = spread * torch.randn(n, 3, generator=generator)
    z[::2] += 1
    return Auto().decode(z)


def data(n=600):
    return Real(made(n, 1), train=made(n, 2))


def evaluate(model=None, real=None, *, components=4, n_fit=None, n_fake=600, seed=0, **team):
    evaluator = ExPostEvaluator(
        components, n_fit, extractor=TinyExtractor(), n_fake=n_fake, metrics=CHOSEN, seed=seed
    )
    return evaluator.evaluate(model or Auto(), real or data(), **team)


def test_a_mixture_has_its_moments_and_that_of_scikit_learn():
    codes = torch.randn(800, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([1, 3.0])
    codes[:200] += torch.tensor([20.0, -5])
    mixture = fit(codes, 2, seed=0)
    theirs = GaussianMixture(2, random_state=np.random.RandomState(5)).fit(codes.double().numpy())
    order = mixture.weights.argsort(), theirs.weights_.argsort()
    assert mixture.weights[order[0]] == pytest.approx(theirs.weights_[order[1]], abs=1e-4)
    assert torch.allclose(
        mixture.factors @ mixture.factors.mT,
        torch.from_numpy(theirs.covariances_[order[1]][order[0].argsort()]).float(),
        atol=1e-3,
    )
    z = mixture.sample(40_000, torch.Generator().manual_seed(1))
    assert torch.allclose(z.mean(0), codes.mean(0), atol=0.15)
    assert torch.allclose(z.T.cov(), codes.T.cov(), rtol=0.03, atol=0.5)


def test_a_density_that_fits_beats_one_that_does_not():
    found = evaluate()
    scores = {score.metric: score for score in found.require().scores}
    assert scores["fid"].name == "fid_tiny@600_test"
    options = scores["fid"].protocol.options
    assert (options["sampler"], options["n_fit"]) == ("4 Gaussians on codes", 600)
    assert all(score.protocol.options["n_fit"] == 600 for score in found.scores)
    one = values(evaluate(components=1))
    assert scores["fid"].value < one["fid"] / 2
    assert scores["coverage"].value > 0.8


def test_seeds_and_processes():
    alone = by_processes(1, lambda **team: evaluate(**team))[0]
    two = by_processes(2, lambda **team: evaluate(**team))
    assert two[0] == two[1]
    assert [s[1] for s in two[0]] == pytest.approx([s[1] for s in alone], rel=1e-5)
    assert values(evaluate(seed=1))["fid"] != alone[0][1]


def test_what_has_no_density_has_a_note():
    assert "Bare has no encode and no decode" in notes(evaluate(Bare()))
    assert "cannot be fitted to 3 codes" in notes(evaluate(n_fit=3))
    model = Auto()
    model.requires_labels = True
    assert "conditional" in notes(evaluate(model))
    model = Auto()
    model.encode = lambda x: x[:, 0, 0, :3].long()
    assert "whole numbers" in notes(evaluate(model))
    model.encode = lambda x: x[:, 0, 0, :3] / 0
    assert "codes are not finite" in notes(evaluate(model))


def test_codes_of_any_shape_come_back_in_it():
    class Square(Auto):
        def encode(self, x):
            return super().encode(x)[:, None, :].unsqueeze(-1)

        def decode(self, z):
            assert z.shape[1:] == (1, 3, 1)
            return super().decode(z.flatten(1))

    assert values(evaluate(Square())) == values(evaluate())


def test_real_digits_by_name(digits, tmp_path):
    words = ["metrics=ex_post", "metrics.n_fit=500", "metrics.n_fake=448", "metrics.n_real=448"]
    words += ["metrics.components=2", "metrics.metrics=[fid]", f"paths.cache={tmp_path}"]
    evaluator = instantiate(check_overrides(words)["metrics"])

    class Corner(Bare):
        def encode(self, x):
            return x[:, 0, 10:14, 10:14].flatten(1)

        def decode(self, z):
            return torch.nn.functional.pad(
                z.view(-1, 1, 4, 4).clamp(-1, 1), (10, 14, 10, 14), value=-1
            )

    (score,) = evaluator.evaluate(Corner(), digits).require().scores
    assert score.name == "fid_mnist@448_test" and score.value > 1
