"""Properties of every model of models/autoregressive that takes images, each told by its facts."""

import copy
import itertools
import math
from pathlib import Path

import pytest
import torch
import yaml
from scipy.stats import chisquare

from lightning_gen.config.compose import check_overrides, instantiate
from lightning_gen.functional.conditionals import CONDITIONALS
from lightning_gen.functional.logistic_mixture import LogisticMixturePixel, by_colour
from lightning_gen.functional.nade import Recursion
from lightning_gen.models.autoregressive.autoregressive import AutoregressiveModule
from lightning_gen.networks.pixelcnn import MaskedConv2d
from tests.models.test_gan import fit

ROOT = Path(__file__).parents[2]
PAPERS = sorted(p.stem for p in (ROOT / "lightning_gen/models/autoregressive").glob("*.py"))
N = 8
TINY = {"width": 12, "units": [24], "hidden": 12, "blocks": 1, "layers": 2, "heads": 2, "masks": 3}
TINY |= {"components": 3}


def takes_images(name):
    path = ROOT / f"conf/model/{name}.yaml"
    if not path.exists():
        return False
    module, _, paper = yaml.safe_load(path.read_text())["_target_"].rpartition(".")
    return getattr(__import__(module, fromlist=[paper]), paper).takes in {"images"}


NAMES = [name for name in PAPERS if takes_images(name)]


def build(name, side=4, channels=1, *, jolt=0.3, **options):
    """A tiny model whose every weight was moved at random, so that each pixel counts."""
    overrides = [f"model={name}", "data=mnist", *(f"model.{k}={v}" for k, v in options.items())]
    given = {key.rpartition(".")[2] for key in options}
    sizes = {"resolution": side, "channels": channels}
    sizes |= {k: v for k, v in TINY.items() if k not in given}

    def small(node):
        return {k: small(v) if isinstance(v, dict) else sizes.get(k, v) for k, v in node.items()}

    torch.manual_seed(0)
    model = instantiate(small(check_overrides(overrides)["model"]))
    with torch.no_grad():
        for p in model.parameters():
            p += jolt * torch.randn_like(p)
    return model


BINARY = [name for name in NAMES if build(name).likelihood_space in {"binary"}]
COLOURED = [name for name in NAMES if name.endswith(("pixelcnn", "pixelcnn_pp", "image_gpt"))]
CONDITIONAL = [name for name in NAMES if build(name).requires_labels]
FAST = [n for n in NAMES if type(build(n)).draw_pixels is not AutoregressiveModule.draw_pixels]


def images(model, n=N):
    torch.manual_seed(1)
    levels = {"binary": 2, "bytes": 256}[model.likelihood_space]
    return torch.randint(levels, (n, *model.shape)) / ((levels - 1) / 2) - 1


def of(model, n=N):
    """Labels of a model that asks for them, as (labels,), else nothing."""
    return (torch.arange(n) % 3,) if model.requires_labels else ()


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def sample(model, n=N, seed=0):
    return model.sample(n, labels=next(iter(of(model, n)), None), generator=draws(seed))


def everything(side):
    bits = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=side**2)))
    return bits.view(-1, 1, side, side)


def influence(model, of_images=torch.clone, **options):
    """How far each pixel's parameters (D, ...) follow each pixel (..., D), over some images."""
    x, labels = of_images(images(model)).requires_grad_(), of(model)
    parameters = model.logits(x, *labels, **options).flatten(2)
    rows = []
    for i in range(parameters.shape[2]):
        total = (parameters[:, :, i] * torch.linspace(1, 2, parameters.shape[1])).sum()
        rows.append(torch.autograd.grad(total, x, retain_graph=True, allow_unused=True)[0])
    if rows[0] is not None:
        return torch.stack(rows).abs().sum(1).flatten(1)
    columns = []  # of tokens there is no gradient
    for j in range(x[0].numel()):
        other = x.detach().clone()
        other.view(N, -1)[:, j] *= -1
        moved = model.logits(other, *labels, **options).flatten(2) - parameters
        columns.append(moved.abs().sum((0, 1)))
    return torch.stack(columns, 1)


def alive(model):
    """The model with small positive weights, under which no ReLU of white pixels is off."""
    with torch.no_grad():
        for p in model.parameters():
            p.abs_().mul_(0.1)
    return model


