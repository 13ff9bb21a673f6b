"""Samplers, noise schedules and bounds, with denoisers that are known exactly."""

import math
from functools import partial

import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal, Normal

from lightning_gen.functional.diffusion_bound import drawn_terms, last_term, log_bytes_normal
from lightning_gen.functional.mmd import inverse_multiquadratics, squared_mmd
from lightning_gen.functional.noise_schedules import (
    Levels,
    alphas_bar,
    karras_sigmas,
    preconditioning,
    ve_levels,
    vp_levels,
)
from lightning_gen.functional.ode import odeint
from lightning_gen.functional.ode_likelihood import divergence, ode_log_density
from lightning_gen.functional.samplers import (
    ancestral,
    ddim,
    euler_maruyama,
    guided,
    heun,
    multistep,
    ode_slope,
    posterior,
    predictor_corrector,
)

CENTRES = torch.tensor([[1.0, 0.0], [-0.5, 0.8], [-0.5, -0.8]])
WEIGHTS, STD = torch.tensor([0.5, 0.3, 0.2]), 0.15


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def mixture_denoiser(path, weights=WEIGHTS, centres=CENTRES, std=STD):
    """E[x_0 | x_t] of a mixture of Gaussians, by Bayes's rule."""

    def denoise(x, t):
        _, alpha, sigma = path(t).like(x)
        variance = alpha**2 * std**2 + sigma**2
        away = (x[:, None] - alpha[..., None] * centres).square().sum(-1)
        p = (weights.log() - away / 2 / variance).softmax(1)
        gain = alpha * std**2 / variance
        of_each = centres + gain[..., None] * (x[:, None] - alpha[..., None] * centres)
        return (p[..., None] * of_each).sum(1)

    return denoise


def mixture(weights=WEIGHTS):
    parts = MultivariateNormal(CENTRES, STD**2 * torch.eye(2).expand(3, 2, 2))
    return MixtureSameFamily(Categorical(weights), parts)


def straight(t):
    return Levels(t, 1 - t, t)


def by_sigma(t):
    return Levels(t, torch.ones_like(t), t)


def discrete(schedule):
    squares = alphas_bar(schedule, 1000).float()
    return lambda t: Levels(t, squares[t.long()].sqrt(), (1 - squares[t.long()]).sqrt())


def even(first, last, steps):
    return torch.linspace(first, last, steps + 1)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_betas_are_the_papers(schedule):
    squares = alphas_bar(schedule, 1000)
    beta = 1 - squares[1:] / squares[:-1]
    t = torch.arange(1, 1001, dtype=torch.float64)
    if schedule in {"linear"}:
        torch.testing.assert_close(beta, 1e-4 + (t - 1) / 999 * (0.02 - 1e-4))
        assert squares[-1].item() == pytest.approx(4.04e-5, rel=1e-2)
    else:

        def f(t):
            return torch.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2

        assert beta.max().item() == pytest.approx(0.999)
        torch.testing.assert_close(squares[1:-1], (f(t) / f(torch.zeros(1).double()))[:-1])
    assert squares[0] == 1 and (squares.diff() < 0).all()


def test_levels_follow_the_differential_equation():
    t = torch.linspace(0.05, 1, 7, dtype=torch.float64)
    for path, beta in (
        (vp_levels, 0.1 + t * 19.9),
        (ve_levels, None),
    ):
        (_, alpha, sigma), (_, alpha_slope, sigma_slope) = torch.func.jvp(
            path, (t,), (torch.ones_like(t),)
        )
        f = alpha_slope / alpha
        g2 = 2 * sigma * sigma_slope - 2 * sigma**2 * f
        if beta is not None:
            torch.testing.assert_close(f, -beta / 2)
            torch.testing.assert_close(g2, beta)
            torch.testing.assert_close(alpha**2 + sigma**2, torch.ones_like(t))
        else:
            torch.testing.assert_close(g2, sigma**2 * 2 * torch.full_like(t, math.log(5000)))


def test_single_steps_of_noise_add_up_to_the_closed_form():
    squares = alphas_bar("linear", 50)
    beta, n = 1 - squares[1:] / squares[:-1], 200_000
    torch.manual_seed(0)
    x = torch.full((n,), 1.5, dtype=torch.float64)
    for b in beta:
        x = (1 - b).sqrt() * x + b.sqrt() * torch.randn(n, dtype=torch.float64)
    assert x.mean().item() == pytest.approx(1.5 * squares[-1].sqrt().item(), abs=4 / n**0.5)
    assert x.var().item() == pytest.approx((1 - squares[-1]).item(), rel=0.02)


