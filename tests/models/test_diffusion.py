"""Properties of every model of models/diffusion, and each against what is known of it."""

import copy
import math
from functools import cache, partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.distributions import Normal
from torch.nn.functional import mse_loss

from lightning_gen.config.compose import check_overrides, instantiate
from lightning_gen.models.diffusion.ddpm import DDPM
from lightning_gen.models.diffusion.edm import EDM
from lightning_gen.models.diffusion.flow_matching import FlowMatching
from lightning_gen.models.diffusion.score_sde import ScoreSDE
from tests.models.test_gan import fit

FOLDER = Path(__file__).parents[2] / "lightning_gen/models/diffusion"
NAMES = sorted(p.stem for p in FOLDER.glob("*.py") if p.stem not in {"__init__", "diffusion"})
POINTS = [name for name in NAMES if name not in {"latent_diffusion"}]
SIDE, N = 8, 8
TINY = {"resolution": SIDE, "width": 4, "units": 8, "layers": 2, "steps": 3, "pair_steps": 2}
TINY |= {"timesteps": 20, "attention": [2], "autoencoder_images": 2 * N, "importance_samples": 3}
TINY |= {"blocks": 1}


def small(node):
    return {k: TINY.get(k, small(v)) for k, v in node.items()} if isinstance(node, dict) else node


@cache
def composed(*words):
    return check_overrides(list(words))["model"]


def build(name, **options):
    node = small(composed(f"model={name}", "data=mnist"))
    torch.manual_seed(0)
    return instantiate(node | options)


def of_points(name, **options):
    node = small(composed(f"model={name}", "data=ring", "network@model=mlp_denoiser"))
    torch.manual_seed(0)
    return instantiate(node | options | {"resolution": None})