def assert_causal(model, order, everywhere, **options):
    before = torch.ones(len(order), len(order)).tril(-1).bool()
    seen = influence(model, **options)[order][:, order] != 0
    assert not seen[~before].any()
    if everywhere:
        seen = influence(alive(model), torch.Tensor.abs, **options)[order][:, order] != 0
        assert torch.equal(seen, before)


@pytest.mark.parametrize("name", NAMES)
def test_a_pixel_follows_those_before_it_alone(name):
    model = build(name)
    assert_causal(model, model.order, everywhere=name not in {"made"})  # its cuts are random


@pytest.mark.parametrize("name", COLOURED)
def test_a_colour_follows_those_before_it_alone(name):
    model = build(name, side=2, channels=3)
    r_g_b = torch.arange(12).view(3, 4).T.flatten()
    assert torch.equal(model.order, r_g_b)
    assert_causal(model, model.order, everywhere=True)


@pytest.mark.parametrize("ordering", ["random", "raster"])
def test_every_mask_of_made_has_an_order_of_its_own(ordering):
    model = build("made", **{"network.ordering": ordering})
    orders = model.network.orders
    for mask, order in enumerate(orders):
        assert_causal(model, order, everywhere=False, mask=mask)
    assert len(orders.unique(dim=0)) == {"random": len(orders), "raster": 1}[ordering]
    wide = build("made", **{"network.units": [2000], "network.masks": 1})
    assert_causal(wide, wide.network.orders[0], everywhere=True)


def test_gates_see_what_lies_in_the_blind_spot_of_masks():
    at, spot = 6, [4, 5]  # of 6 x 6: (1, 0), and the end of the row above
    plain = build("pixelcnn", side=6, **{"network.blocks": 5})
    gated = build("gated_pixelcnn", side=6, **{"network.layers": 6})
    assert (influence(alive(plain), torch.Tensor.abs)[at, spot] == 0).all()
    assert_causal(gated, gated.order, everywhere=True)
    assert (influence(gated, torch.Tensor.abs)[at, spot] != 0).all()


@pytest.mark.parametrize("name", BINARY)
def test_probabilities_of_all_images_sum_to_one(name):
    model, x = build(name, side=3), everything(3)
    labels = (torch.full((len(x),), 2),) if model.requires_labels else ()
    assert model.log_likelihood(x, *labels).double().exp().sum().item() == pytest.approx(
        1, abs=1e-4
    )


def test_probabilities_of_all_bytes_sum_to_one():
    levels = torch.cartesian_prod(*[torch.arange(256) / 127.5 - 1] * 2)[:, :, None, None]
    model = build("gated_pixelcnn", side=1, channels=2, likelihood="categorical")
    log_p = model.log_likelihood(levels, torch.ones(len(levels)).long())
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-3)
    mixture = LogisticMixturePixel(3)
    parameters = by_colour(levels, torch.randn(1, 3 * 6, 1, 1).expand(len(levels), -1, -1, -1))
    assert mixture.log_prob(levels, parameters).sum(1).exp().sum().item() == pytest.approx(1)


def test_a_mixture_of_colours_is_of_one_component():
    torch.manual_seed(0)
    x, numbers = torch.randint(256, (N, 3, 1, 1)) / 127.5 - 1, torch.randn(N, 30, 1, 1)
    w, *rest = numbers.view(N, 10, 3).unbind(1)
    m, s, (a, b, c) = rest[:3], rest[3:6], [t.tanh() for t in rest[6:]]
    r, g = x[:, 0, 0], x[:, 1, 0]
    joint = w.log_softmax(1)
    for colour, mean in enumerate((m[0], m[1] + a * r, m[2] + b * r + c * g)):
        edges = x[:, colour, 0, :, None] + torch.tensor([-1, 1]) / 255
        cdf = ((edges.double() - mean[:, :, None]) / s[colour][:, :, None].exp()).sigmoid()
        joint = joint + cdf.diff()[:, :, 0].log()
    found = LogisticMixturePixel(3).log_prob(x, by_colour(x, numbers)).flatten(1).sum(1)
    torch.testing.assert_close(found, joint.logsumexp(1).float())