def test_the_posterior_is_bayes_rule():
    path, x, x_0 = discrete("cosine"), torch.tensor(0.7), torch.tensor(-0.4)
    now, then = path(torch.tensor(600.0)), path(torch.tensor(450.0))
    mean, variance = posterior(x, x_0, now, then)
    grid = torch.linspace(-4, 4, 20_001, dtype=torch.float64)
    ratio = now.alpha / then.alpha
    between = (now.sigma**2 - ratio**2 * then.sigma**2).sqrt()
    log_p = Normal(then.alpha * x_0, then.sigma).log_prob(grid)
    log_p = log_p + Normal(ratio * grid, between).log_prob(x)
    p = log_p.softmax(0)
    assert mean.item() == pytest.approx((p * grid).sum().item(), abs=1e-4)
    found = (p * (grid - (p * grid).sum()) ** 2).sum().item()
    assert variance.item() == pytest.approx(found, rel=1e-3)


def test_preconditioned_inputs_and_targets_have_unit_variance():
    torch.manual_seed(0)
    n, d = 100_000, 0.7
    for sigma in (0.01, 0.5, 30.0):
        y, noise = d * torch.randn(n), sigma * torch.randn(n)
        c = preconditioning(torch.tensor(sigma), d)
        x = y + noise
        assert (c.inside * x).std().item() == pytest.approx(1, rel=0.02)
        assert ((y - c.skip * x) / c.out).std().item() == pytest.approx(1, rel=0.02)
    c = preconditioning(torch.tensor(0.002), d, smallest=0.002)
    assert c.skip == 1 and c.out == 0


def test_karras_levels_fall_to_zero():
    sigma = karras_sigmas(18)
    assert len(sigma) == 19 and sigma[-1] == 0 and (sigma.diff() < 0).all()
    torch.testing.assert_close(sigma[[0, 17]], torch.tensor([80.0, 0.002]))


CASES = {
    "ancestral": (ancestral, discrete("linear"), even(1000, 0, 250), 250),
    "ancestral large": (
        *(partial(ancestral, large=True), discrete("linear"), even(1000, 0, 500)),
        500,
    ),
    "ddim": (ddim, discrete("cosine"), even(1000, 0, 50), 50),
    "ddim eta 1": (partial(ddim, eta=1.0), discrete("cosine"), even(1000, 0, 200), 200),
    "euler, straight": (ddim, straight, even(1, 0, 50), 50),
    "heun": (heun, by_sigma, karras_sigmas(18), 35),
    "heun, churn": (partial(heun, churn=10.0), by_sigma, karras_sigmas(32), 63),
    "euler-maruyama": (euler_maruyama, vp_levels, even(1, 1e-3, 250), 250),
    "euler-maruyama, ve": (euler_maruyama, ve_levels, even(1, 1e-3, 250), 250),
    "predictor-corrector": (predictor_corrector, vp_levels, even(1, 1e-3, 150), 299),
    "predictor-corrector, ve": (predictor_corrector, ve_levels, even(1, 1e-3, 150), 299),
}


@pytest.mark.parametrize("case", CASES)
def test_samplers_reach_a_mixture_in_their_evaluations(case):
    sampler, path, t, nfe = CASES[case]
    calls, exact, n = [0], mixture_denoiser(path), 1000

    def denoise(x, t):
        calls[0] += 1
        return exact(x, t)

    levels = path(t)
    noise = torch.randn(n, 2, generator=seeded())
    x = sampler(denoise, levels.sigma[0] * noise, levels, generator=seeded(1))
    assert calls[0] == nfe
    torch.manual_seed(2)
    kernel = inverse_multiquadratics(0.2)
    # Between true samples of this size it is 0.000 +- 0.006.
    assert squared_mmd(x, mixture().sample((n,)), kernel) < 0.02
    wrong = mixture(torch.tensor([0.2, 0.3, 0.5])).sample((n,))
    assert squared_mmd(x, wrong, kernel) > 0.06  # of other weights


def test_ddim_is_deterministic_and_follows_the_probability_flow():
    noise, exact = torch.randn(64, 2, generator=seeded()).double(), mixture_denoiser(vp_levels)
    levels = vp_levels(even(1, 1e-3, 1000).double())
    a, b = (ddim(exact, noise, levels, generator=seeded(s)) for s in (0, 1))
    assert torch.equal(a, b)

    def slope(t, x):
        at, slopes = torch.func.jvp(vp_levels, (t,), (torch.ones_like(t),))
        return ode_slope(x, exact(x, t.expand(len(x))), at, slopes)

    other = odeint(slope, noise, torch.tensor([1.0, 1e-3]).double(), "dopri5", 1e-6)
    assert (a - other).norm(dim=1).quantile(0.9) < 0.02  # some lie on the edge between two modes


def test_a_consistent_function_gives_data_at_once():
    exact, n = mixture_denoiser(by_sigma), 1000

    def consistent(x, sigma):
        steps = karras_sigmas(60, 0.002, float(sigma[0]))
        return heun(exact, x, by_sigma(steps))

    torch.manual_seed(3)
    truth, kernel = mixture().sample((n,)), inverse_multiquadratics(0.2)
    for sigma in ([80.0], [80.0, 0.8]):
        levels = by_sigma(torch.tensor(sigma))
        noise = 80 * torch.randn(n, 2, generator=seeded())
        x = multistep(consistent, noise, levels, generator=seeded(1))
        assert squared_mmd(x, truth, kernel) < 0.02


