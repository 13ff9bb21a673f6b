"""Likelihoods against torch's distributions, sums over all values and numerical integrals."""

import math

import pytest
import torch
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Independent, Normal, kl_divergence

from lightning_gen.functional.dequantise import dequantise
from lightning_gen.functional.draws import drawn
from lightning_gen.functional.likelihoods import (
    LIKELIHOODS,
    DiscretisedLogistic,
    Gaussian,
    kl_standard_normal,
    log_normal,
)

LEVELS = torch.arange(256, dtype=torch.float64) / 127.5 - 1
SHAPE = (2, 4, 4)


def parameters(name, *batch):
    torch.manual_seed(0)
    channels = LIKELIHOODS[name].parameters * SHAPE[0]
    return torch.randn(*batch, channels, *SHAPE[1:], dtype=torch.float64)


def images(name, *batch):
    x = torch.randint(2, (*batch, *SHAPE)) * 2.0 - 1
    if name in {"bernoulli"}:
        return x.double()
    return LEVELS[torch.randint(256, (*batch, *SHAPE))]


def test_divergence_and_density_of_normals():
    torch.manual_seed(0)
    mean, log_variance, z = torch.randn(3, 5, 4, dtype=torch.float64)
    normal = Independent(Normal(mean, (log_variance / 2).exp()), 1)
    standard = Independent(Normal(torch.zeros_like(mean), torch.ones_like(mean)), 1)
    torch.testing.assert_close(
        kl_standard_normal(mean, log_variance), kl_divergence(normal, standard)
    )
    torch.testing.assert_close(log_normal(z, mean, log_variance), normal.log_prob(z))
    torch.testing.assert_close(log_normal(z), standard.log_prob(z))


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_every_likelihood_sums_over_pixels_and_broadcasts(name):
    likelihood, p, x = LIKELIHOODS[name], parameters(name, 3, 5), images(name, 3)
    together = likelihood.log_prob(x[:, None], p)
    assert together.shape == (3, 5)
    one = likelihood.log_prob(x[1], p[1, 4])
    torch.testing.assert_close(together[1, 4], one)
    assert likelihood.mean(p).shape == (3, 5, *SHAPE) == likelihood.draw(p).shape
    half = likelihood.log_prob(x[:, None].float(), p.bfloat16())
    assert half.dtype == torch.float32 and half.isfinite().all()


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_draws_have_the_mean_and_follow_the_generator(name):
    likelihood = LIKELIHOODS[name]
    p = likelihood.start(torch.linspace(-0.4, 0.4, 32, dtype=torch.float64).view(SHAPE))
    a, b, c = (
        likelihood.draw(p.expand(4000, *p.shape), torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    )
    assert torch.equal(a, b) and not torch.equal(a, c) and a.abs().max() <= 1
    torch.testing.assert_close(
        likelihood.mean(p), torch.linspace(-0.4, 0.4, 32, dtype=torch.float64).view(SHAPE)
    )
    # A tolerance of 5 standard errors; what is cut off at the ends moves means a little.
    cut = 0.0 if name in {"bernoulli"} else 0.1
    assert (a.mean(0) - likelihood.mean(p)).abs().max() < 5 / 4000**0.5 + cut
    values = {"bernoulli": 2, "logistic": 256}.get(name)
    assert values is None or len(a.unique()) <= values


def test_bernoulli_is_torchs():
    p, x = parameters("bernoulli", 3), images("bernoulli", 3)
    torch.testing.assert_close(
        LIKELIHOODS["bernoulli"].log_prob(x, p),
        TorchBernoulli(logits=p).log_prob((x + 1) / 2).sum((1, 2, 3)),
    )


@pytest.mark.parametrize("std", [None, 0.1])
def test_gaussian_is_a_density_of_the_unit_range(std):
    likelihood = Gaussian(std=std)
    p = torch.tensor([0.3] if std else [0.3, -1.0], dtype=torch.float64)[:, None, None]
    grid = torch.linspace(-20, 20, 200_001, dtype=torch.float64)  # of [-1, 1], twice as long
    density = likelihood.log_prob(grid[:, None, None, None], p).exp()
    assert torch.trapezoid(density, grid / 2).item() == pytest.approx(1, abs=1e-9)
    torch.testing.assert_close((likelihood.mean(p) + 1) / 2, torch.full((1, 1, 1), 0.3).double())


def test_gaussian_is_no_finer_than_the_noise_on_bytes():
    p = torch.tensor([0.5, -50.0])[:, None, None]
    best = Gaussian().log_prob(torch.zeros(1, 1, 1), p)
    assert best.item() == pytest.approx(math.log(256 * math.sqrt(12 / (2 * math.pi))), abs=1e-4)


@pytest.mark.parametrize(
    ("mean", "log_scale"), [(0.2, -3.0), (-1.0, -7.0), (1.5, 1.0), (0.0, -20.0), (-0.7, 4.0)]
)
def test_discretised_logistic_sums_to_one(mean, log_scale):
    p = torch.tensor([mean, log_scale], dtype=torch.float64)[:, None, None]
    log_p = DiscretisedLogistic().log_prob(LEVELS[:, None, None, None], p)
    assert log_p.isfinite().all() and log_p.exp().sum().item() == pytest.approx(1, abs=1e-9)


def test_discretised_logistic_is_the_difference_of_sigmoids():
    likelihood, p = DiscretisedLogistic(), parameters("logistic", 1)
    mean, scale = p[0, :2], p[0, 2:].exp()
    x = LEVELS[torch.randint(1, 255, (1, *SHAPE))]
    above, below = (torch.sigmoid((x + side / 255 - mean) / scale) for side in (1, -1))
    torch.testing.assert_close(likelihood.log_prob(x, p), (above - below).log().sum((1, 2, 3)))


def test_the_slope_of_the_discretised_logistic_is_finite_far_from_the_mean():
    p = torch.tensor([0.9, -7.0])[:, None, None].requires_grad_()
    far = DiscretisedLogistic().log_prob(LEVELS[[0, 3, 128, 255], None, None, None].float(), p)
    far.sum().backward()
    assert far.isfinite().all() and p.grad.isfinite().all() and (p.grad[0] != 0).all()


def test_dequantised_bytes_fill_their_width():
    x = LEVELS.float()
    low, high = dequantise(x, torch.zeros(256)), dequantise(x, torch.full((256,), 0.999))
    torch.testing.assert_close(low * 256, torch.arange(256.0))
    assert (low * 256).floor().equal((high * 256).floor())
    generator = torch.Generator().manual_seed(0)
    first = drawn("randn", (3, 2), torch.device("cpu"), generator)
    assert torch.equal(first, torch.randn(3, 2, generator=torch.Generator().manual_seed(0)))