@pytest.mark.parametrize("name", ["bernoulli", "categorical", "logistic_mixture"])
def test_quantiles_of_a_conditional_are_its_own(name):
    pixel = (CONDITIONALS | {"logistic_mixture": LogisticMixturePixel(3)})[name]
    torch.manual_seed(0)
    parameters, n = torch.randn(pixel.parameters, 1).T, 1 << 16
    x = pixel.draw(parameters.expand(n, -1), (torch.arange(n) + 0.5) / n)
    levels, counts = x.unique(return_counts=True)
    p = pixel.log_prob(levels, parameters.expand(len(levels), -1)).exp()
    torch.testing.assert_close(counts / n, p, rtol=0, atol=1.5 / n)


@pytest.mark.parametrize("name", NAMES)
def test_likelihoods_are_products_of_what_is_sampled(name):
    model = build(name, **({"network.masks": 1} if name in {"made"} else {}))
    x, order = sample(model), model.order
    known, total = torch.zeros_like(x) - 1, torch.zeros(N)
    with torch.no_grad():
        for i in order.tolist():
            parameters = model.logits(known, *of(model)).flatten(2)[:, :, i]
            total += model.conditional.log_prob(x.flatten(1)[:, i], parameters)
            known.view(N, -1)[:, i] = x.flatten(1)[:, i]
    torch.testing.assert_close(model.log_likelihood(x, *of(model)), total)


@pytest.mark.parametrize(
    "name, channels", [*((n, 1) for n in FAST), *((n, 3) for n in FAST if n in COLOURED)]
)
def test_drawing_fast_draws_the_same(name, channels):
    model = build(name, side={1: 6, 3: 4}[channels], channels=channels)
    u, labels = torch.rand(N, *model.shape, generator=draws()), next(iter(of(model)), None)
    with torch.no_grad():
        slow, fast = (
            c.draw_pixels(model.eval(), u, labels) for c in (AutoregressiveModule, type(model))
        )
        assert len(slow.unique()) > 1
        assert torch.equal(slow, fast)
        torch.testing.assert_close(model.logits(slow, labels), model.logits(fast, labels))


@pytest.mark.parametrize("name", BINARY)
def test_samples_come_as_often_as_their_probability(name):
    model, x, n = build(name, side=2), everything(2), 4000
    labels = torch.ones(n).long() if model.requires_labels else None
    p = model.log_likelihood(x, *([] if labels is None else [labels[:16]])).exp()
    drawn = model.sample(n, labels=labels, generator=draws())
    seen = ((drawn.flatten(1) > 0) * 2 ** torch.arange(3, -1, -1)).sum(1).bincount(minlength=16)
    expected = p.double() / p.double().sum() * n
    assert (expected > 5).sum() > 4
    rare = expected < 5
    groups = [
        torch.cat([t[~rare].double(), t[rare].sum()[None].double()]) for t in (seen, expected)
    ]
    groups = [t[groups[1] > 0] for t in groups]
    assert chisquare(*groups).pvalue > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_samples_follow_from_the_generator_and_the_temperature(name):
    model = build(name, jolt=0.1, **({"network.masks": 1} if name in {"made"} else {}))
    mode = model.training
    a, b, c = (sample(model, seed=s) for s in (0, 0, 1))
    assert a.shape == (N, 1, 4, 4) and a.abs().max() <= 1 and not a.requires_grad
    assert torch.equal(a, b) and not torch.equal(a, c) and model.training == mode
    assert set(model.sampling) == {"temperature"}
    model.temperature = 1e-30
    cold = [sample(model, seed=s) for s in (0, 1)]
    assert (cold[0] - cold[1]).abs().max() <= 1 / 127  # the most probable, one after the other


@pytest.mark.parametrize("name", NAMES)
def test_labels_are_asked_for_or_refused(name):
    model = build(name)
    with pytest.raises(ValueError, match="conditional"):
        model.sample(N, labels=None if model.requires_labels else torch.zeros(N).long())


@pytest.mark.parametrize("name", NAMES)
def test_training_lowers_the_loss_and_reaches_every_parameter(name):
    model = build(name, jolt=0.0)
    x = images(model).sign()
    before, start = copy.deepcopy(model), model.log_likelihood(x, *of(model)).mean()
    fit(model, x, iterations=10)
    assert model.log_likelihood(x, *of(model)).mean() > start
    for (key, a), b in zip(before.named_parameters(), model.parameters(), strict=True):
        assert not torch.equal(a, b), key


