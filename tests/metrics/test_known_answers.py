"""Answers that are known without training anything."""

import math

import pytest
import torch
from scipy.linalg import sqrtm
from scipy.special import logsumexp

from lightning_gen.errors import MetricError
from lightning_gen.functional.distances import neighbourhood
from lightning_gen.metrics.diversity import FeatureDiversity, diversity
from lightning_gen.metrics.fid import FrechetDistance
from lightning_gen.metrics.mixture import MixtureModes, mixture_modes
from lightning_gen.metrics.modes import ModesFound, modes
from lightning_gen.metrics.parzen import parzen, parzen_log_likelihood
from lightning_gen.metrics.prdc import PrecisionRecallDensityCoverage, prdc


def gaussian(n, mean, covariance):
    """A sample whose mean and covariance are exactly these."""
    x = torch.randn(n, len(mean), dtype=torch.float64)
    x -= x.mean(0)
    whiten = torch.linalg.inv(torch.linalg.cholesky(torch.cov(x.T)))
    return x @ whiten.T @ torch.linalg.cholesky(covariance).T + mean


def fid(real, fake):
    metric = FrechetDistance(real.shape[1])
    metric.update(real, real=True)
    metric.update(fake, real=False)
    return float(metric.compute())


def test_fid_of_gaussians_is_the_formula():
    torch.manual_seed(0)
    d = 12
    a, b = torch.randn(2, d, d, dtype=torch.float64)
    a, b = a @ a.T + torch.eye(d), b @ b.T + torch.eye(d)
    mean = torch.randn(d, dtype=torch.float64)
    root = sqrtm((a @ b).numpy()).real.trace()
    expected = float(mean.square().sum() + a.trace() + b.trace()) - 2 * root
    zero = torch.zeros(d, dtype=torch.float64)
    assert fid(gaussian(500, zero, a), gaussian(300, mean, b)) == pytest.approx(expected, rel=1e-8)


def test_fid_of_scaled_and_shifted_identity():
    eye, one = torch.eye(5, dtype=torch.float64), torch.ones(5, dtype=torch.float64)
    got = fid(gaussian(100, 0 * one, eye), gaussian(100, 2 * one, 9 * eye))
    assert got == pytest.approx(5 * 4 + 5 * (3 - 1) ** 2, rel=1e-8)


def test_fid_of_a_set_with_itself_in_any_order_and_batches():
    x = torch.randn(400, 20)
    assert abs(fid(x, x[torch.randperm(400)])) < 1e-6
    y = torch.randn(400, 20) + 0.3
    whole, parts = FrechetDistance(20), FrechetDistance(20)
    whole.update(x, real=True)
    whole.update(y, real=False)
    for size, side, real in ((7, x.flip(0), True), (64, y[torch.randperm(400)], False)):
        for batch in side.split(size):
            parts.update(batch, real=real)
    assert float(parts.compute()) == pytest.approx(float(whole.compute()), rel=1e-9)


@pytest.mark.parametrize("n", [1, 2, 20])
def test_fid_refuses_too_few_samples(n):
    with pytest.raises(MetricError, match=rf"{n} samples give no covariance of 20 features"):
        fid(torch.randn(100, 20), torch.randn(n, 20))


def test_prdc_of_equal_gaussians():
    """Fewer samples than in baselines/known/prdc_gaussians.py, the same picture."""
    torch.manual_seed(0)
    got = prdc(torch.randn(2000, 1000), torch.randn(2000, 1000), k=5)
    assert abs(got.precision - got.recall) < 0.06
    assert 0.85 < got.density < 1.2
    assert got.coverage > 0.95


def test_prdc_by_its_definition():
    torch.manual_seed(0)
    real, fake, k = torch.randn(90, 3).double(), torch.randn(70, 3).double() + 0.5, 4
    radius_x = torch.cdist(real, real).sort().values[:, k]
    radius_y = torch.cdist(fake, fake).sort().values[:, k]
    distance = torch.cdist(real, fake)
    inside = distance < radius_x[:, None]
    got = prdc(real, fake, k)
    assert got.precision == pytest.approx(inside.any(0).double().mean().item())
    assert got.recall == pytest.approx((distance < radius_y).any(1).double().mean().item())
    assert got.density == pytest.approx(inside.sum().item() / (k * 70))
    assert got.coverage == pytest.approx(inside.any(1).double().mean().item())
    order = torch.randperm(90)
    assert prdc(real[order], fake.flip(0), k) == got


def test_touching_balls_are_open():
    real = torch.tensor([[0.0], [1.0]])
    assert prdc(real, torch.tensor([[2.0], [40.0]]), k=1).precision == 0  # at distance 1 of 1


def ring_and_grid():
    angle = 2 * math.pi * torch.arange(8) / 8
    ring = torch.stack([angle.cos(), angle.sin()], 1)
    line = torch.arange(-4.0, 5, 2)
    return {"ring": (ring, 0.01), "grid": (torch.cartesian_prod(line, line), 0.05)}