def digits(n=N):
    """Bytes with structure."""
    torch.manual_seed(1)
    x = torch.linspace(0, 255, SIDE).round().expand(n, 1, SIDE, SIDE).clone()
    x[:, :, : SIDE // 2] = torch.randint(0, 256, (n, 1, 1, 1)).float()
    return x / 127.5 - 1


def of(model, n=N):
    return torch.arange(n) % 10 if model.requires_labels else None


def loss(model, x):
    """The loss with the draws of one step, of the second phase where there is one.

    That of a consistency model is of two of its own guesses: here it is the error of one.
    """
    model.iteration = 5
    model.seed_iteration()
    with torch.no_grad():
        x, noise = model.pairs(x)
        if hasattr(model, "doubling_images"):
            sigma = torch.full((len(x),), 2.0)
            return mse_loss(model.denoise(model.denoiser, x + 2 * noise, sigma), x).item()
        return model.loss(x, model.times(len(x)), noise, of(model, len(x))).item()


def drawn(model, n=N, seed=0):
    return model.sample(n, labels=of(model, n), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", NAMES)
def test_training_lowers_the_loss_and_moves_every_parameter(name):
    model, x = fit(build(name), digits(), iterations=3), digits()
    before, start = copy.deepcopy(model), loss(model, x)
    fit(model, x, iterations=12)
    assert loss(model, x) < start
    for (key, a), b in zip(before.named_parameters(), model.parameters(), strict=True):
        if key.startswith(("denoiser", "average")):
            assert not torch.equal(a, b), key
    assert model.has_ema
    ema, raw = model.average.network.parameters(), model.denoiser.parameters()
    assert not any(torch.equal(a, b) for a, b in zip(ema, raw, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_samples_follow_from_the_generator(name):
    model = build(name)
    a, b, c = drawn(model), drawn(model), drawn(model, seed=1)
    assert a.shape == (N, 1, SIDE, SIDE) and a.dtype == torch.float32
    assert a.abs().max() <= 1 and not a.requires_grad
    assert torch.equal(a, b)
    if name not in {"latent_diffusion"}:  # has no scale of codes before it is trained
        assert not torch.equal(a, c)


@pytest.mark.parametrize("name", POINTS)
def test_points_are_learnt_and_drawn(name):
    torch.manual_seed(1)
    x = torch.randn(N, 2)
    rough = {"tolerance": 0.05} if name in {"score_sde"} else {}  # of a network that has no sense
    model = fit(of_points(name, accumulate=2, **rough), x, iterations=2)
    a = drawn(model, 5)
    assert a.shape == (5, 2) and a.isfinite().all() and torch.equal(a, drawn(model, 5))
    if hasattr(model, "log_likelihood"):
        log_p = model.log_likelihood(x, generator=torch.Generator().manual_seed(0))
        assert log_p.shape == (N,) and log_p.isfinite().all() and not log_p.requires_grad
        assert model.likelihood_space == "points"


@pytest.mark.parametrize("name", NAMES)
def test_labels_are_asked_for_or_refused(name):
    model = build(name)
    with pytest.raises(ValueError, match="conditional"):
        model.sample(N, labels=None if model.requires_labels else torch.zeros(N).long())


@pytest.mark.parametrize("name", NAMES)
def test_settings_of_the_sampler_change_its_evaluations(name):
    model, calls = build(name), [0]
    model.network.register_forward_hook(lambda *_: calls.__setitem__(0, calls[0] + 1))
    found = []
    for steps in (1, 4):
        model.steps, calls[0] = steps, 0
        drawn(model)
        assert model.nfe == calls[0]
        found.append(calls[0])
    assert found[0] < found[1]
    assert set(model.sampling) <= set(vars(model))


@pytest.mark.parametrize("name", NAMES)
def test_micro_batches_give_the_same_step(name):
    phase = {"autoencoder_images": 0} if name in {"latent_diffusion"} else {}

    def descended(a):
        return fit(build(name, accumulate=a, **phase), digits())

    whole, parts = (descended(a) for a in (1, 4))
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_state_dict_is_the_whole_model(name):
    model, other = fit(build(name), digits(), iterations=4), build(name)
    other.load_state_dict(model.state_dict())
    assert torch.equal(drawn(model), drawn(other))
    with model.raw_weights():
        assert not torch.equal(drawn(model), drawn(other))


class Scaled(nn.Module):
    """A network that scales its input, whatever the time."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, x, t, labels=None):
        return self.weight * x


SGD = {"optimizers": {"model": partial(torch.optim.SGD, lr=1.0)}, "ema_halflife": None}
GAUSSIAN = [
    *(partial(DDPM, target=target, schedule="cosine") for target in ("epsilon", "x0", "v")),
    partial(EDM, sigma_data=0.4),
    *(partial(ScoreSDE, sde=sde) for sde in ("vp", "ve")),
    *(partial(FlowMatching, sigma_min=s) for s in (0.0, 0.1)),
]


@pytest.mark.parametrize("make", GAUSSIAN, ids=lambda m: f"{m.func.__name__} {m.keywords}")
@pytest.mark.parametrize("time", [0.2, 0.7])
def test_the_exact_denoiser_of_gaussian_data_has_the_least_loss(make, time):
    """The loss is a parabola of the network's one weight; its vertex is the exact denoiser."""
    model, std, n = make(denoiser=Scaled(), **SGD), 0.5, 200_000
    torch.manual_seed(0)
    x, noise = std * torch.randn(n, 2), torch.randn(n, 2)
    t = torch.full((n,), {"DDPM": round(1000 * time)}.get(type(model).__name__, time))

    def at(weight):
        model.denoiser.weight.data.fill_(weight)
        return model.loss(x, t, noise).item()

    low, middle, high = at(-1.0), at(0.0), at(1.0)
    model.denoiser.weight.data.fill_((low - high) / (low + high - 2 * middle) / 2)
    _, alpha, sigma = model.levels(t[:5, None])
    x_t = x[:5] * alpha + sigma * noise[:5]
    exact = alpha * std**2 / (alpha**2 * std**2 + sigma**2) * x_t
    found = model.denoise(model.denoiser, x_t, t[:5])
    torch.testing.assert_close(found, exact, rtol=0.05, atol=0.03)


class ExactNoise(nn.Module):
    """The noise expected in x_t of normal data, by the table of a DDPM's levels."""

    def forward(self, x, t, labels=None):
        i = (t * len(self.alpha[1:])).round().long()
        alpha, sigma = self.alpha[i, None], self.sigma[i, None]
        return sigma * x / (alpha**2 * 0.5**2 + sigma**2)


def test_the_bound_of_a_ddpm_is_above_the_exact_value():
    network = ExactNoise()
    model = DDPM(denoiser=network, timesteps=200, schedule="cosine", **SGD)
    network.alpha, network.sigma = model.alpha, model.sigma
    torch.manual_seed(0)
    x = 0.5 * torch.randn(4000, 2)
    bound = model.log_likelihood(x, samples=8, generator=torch.Generator().manual_seed(0))
    exact = Normal(0, 0.5).log_prob(x).sum(1).mean()
    error = 4 * bound.std() / len(x) ** 0.5
    assert exact - 1.5 - error < bound.mean() < exact + error
    assert model.likelihood_kind == "lower bound"


class ExactVelocity(nn.Module):
    """Of normal data of standard deviation 0.5, E[x_1 - x_0 | x_t]."""

    def forward(self, x, t, labels=None):
        t = t.view(-1, *[1] * (x.ndim - 1))
        return (t * 0.25 - (1 - t)) / (t**2 * 0.25 + (1 - t) ** 2) * x


@pytest.mark.parametrize("sampler", ["euler", "midpoint", "heun", "rk4", "dopri5"])
def test_flow_matching_follows_the_exact_velocity(sampler):
    model = FlowMatching(denoiser=ExactVelocity(), sampler=sampler, steps=40, **SGD)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
    x = model.sample(100, generator=generator)
    torch.testing.assert_close(x, noise / 2, rtol=0.05, atol=0.01)
    assert (model.nfe is None) == (sampler in {"dopri5"})
    log_p = model.log_likelihood(x)
    torch.testing.assert_close(log_p, Normal(0, 0.5).log_prob(x).sum(1), rtol=0, atol=1e-3)


def test_images_have_the_density_of_unit_pixels():
    """Hutchinson's estimate of a field that scales is exact; noise within bytes moves it little."""
    shape = {"channels": 1, "resolution": 4}
    model = FlowMatching(denoiser=ExactVelocity(), **shape, **SGD)
    x = digits()[:, :, :4, :4]
    log_p = model.log_likelihood(x, generator=torch.Generator().manual_seed(0))
    exact = (Normal(0, 0.5).log_prob(x) + math.log(2)).flatten(1).sum(1)
    torch.testing.assert_close(log_p, exact, rtol=0, atol=0.25)
    assert model.likelihood_space == "unit"


class ExactScore(nn.Module):
    """What a ScoreSDE's network should tell of x_t / s of normal data, by its levels."""

    def forward(self, x, t, labels=None):
        _, alpha, sigma = self.levels(t).like(x)
        s2 = alpha**2 + sigma**2
        return sigma * s2 / alpha * (1 / (alpha**2 * 0.25 + sigma**2) - 1 / s2) * x


@pytest.mark.parametrize("sde", ["vp", "ve"])
def test_the_ordinary_equation_of_a_diffusion_has_its_density(sde):
    network = ExactScore()
    model = ScoreSDE(denoiser=network, sde=sde, **SGD)
    network.levels = model.levels
    torch.manual_seed(0)
    x = 0.5 * torch.randn(20, 2)
    expected = Normal(0, 0.5).log_prob(x).sum(1)
    torch.testing.assert_close(model.log_likelihood(x), expected, rtol=0, atol=0.01)


def test_classes_are_forgotten_and_guidance_doubles_the_evaluations():
    model = build("guided", forgotten=0.25)
    found = model.classes(torch.full((4000,), 3))
    assert set(found.tolist()) == {-1, 3}
    assert (found < 0).float().mean().item() == pytest.approx(0.25, abs=0.03)
    model.guidance = 0.0
    plain, nfe = drawn(fit(model, digits(), iterations=5)), model.nfe
    model.guidance = 3.0
    assert model.nfe == 2 * nfe and not torch.equal(drawn(model), plain)


def test_an_untrained_edm_has_unit_loss():
    model = EDM(denoiser=Scaled(), sigma_data=0.5, **SGD)
    x = 0.5 * model.randn(50_000, 2)
    assert model.loss(x, model.times(len(x)), model.randn(*x.shape)).item() == pytest.approx(
        1, rel=0.02
    )


def test_a_consistency_model_is_the_identity_at_the_least_noise():
    model, x = fit(build("consistency"), digits(), iterations=5), digits()
    least = torch.full((N,), model.sigma_min)
    torch.testing.assert_close(model.denoise(model.denoiser, x, least), x)
    model.images_seen = model.images_per_iteration = 0
    assert len(model.grid) == 11 and model.grid[0].item() == pytest.approx(0.002)
    model.images_seen = 2 * model.doubling_images
    assert len(model.grid) == 41
    model.seed_iteration()
    n = model.times(100_000)
    share = (n.bincount(minlength=40) / len(n))[20]
    level = (model.grid[20:22].log() - model.P_mean) / model.P_std
    ends = (model.grid[[0, -1]].log() - model.P_mean) / model.P_std
    cdf = Normal(0, 1).cdf
    expected = (cdf(level[1]) - cdf(level[0])) / (cdf(ends[1]) - cdf(ends[0]))
    assert share.item() == pytest.approx(expected.item(), abs=0.003)


def test_a_rectified_flow_learns_from_its_own_pairs():
    model = build("rectified_flow", reflow_images=3 * N)
    fit(model, digits(), iterations=3)
    assert not model.reflowing
    average = copy.deepcopy(model.average.network)
    model.images_seen, model.images_per_iteration = 4 * N, N
    model.seed_iteration()
    x, noise = model.pairs(digits())
    assert model.reflowing
    for a, b in zip(model.teacher.parameters(), average.parameters(), strict=True):
        assert torch.equal(a, b) and not a.requires_grad
    assert torch.equal(x, model.flow(average.eval(), noise, model.pair_steps))
    fit(model, digits(), iterations=2)
    for a, b in zip(model.teacher.parameters(), average.parameters(), strict=True):
        assert torch.equal(a, b)  # it stands still


def test_codes_are_standardised_once_the_autoencoder_stands_still():
    model = fit(build("latent_diffusion"), digits(), iterations=2)
    assert model.std == 0
    autoencoder = copy.deepcopy(model.encoder)
    fit(model, digits(), iterations=2)
    for a, b in zip(model.encoder.parameters(), autoencoder.parameters(), strict=True):
        assert torch.equal(a, b)
    z, _ = model.pairs(digits())
    assert z.square().mean().item() == pytest.approx(1, rel=0.01)
    torch.testing.assert_close(z.mean((0, 2, 3)), torch.zeros(4), rtol=0, atol=1e-4)
