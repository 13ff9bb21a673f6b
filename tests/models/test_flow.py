"""Properties of every model of models/flow, and each against what is known of it."""

import copy
import math
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.distributions import Categorical, MixtureSameFamily, Normal

from lightning_gen.config.compose import check_overrides, instantiate
from lightning_gen.core import ImageBatch
from lightning_gen.data.mixture import Ring
from lightning_gen.errors import ConfigError, DivergedError
from lightning_gen.functional.likelihoods import log_normal
from lightning_gen.functional.ode import METHODS, odeint
from lightning_gen.functional.pixels import grey_levels
from lightning_gen.functional.spline import rational_quadratic
from lightning_gen.networks.bijections import ActNorm, BatchNorm
from lightning_gen.networks.masked import Autoregressive, AutoregressiveMixture
from lightning_gen.networks.planar import LAYERS, count
from tests.models.test_gan import fit

FOLDER = Path(__file__).parents[2] / "lightning_gen/models/flow"
NAMES = sorted(p.stem for p in FOLDER.glob("*.py") if p.stem not in {"__init__", "flow"})
VARIANTS = {
    "planar": [{}, {"layer": "radial"}],
    "maf": [{}, {"components": 3}, {"layers": 0, "components": 3}, {"layer": "coupling"}],
    "ffjord": [{"trace": "exact"}],
}
CASES = [(name, options) for name in NAMES for options in VARIANTS.get(name, [{}])]
SIDE, N = 4, 16
TINY = {"resolution": SIDE, "width": 6, "blocks": 1, "layers": 3, "bins": 5, "levels": 1}


def small(node):
    def fewer(key, value):
        if key in {"units"}:
            return [24] * min(2, len(value))
        return min(value, TINY[key]) if key in TINY and value else small(value)

    return {k: fewer(k, v) for k, v in node.items()} if isinstance(node, dict) else node


def build(name, data="mnist", **options):
    node = check_overrides([f"model={name}", f"data={data}"])["model"]
    torch.manual_seed(0)
    return instantiate(small(node) | options)


def shaken(model, size=0.1):
    """A model in double precision, nothing of which is the identity."""
    torch.manual_seed(2)
    for parameter in model.parameters():
        parameter.data += size * torch.randn_like(parameter)
    for layer in model.modules():
        if type(layer) is BatchNorm:
            layer.mean.normal_()
            layer.variance.uniform_(0.5, 2)
    return model.double().eval()


def reals(model, n=N):
    torch.manual_seed(1)
    return 1.5 * torch.randn(n, *model.shape, dtype=model.dtype)


def digits(n=N):
    """Images of bytes whose pixels depend on one another."""
    torch.manual_seed(1)
    rates = torch.rand(n, 1, 1, 1)
    bytes_ = (255 * rates * torch.rand(n, 1, SIDE, SIDE)).round()
    return bytes_ / 127.5 - 1


def points(n):
    """Points of two moons."""
    torch.manual_seed(1)
    angle, side = math.pi * torch.rand(n), torch.randint(2, (n,)) * 2.0 - 1
    x = torch.stack([side * (angle.cos() - 0.5), side * (angle.sin() - 0.25)], 1)
    return 1.5 * x + 0.15 * torch.randn(n, 2)