def test_guidance_moves_the_histogram_of_classes():
    """Guided towards class 0 whose half lies under another class, samples leave the shared half."""
    path, n = discrete("cosine"), 1000
    shared = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    conditional = mixture_denoiser(path, torch.tensor([0.5, 0.5]), shared)
    unconditional = mixture_denoiser(path, torch.tensor([0.25, 0.75]), shared)
    share = []
    for w in (0.0, 1.0, 4.0):

        def denoise(x, t, w=w):
            return guided(conditional(x, t), unconditional(x, t), w)

        x = ddim(denoise, torch.randn(n, 2, generator=seeded()), path(even(1000, 0, 50)))
        share.append((x[:, 0] > 0).float().mean().item())
    assert share[0] == pytest.approx(0.5, abs=0.05)
    assert share[0] + 0.1 < share[1] < share[2] and share[2] > 0.85


def test_bytes_of_a_normal_density_keep_their_digits_far_away():
    x, log_variance = torch.tensor([[-1.0], [-0.2], [1.0]]), torch.tensor(-9.2)
    far = log_bytes_normal(x, torch.tensor([[1.0], [0.6], [-1.0]]), log_variance)
    assert far.isfinite().all() and (far < -1000).all()
    at = log_bytes_normal(torch.zeros(1, 1) + 1 / 255, torch.tensor(1 / 255), torch.tensor(-18.4))
    assert at.item() == pytest.approx(0, abs=1e-6)


def test_the_bound_of_a_gaussian_is_above_the_exact_value():
    """With the exact denoiser every term is known; drawn terms add up to them."""
    d, std, T, n = 3, 0.5, 1000, 20_000
    squares = alphas_bar("cosine", T)
    alpha, sigma = squares.sqrt(), (1 - squares).sqrt()
    gain = alpha * std**2 / (squares * std**2 + 1 - squares)
    left = std**2 * (1 - alpha * gain)  # variance of x_0 given x_t
    snr = squares / (1 - squares)
    first = 0.5 * (left[1] / sigma[1] ** 2) + sigma[1].log() + 0.5 * math.log(2 * math.pi)
    last = 0.5 * (squares[-1] * std**2 - squares[-1] - torch.log1p(-squares[-1]))
    bound = d * (-(snr[1:].diff() / 2 * left[2:]).sum() + first + last)
    exact = d * (0.5 + math.log(std * math.sqrt(2 * math.pi)))
    assert exact < bound < exact + 0.5 * d

    torch.manual_seed(0)
    x = (std * torch.randn(n, d)).double()
    t, weight = drawn_terms(alpha, sigma, torch.rand(4, n).double())
    assert t.min() >= 2 and t.max() <= T
    nll = last_term(x, alpha[-1]) + d * first
    for t_j, weight_j in zip(t, weight, strict=True):
        x_t = alpha[t_j, None] * x + sigma[t_j, None] * torch.randn(n, d)
        nll = nll + weight_j * (x - gain[t_j, None] * x_t).square().sum(1)
    assert nll.mean().item() == pytest.approx(bound.item(), abs=4 * nll.std().item() / n**0.5)


def test_drawn_terms_have_no_bias():
    squares = alphas_bar("linear", 100)
    alpha, sigma = squares.sqrt(), (1 - squares).sqrt()
    snr = squares / (1 - squares)
    values = torch.rand(101).double()  # any error of each t
    exact = sum((snr[t - 1] - snr[t]) / 2 * values[t] for t in range(2, 101)).item()
    torch.manual_seed(0)
    t, weight = drawn_terms(alpha, sigma, torch.rand(5, 40_000).double())
    assert (weight * values[t]).sum(0).mean().item() == pytest.approx(exact, rel=0.02)


def test_divergences_are_exact_or_right_on_average():
    A = torch.randn(4, 4, generator=seeded())
    x = torch.randn(3, 4, generator=seeded(1))

    def f(x):
        return (x @ A.T).tanh()

    expected = ((1 - f(x) ** 2) * A.diagonal()).sum(1)
    torch.testing.assert_close(divergence(f, x, None), expected)
    many = x.repeat(4000, 1)
    probe = torch.rand(many.shape, generator=seeded(2)).sub(0.5).sign()
    found = divergence(f, many, probe).view(-1, 3).mean(0)
    torch.testing.assert_close(found, expected, atol=0.15, rtol=0)


def test_the_density_of_the_exact_flow_of_a_mixture_is_its_own():
    exact = mixture_denoiser(straight)

    def velocity(x, t):
        at = straight(t).like(x)
        ones = torch.ones_like(at.t)
        return ode_slope(x, exact(x, t), at, Levels(ones, -ones, ones))

    torch.manual_seed(0)
    x = mixture().sample((40,))
    t = torch.tensor([1e-4, 1.0])
    log_p = ode_log_density(velocity, x, t, tolerance=1e-5)
    torch.testing.assert_close(log_p, mixture().log_prob(x), atol=0.01, rtol=0)