@pytest.mark.parametrize(("name", "kl"), [("ring", 0.0015), ("grid", 0.0050)])
def test_true_samples_of_a_mixture(name, kl):
    torch.manual_seed(0)
    centres, std = ring_and_grid()[name]
    runs = []
    for _ in range(20):
        pick = torch.randint(len(centres), (2500,))
        runs.append(mixture_modes(centres[pick] + std * torch.randn(2500, 2), centres, std))
    assert all(run.found == len(centres) for run in runs)
    assert sum(r.high_quality for r in runs) / 20 == pytest.approx(1 - math.exp(-4.5), abs=0.002)
    assert sum(r.kl for r in runs) / 20 == pytest.approx(kl, rel=0.25)


def test_mixture_of_one_mode_and_of_none():
    centres, std = ring_and_grid()["ring"]
    one = mixture_modes(centres[3].expand(50, 2), centres, std)
    assert (one.found, one.high_quality) == (1, 1.0)
    assert one.kl == pytest.approx(math.log(8))
    none = mixture_modes(torch.zeros(50, 2), centres, std)
    assert (none.found, none.high_quality) == (0, 0.0)
    assert none.kl == pytest.approx(math.log(8))
    metric = MixtureModes(centres, std)
    metric.update(centres[:3])
    metric.update(centres[2:5])
    assert metric.compute().found == 5


def test_true_labels_of_stacked_digits():
    torch.manual_seed(0)
    digits = torch.randint(10, (26_000, 3))
    labels = 100 * digits[:, 0] + 10 * digits[:, 1] + digits[:, 2]
    logits = torch.full((26_000, 1000), -20.0).scatter_(1, labels[:, None], 20.0)
    seen = modes(logits)
    assert seen.found == 1000
    assert seen.kl == pytest.approx(0.0192, abs=0.003)  # (K - 1) / 2N, uniform digits
    assert torch.equal(seen.histogram, labels.bincount(minlength=1000))


def test_a_mode_needs_confident_samples_and_more_than_mistakes():
    logits = torch.zeros(10_000, 10)
    logits[:, 0] = 20.0
    logits[:19, 0] = 0.0
    logits[:19, 1] = 20.0  # 19 of 10,000 are a classifier's mistakes, 20 are a mode
    logits[19:4000, 0] = 1.0  # unsure
    assert modes(logits).found == 1
    logits[19] = logits[0]
    assert modes(logits).found == 2
    assert modes(torch.zeros(100, 10)).found == 0
    metric = ModesFound()
    metric.update(logits[:5000])
    metric.update(logits[5000:])
    assert metric.compute().found == 2


def test_divergence_to_the_real_histogram():
    logits = 50 * torch.eye(3)[torch.tensor([0, 0, 1])]
    assert modes(logits, torch.tensor([20, 10, 0])).js == pytest.approx(0)
    assert modes(logits, torch.tensor([0, 0, 5])).js == pytest.approx(math.log(2))


def test_diversity_of_the_same_of_half_and_of_copies():
    torch.manual_seed(0)
    real = torch.randn(1000, 8)
    near = neighbourhood(real, 1)
    same = diversity(near, neighbourhood(torch.randn(1000, 8), 1))
    assert same.pairwise_ratio == pytest.approx(1, abs=0.02)
    assert same.duplicate_rate < 0.03
    half = diversity(near, neighbourhood(real / 2, 1))
    assert half.pairwise_ratio == pytest.approx(0.5)
    copies = diversity(near, neighbourhood(real[:500].repeat(2, 1), 1))
    assert copies.duplicate_rate == 1
    with pytest.raises(MetricError, match="all real samples have the same features"):
        diversity(neighbourhood(torch.ones(9, 2), 1), near)


def test_metrics_over_batches_equal_their_functions():
    real, fake = torch.randn(120, 4), torch.randn(100, 4)
    for metric, expected in (
        (PrecisionRecallDensityCoverage(k=3), prdc(real, fake, 3)),
        (FeatureDiversity(), diversity(neighbourhood(real, 1), neighbourhood(fake, 1))),
    ):
        for batch in real.split(50):
            metric.update(batch, real=True)
        for batch in fake.split(7):
            metric.update(batch, real=False)
        assert metric.compute() == pytest.approx(expected)


def test_parzen_by_its_definition():
    torch.manual_seed(0)
    x, samples, sigma = torch.rand(6, 4).double(), torch.rand(9, 4).double(), 0.3
    energy = (x[:, None] - samples).square().sum(-1) / (2 * sigma**2)
    expected = logsumexp(-energy.numpy(), axis=1) - math.log(9)
    expected -= 2 * math.log(2 * math.pi * sigma**2)
    got = parzen_log_likelihood(x, samples, [0.1, sigma])[1]
    torch.testing.assert_close(got, torch.from_numpy(expected))


def test_parzen_far_from_all_samples_is_finite():
    x, samples = torch.ones(1, 784), torch.zeros(3, 784)
    got = float(parzen_log_likelihood(x, samples, [0.1])[0, 0])
    assert got == pytest.approx(-784 / 0.02 - 392 * math.log(2 * math.pi * 0.01), rel=1e-12)


def test_parzen_refuses_pixels_of_another_range():
    x = torch.rand(5, 4)
    for bad in (x * 2 - 1, x + math.nan):
        with pytest.raises(MetricError, match=r"samples must be finite and in \[0, 1\]"):
            parzen(bad, x, x)