@pytest.mark.parametrize("name", NAMES)
def test_micro_batches_give_the_same_gradient(name):
    gradients = []
    for accumulate in (1, 4):
        model = build(name, jolt=0.0, accumulate=accumulate)
        fit(model, images(model))
        gradients.append([p.grad for p in model.parameters()])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_state_dict_is_the_whole_model(name):
    model, other = build(name), build(name)
    torch.manual_seed(7)
    for p in other.state_dict().values():
        p.copy_(p.flatten()[torch.randperm(p.numel())].view_as(p))
    other.load_state_dict(model.state_dict())
    x = images(model)
    assert torch.equal(other.log_likelihood(x, *of(model)), model.log_likelihood(x, *of(model)))
    assert torch.equal(sample(other), sample(model))


@pytest.mark.parametrize("name", CONDITIONAL)
def test_a_conditional_model_learns_from_labels(name):
    model, n = build(name, jolt=0.0, **{"optimizers.model.lr": 0.02}), 40
    y = torch.arange(n) % 10  # as fit has them
    x = torch.where(y < 5, -1.0, 1.0)[:, None, None, None].expand(-1, 1, 4, 4).contiguous()
    fit(model, x, iterations=30)
    right, wrong = model.log_likelihood(x, y), model.log_likelihood(x, 9 - y)
    assert (right > wrong + 1).all()
    drawn = model.sample(n, labels=y, generator=draws()).flatten(1).mean(1)
    assert drawn[y >= 5].mean() - drawn[y < 5].mean() > 1


def test_made_averages_its_masks_as_probabilities():
    model, x = build("made", side=3), everything(3)
    with torch.no_grad():
        each = torch.stack([model.log_prob_of(m, x) for m in range(3)]).double()
    assert not torch.allclose(each[0], each[1])
    for k in (1, 2, 3):
        found = model.log_likelihood(x, samples=k).double()
        torch.testing.assert_close(found, each[:k].exp().mean(0).log(), rtol=0, atol=1e-5)
    torch.testing.assert_close(model.log_likelihood(x), model.log_likelihood(x, samples=3))
    assert (model.log_likelihood(x).double() >= each.mean(0) - 1e-5).all()  # Jensen


def test_made_draws_by_every_mask():
    model = build("made", side=3)
    u = torch.rand(N, 1, 3, 3, generator=draws())
    for mask, order in enumerate(model.network.orders):
        x = torch.zeros_like(u)
        with torch.no_grad():
            for i in order.tolist():
                logit = model.logits(x, mask=mask).flatten(2)[:, :, i]
                x.view(N, -1)[:, i] = model.conditional.draw(logit, u.view(N, -1)[:, i])
            assert torch.equal(model.draw_pixels(u, mask=mask), x)


def test_each_step_of_made_takes_the_next_mask():
    model = build("made", jolt=0.0)
    x, start = images(model), copy.deepcopy(model)
    fit(model, x)
    with torch.no_grad():
        nll = [-start.log_prob_of(m, x).mean() for m in range(3)]
    torch.testing.assert_close(model.recorded["loss_model"], nll[1])  # of iteration 1


def test_the_recursion_of_nade_has_its_gradient():
    torch.manual_seed(0)
    v, W, c, V = (torch.randn(s, dtype=torch.double) for s in ((3, 5), (5, 4), (4,), (5, 4)))
    of_all = [t.requires_grad_() for t in (v, W, c, V)]
    assert torch.autograd.gradcheck(Recursion.apply, of_all)
    h = [(c + v[:, :i] @ W[:i]).sigmoid() @ V[i] for i in range(5)]
    torch.testing.assert_close(Recursion.apply(v, W, c, V), torch.stack(h, 1))


def test_masks_are_those_of_the_paper():
    a, b = (MaskedConv2d(3, 3, 3, own=own, groups=3).mask for own in (False, True))
    assert torch.equal(a[:, :, 1, 1], torch.ones(3, 3).tril(-1).bool())
    assert torch.equal(b[:, :, 1, 1], torch.ones(3, 3).tril().bool())
    assert a[:, :, 0].all() and a[:, :, 1, 0].all() and not a[:, :, 1, 2].any()


def test_a_uniform_model_has_the_nats_of_its_pixels():
    model = build("fvsbn", jolt=0.0)
    nats = model.log_likelihood(images(model))
    torch.testing.assert_close(nats, torch.full((N,), -16 * math.log(2)))