@pytest.mark.parametrize("data", ["mnist", "ring"])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_the_way_back_is_the_inverse_and_the_log_determinant_is_autograds(name, options, data):
    model = shaken(build(name, data, **options))
    if name in {"ffjord"}:
        model.steps = 12
    y = reals(model, 5)
    z, log_det = model.transform(y)
    assert z.shape == (5, model.latent_dim) and log_det.shape == (5,)
    with torch.no_grad():
        back = model.invert(z)
    assert (z - y.flatten(1)).abs().max() > 0.05
    torch.testing.assert_close(back, y, atol=1e-5, rtol=0)
    for i in range(2):
        jacobian = torch.autograd.functional.jacobian(lambda y: model.transform(y[None])[0], y[i])
        jacobian = jacobian.view(model.latent_dim, model.latent_dim)
        torch.testing.assert_close(log_det[i], torch.linalg.slogdet(jacobian).logabsdet)
    z, y = z.detach(), model.invert(z.detach())
    torch.testing.assert_close(model.transform(y)[0], z, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_densities_of_points_integrate_to_one_and_samples_follow_them(name, options):
    model = fit(build(name, "ring", **options), points(200), iterations=20)
    side = torch.linspace(-9, 9, {"ffjord": 121}.get(name, 201))
    cell = (side[1] - side[0]) ** 2
    grid = torch.cartesian_prod(side, side)
    log_p = torch.cat([model.log_likelihood(part) for part in grid.split(20_000)]).double()
    assert (log_p.exp().sum() * cell).item() == pytest.approx(1, abs=0.01)
    entropy = -(log_p.exp() * log_p).sum() * cell
    spread = ((log_p.exp() * log_p.square()).sum() * cell - entropy**2).sqrt()
    drawn = model.sample(4000, generator=torch.Generator().manual_seed(0))
    found = -model.log_likelihood(drawn).mean()
    assert (found - entropy).abs() < 5 * spread / math.sqrt(len(drawn)) + 0.01 * entropy.abs()
    mean = (log_p.exp()[:, None] * grid).sum(0) * cell
    assert (drawn.mean(0) - mean).abs().max() < 5 * drawn.std(0).max() / math.sqrt(len(drawn))


@pytest.mark.parametrize(("name", "options"), CASES)
def test_training_lowers_the_loss_and_moves_every_parameter(name, options):
    options = {k: v for k, v in options.items() if k not in {"trace"}}  # cheaper
    model, x = build(name, **options), digits()
    before, draws = copy.deepcopy(model), torch.Generator()

    def loss():
        return -model.log_likelihood(x, generator=draws.manual_seed(0)).mean()

    fit(model, x, iterations=1)
    start = loss()
    fit(model, x, iterations=12)
    assert loss() < start
    for (key, a), b in zip(before.named_parameters(), model.parameters(), strict=True):
        free = len(a) if key.endswith(".lower") or key.endswith(".upper") else 2
        assert free == 1 or not torch.equal(a, b), key


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_parameter(name):
    model = shaken(build(name))
    model.log_prob(reals(model)).mean().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, key


@pytest.mark.parametrize("name", NAMES)
def test_samples_follow_from_the_generator_and_latents_go_both_ways(name):
    model = build(name)
    a, b, c = (model.sample(N, generator=torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert a.shape == (N, 1, SIDE, SIDE) and a.abs().max() <= 1 and not a.requires_grad
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert torch.equal(grey_levels(a) / 127.5 - 1, a)  # in float32
    x = digits()
    assert torch.equal(model.generate(model.encode(x)), x)
    z = model.latents(2, torch.Generator().manual_seed(0))
    assert torch.allclose(model.path(z[0], z[1], torch.tensor(1.0)), z[1])
    with pytest.raises(ValueError, match="not conditional"):
        model.sample(N, labels=torch.zeros(N).long())


@pytest.mark.parametrize("name", NAMES)
def test_likelihoods_are_of_each_image_alone_and_leave_no_trace(name):
    model, x = shaken(build(name)).float().train(), digits()
    mode, state = model.training, copy.deepcopy(model.state_dict())
    found = [
        model.log_likelihood(part, generator=torch.Generator().manual_seed(0))
        for part in (x[:1], x, x)
    ]
    assert found[1].shape == (N,) and found[1].isfinite().all() and not found[1].requires_grad
    assert torch.equal(found[1], found[2])
    if name not in {"ffjord"}:  # of whose draws the second is another for one image
        torch.testing.assert_close(found[0], found[1][:1], rtol=1e-4, atol=1e-4)
    assert model.training == mode
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    other = build(name)
    other.load_state_dict(model.state_dict())
    again = other.log_likelihood(x, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(again, found[1])


def test_layers_that_start_from_data_make_it_standard(tmp_path):
    data = Ring(str(tmp_path), str(tmp_path), batch_size=100)
    data.prepare_data()
    data.setup()
    for name in ("glow", "spline"):
        model = build(name, "ring")
        model.trainer = type("Trainer", (), {"datamodule": data})()
        norms = [m for m in model.modules() if type(m) is ActNorm]
        model.on_fit_start()
        assert norms and not any(norm.starting for norm in norms)
        found = []
        for norm in norms:
            norm.register_forward_hook(lambda m, _, out, found=found: found.append(out[0]))
        model.transform(model.first_images(256))
        for z in found:
            rows = z.transpose(0, 1).flatten(1)
            torch.testing.assert_close(rows.mean(1), torch.zeros(2), atol=1e-4, rtol=0)
            torch.testing.assert_close(rows.std(1, correction=0), torch.ones(2), atol=1e-3, rtol=0)


def test_batches_are_normalised_and_the_volume_knows_it():
    torch.manual_seed(0)
    norm, y = BatchNorm(2).double(), 3 + 2 * torch.randn(50, 2, dtype=torch.float64)
    z, log_det = norm(y)
    torch.testing.assert_close(z.mean(0), torch.zeros(2, dtype=torch.float64))
    expected = -(y.var(0, correction=0) + norm.eps).log().sum() / 2
    torch.testing.assert_close(log_det, expected.expand(50))
    torch.testing.assert_close(norm.mean, 0.1 * y.mean(0))
    norm.eval()
    torch.testing.assert_close(norm.inverse(norm(y)[0]), y)


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("kind", [Autoregressive, partial(AutoregressiveMixture, components=3)])
def test_jacobians_are_triangular_and_none_is_left_out(kind, classes):
    torch.manual_seed(0)
    layer, y = kind(5, units=[32, 32], num_classes=classes), 2 * torch.randn(30, 5)
    of = (torch.arange(30) % 3,) if classes else ()
    jacobian = torch.autograd.functional.jacobian(lambda y: layer(y, *of)[0].sum(0), y).movedim(
        1, 0
    )
    assert torch.equal(jacobian, jacobian.tril())
    assert (jacobian != 0).any(0).sum() == 15


def test_conditionals_of_mixtures_are_those_of_torch():
    torch.manual_seed(0)
    layer = AutoregressiveMixture(3, 4, [16])
    y = torch.randn(5, 3)
    theta = layer.network(y)
    logits, mean, log_std = theta.chunk(3, -1)
    known = MixtureSameFamily(Categorical(logits=logits), Normal(mean, log_std.exp()))
    torch.testing.assert_close(layer.log_prob(y), known.log_prob(y).sum(1))
    z, _ = layer(y)
    torch.testing.assert_close(Normal(0, 1).cdf(z), known.cdf(y), atol=1e-5, rtol=1e-4)
    line = torch.linspace(-30, 30, 4001)
    first = torch.stack([line, torch.zeros(4001), torch.zeros(4001)], 1)
    log_p = layer.log_prob(first) - known.log_prob(y)[0, 0] * 0
    rest = layer.network(first).chunk(3, -1)
    rest = MixtureSameFamily(Categorical(logits=rest[0]), Normal(rest[1], rest[2].exp()))
    one = (log_p - rest.log_prob(first)[:, 1:].sum(1)).exp().sum() * (line[1] - line[0])
    assert one.item() == pytest.approx(1, abs=1e-3)


def test_a_density_given_labels_differs_between_them():
    model = build("maf", num_classes=3, components=2)
    with pytest.raises(ValueError, match="conditional"):
        model.sample(N)
    x, labels = digits(), torch.arange(N) % 3
    drawn = model.sample(N, labels=labels, generator=torch.Generator().manual_seed(0))
    others = model.sample(N, labels=(labels + 1) % 3, generator=torch.Generator().manual_seed(0))
    assert drawn.shape == x.shape and not torch.equal(drawn, others)
    a, b = (
        model.log_likelihood(x, of, generator=torch.Generator().manual_seed(0))
        for of in (labels, (labels + 1) % 3)
    )
    assert (a != b).all()
    model.log_prob(model.continuous(x, torch.rand(x.shape)), labels).mean().backward()
    assert all(p.grad.abs().max() > 0 for p in model.parameters())


def test_cooler_latents_are_nearer_to_the_mean():
    model = build("glow")
    model.temperature = 0.5
    draws = torch.Generator()
    half = model.latents(N, draws.manual_seed(0))
    model.temperature = 1.0
    torch.testing.assert_close(2 * half, model.latents(N, draws.manual_seed(0)))


def test_splines_rise_and_are_the_identity_outside():
    torch.manual_seed(0)
    x = torch.linspace(-4, 4, 801, dtype=torch.float64, requires_grad=True)
    parameters = 2 * torch.randn(23, dtype=torch.float64).expand(801, -1)
    y, log_slope = rational_quadratic(x, parameters, bound=3)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert (y.diff() > 0).all() and (slope > 0).all()
    torch.testing.assert_close(log_slope, slope.log())
    assert torch.equal(y[x.abs() > 3], x[x.abs() > 3])
    flat = rational_quadratic(x, torch.zeros(801, 23, dtype=torch.float64), bound=3)
    torch.testing.assert_close(flat[0], x)


@pytest.mark.parametrize("method", METHODS)
def test_solvers_have_their_orders(method):
    order = {"euler": 1, "midpoint": 2, "heun": 2, "rk4": 4}.get(method)
    angle, calls = 4.0, []  # of a rotation that speeds up

    def f(t, state):
        calls.append(1)
        (x, y), _ = state
        return torch.stack([y, -x]) * (1 + t), x

    def error(steps, start=0.0, end=2.0):
        y = torch.tensor([1.0, 0.0], dtype=torch.float64)
        t = torch.linspace(start, end, steps + 1, dtype=torch.float64)
        found, _ = odeint(f, (y, torch.zeros((1,)).double()), t, method, 1e-7)
        sign = 1 if end > start else -1
        exact = torch.tensor([math.cos(angle), -sign * math.sin(angle)], dtype=torch.float64)
        return (found - exact).abs().max().item()

    if order is None:
        assert error(1) < 1e-5 and error(1, 2.0, 0.0) < 1e-5 and len(calls) < 1000
        with pytest.raises(DivergedError, match="steps below"):
            odeint(lambda t, y: y**2, torch.ones(1), torch.tensor([0.0, 2.0]), method)
    else:
        ratio = error(64) / error(128)
        assert math.log2(ratio) == pytest.approx(order, abs=0.3)
        assert error(256, 2.0, 0.0) < 0.1
        calls.clear()
        error(10)
        assert len(calls) == 10 * order


def test_hutchinsons_estimate_is_right_on_average():
    model = shaken(build("ffjord", trace="hutchinson"))
    exact = shaken(build("ffjord", trace="exact"))
    y = reals(model, 1)
    with torch.no_grad():
        expected = exact.transform(y)[1]
        noise = torch.randn(500, *y.shape[1:]).double()
        estimates = model.transform(y.expand_as(noise), noise)[1]
    error = estimates.std() / math.sqrt(len(estimates))
    assert error > 0 and (estimates.mean() - expected).abs() < 4 * error


@pytest.mark.parametrize("layer", LAYERS)
def test_layers_of_each_row_can_be_undone_whatever_they_are_told(layer):
    torch.manual_seed(0)
    bend, unbend = LAYERS[layer]
    z, theta = (3 * torch.randn(200, k, dtype=torch.float64) for k in (3, count(layer, 3)))
    y, log_det = bend(z, theta)
    assert log_det.isfinite().all()
    torch.testing.assert_close(unbend(y, theta), z, atol=1e-5, rtol=0)


class Fixed(nn.Module):
    """An encoder or a decoder that says the same of all."""

    def __init__(self, *theta, of=None):
        super().__init__()
        self.theta, self.of = torch.tensor(theta), of

    def forward(self, x):
        return self.theta.expand(len(x), -1) if self.of is None else self.of(x)


@pytest.mark.parametrize("layer", LAYERS)
def test_the_bound_of_a_bent_posterior_is_that_of_quadrature(layer):
    model = build("flow_vae", latent_dim=1, layers=2, layer=layer, encoder=nn.Identity(),
                  decoder=nn.Identity())  # fmt: skip
    torch.manual_seed(3)
    theta = [0.3, -0.5, *torch.randn(2 * count(layer, 1)).tolist()]
    model.encoder = Fixed(*theta)
    weight = torch.linspace(-2, 2, SIDE**2)
    model.decoder = Fixed(of=lambda z: (z * weight).view(-1, 1, SIDE, SIDE))
    x = (torch.rand(1, 1, SIDE, SIDE) < 0.5).float() * 2 - 1
    z = torch.linspace(-8, 8, 20_001)
    # By the density of what is bent: mass of draws between the places they are taken to.
    bent, log_q = model.bent(x, ((z - 0.3) / math.exp(-0.25)).view(1, -1, 1))
    bent, log_q = bent.view(-1).double(), log_q.view(-1).double()
    width = bent.diff()
    assert (width > 0).all()
    q = (log_q.exp()[1:] + log_q.exp()[:-1]) / 2 * width
    assert q.sum().item() == pytest.approx(1, abs=1e-3)
    joint = model.log_prob(x, bent.float().view(1, -1, 1)).view(-1) + log_normal(bent[:, None])
    gain = joint - log_q
    bound = (q * (gain[1:] + gain[:-1]) / 2).sum().item()
    even = torch.linspace(-8, 8, 20_001)
    log_joint = model.log_prob(x, even.view(1, -1, 1)).view(-1) + log_normal(even[:, None])
    evidence = (log_joint.exp().sum() * (even[1] - even[0])).log().item()
    noise = torch.randn(1, 100_000, 1)
    found = model.bound(x, noise).item()
    assert found == pytest.approx(bound, abs=0.05) and bound < evidence
    many = model.log_likelihood(x, samples=100_000, generator=torch.Generator().manual_seed(0))
    assert many.item() == pytest.approx(evidence, abs=0.02)


def test_the_bent_vae_learns():
    model = build("flow_vae", "mnist")
    x = (digits() > -0.5).float() * 2 - 1
    before = copy.deepcopy(model)

    def loss():
        draws = torch.Generator().manual_seed(0)
        return -model.log_likelihood(x, samples=20, generator=draws).mean()

    start = loss()
    fit(model, x, iterations=30)
    assert loss() < start
    for (key, a), b in zip(before.named_parameters(), model.parameters(), strict=True):
        assert not torch.equal(a, b), key
    assert model.encode(x).shape == (N, model.latent_dim)
    assert model.sample(3).shape == (3, 1, SIDE, SIDE) and ImageBatch(x).label is None


def test_couplings_refuse_classes():
    with pytest.raises(ConfigError, match="num_classes must be 0, not 3"):
        build("maf", num_classes=3, layer="coupling")
