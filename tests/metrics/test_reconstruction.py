"""Errors of reconstructions: sums by hand, principal components, corruption, refusals."""

import math

import pytest
import torch
from torch import nn

from lightning_gen.baselines.known.pca_reconstruction import PCAReconstruction
from lightning_gen.config.compose import check_overrides, instantiate
from lightning_gen.metrics.reconstruction_evaluator import ReconstructionEvaluator
from tests.metrics.methods import Bare, Real, by_processes, images, notes, values


class Shifted(Bare):
    """Gives images back with 0.2 (of [-1, 1]) more or less in each pixel."""

    def __init__(self, shift=0.2):
        super().__init__()
        self.shift, self.norm = shift, nn.BatchNorm2d(1)

    def reconstruct(self, x):
        assert not self.norm.training
        return x + self.shift


class Denoiser(Bare):
    """Halves the noise that it adds."""

    corruption, level = "gaussian", 0.3

    def __init__(self, clean):
        super().__init__()
        self.clean = clean

    def corrupt(self, x, generator):
        return x + 0.6 * torch.randn(x.shape, generator=generator)

    def reconstruct(self, x):
        nearest = torch.cdist(x.flatten(1), self.clean.flatten(1)).argmin(1)
        return (x + self.clean[nearest]) / 2


def test_squared_errors_are_sums_over_pixels_in_the_unit_range():
    model = Shifted().train()
    found = ReconstructionEvaluator().evaluate(model, Real(images())).require()
    error, psnr = found.scores
    assert error.value == pytest.approx(16 * 0.1**2, rel=1e-4)
    assert psnr.value == pytest.approx(20, abs=1e-3)
    assert error.ci == pytest.approx(0, abs=1e-6)
    assert (error.name, error.protocol.n_real) == ("reconstruction_error_pixels@0_test", 150)
    assert error.protocol.options["error"] == "sum over pixels"
    assert model.training and model.norm.training


def test_denoised_beside_noisy():
    x = images(300, side=8)
    found = ReconstructionEvaluator().evaluate(Denoiser(x), Real(x))
    assert [s.metric for s in found.scores][2:] == ["denoising_psnr", "noisy_psnr"]
    clean, infinite, denoised, noisy = found.scores
    assert clean.value == 0 and infinite.value is None
    assert infinite.note == "infinite, as 300 of 300 images come back exactly"
    assert noisy.value == pytest.approx(-20 * math.log10(0.3), abs=0.3)
    assert denoised.value == pytest.approx(noisy.value + 20 * math.log10(2), abs=0.1)
    assert denoised.protocol.options["corruption"] == "gaussian"
    assert denoised.protocol.options["level"] == 0.3


def test_any_number_of_processes_corrupts_alike():
    x = images(300)
    model, data = Denoiser(x), Real(x)

    def evaluate(seed=0, **team):
        return ReconstructionEvaluator(seed=seed).evaluate(model, data, **team)

    alone = by_processes(1, evaluate)[0]
    assert by_processes(3, evaluate) == [alone] * 3
    assert values(evaluate(seed=1))["noisy_psnr"] != alone[3][1]


def test_what_cannot_be_reconstructed_has_a_note():
    evaluate = ReconstructionEvaluator().evaluate
    assert "Bare has no reconstruct" in notes(evaluate(Bare(), Real(images())))
    assert "no pixels" in notes(evaluate(Shifted(), Real(torch.randn(70, 2))))
    assert "reconstruction of 150 of 150" in notes(evaluate(Shifted(float("nan")), Real(images())))


def test_labels_go_where_they_are_asked_for():
    model, data = Bare(), Real(images(), torch.arange(150) % 3)
    model.reconstruct = lambda x, labels: x + 0.2 * labels.view(-1, 1, 1, 1)
    error = values(ReconstructionEvaluator().evaluate(model, data))["reconstruction_error"]
    assert error == pytest.approx(16 * 0.1**2 * (0 + 1 + 4) / 3, rel=1e-3)


def test_principal_components_have_the_error_that_is_known(digits):
    test, train = (
        digits.real(s, torch.arange(n)).image for s, n in (("test", 500), ("train", 2000))
    )
    flat = train.flatten(1).double()
    mean = flat.mean(0)
    V = torch.linalg.svd(flat - mean, full_matrices=False).Vh[:30].T
    model = Bare()
    model.reconstruct = lambda x: ((x.flatten(1) - mean) @ V @ V.T + mean).view_as(x)
    data = Real(test, train=train)
    known, _ = PCAReconstruction()(data, seed=0, progress=False)
    evaluator = instantiate(check_overrides(["metrics=reconstruction"])["metrics"])
    score = evaluator.evaluate(model, data).require().scores[0]
    assert score.metric == known.metric
    assert score.value == pytest.approx(known.value, rel=1e-4)
    assert 13 < score.value < 18  # 13.87 of all digits
