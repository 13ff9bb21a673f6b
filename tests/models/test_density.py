"""Properties of every model of models/density, and each against what is known of it."""

import copy
import itertools
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.decomposition import LatentDirichletAllocation
from sklearn.mixture import GaussianMixture as SklearnMixture
from sklearn.naive_bayes import BernoulliNB
from torch.distributions import Normal, kl_divergence

from lightning_gen.baselines.known.gaussian_logit import gaussian_log_likelihood
from lightning_gen.baselines.known.gaussian_logit import logits as known_logits
from lightning_gen.config.compose import check_overrides, instantiate
from lightning_gen.data.mixture import Ring
from lightning_gen.functional.divergences import kl_gaussians, kl_normals
from lightning_gen.functional.pixels import grey_levels
from lightning_gen.models.density.bernoulli_mixture import BernoulliMixture
from lightning_gen.models.density.gaussian_logit import GaussianLogit
from lightning_gen.models.density.gaussian_mixture import GaussianMixture
from lightning_gen.models.density.lda import LDA
from lightning_gen.models.density.naive_bayes import NaiveBayes
from tests.models.test_gan import fit

FOLDER = Path(__file__).parents[2] / "lightning_gen/models/density"
NAMES = sorted(p.stem for p in FOLDER.glob("*.py") if p.stem not in {"__init__"})
NOISY = {"gaussian_mixture", "gaussian_logit", "rbm"}  # what they descend on is drawn
EXACT = sorted(set(NAMES) - NOISY - {"lda"})
SIDE, N = 3, 16
TINY = {"resolution": SIDE, "components": 4, "hidden": 5, "chains": N, "temperatures": 60}
TINY |= {"patch": 1, "topics": 4}


def small(node):
    return {k: TINY.get(k, small(v)) for k, v in node.items()} if isinstance(node, dict) else node


def build(name, **options):
    node = check_overrides([f"model={name}", "data=mnist"])["model"]
    torch.manual_seed(0)
    return instantiate(small(node) | options)


def digits(n=N):
    """Pixels -1 and 1 that depend on one another and on the class."""
    torch.manual_seed(1)
    rates = torch.linspace(0.1, 0.9, n)[torch.randperm(n)]
    return (torch.rand(n, 1, SIDE, SIDE) < rates[:, None, None, None]).float() * 2 - 1


def everything():
    """All images there are of 3 x 3 binary pixels."""
    bits = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=SIDE**2)))
    return bits.view(-1, 1, SIDE, SIDE)


def of(model, n=N):
    return torch.arange(n) % 10 if model.requires_labels else None


def loss(model, x, draws=0):
    """Mean of -log p, exact where log_likelihood is an estimate."""
    if model.likelihood_kind in {"exact"}:
        return -model.log_likelihood(x, generator=torch.Generator().manual_seed(draws)).mean()
    return -model.log_prob(x).mean()


@pytest.mark.parametrize("name", NAMES)
def test_training_lowers_the_loss_and_moves_every_parameter(name):
    model, x = build(name), digits()
    before, start = copy.deepcopy(model), loss(model, x)
    fit(model, x, iterations=20)
    assert loss(model, x) < start
    for (key, a), b in zip(before.named_parameters(), model.parameters(), strict=True):
        assert not torch.equal(a, b), key


@pytest.mark.parametrize("name", NAMES)
def test_likelihoods_are_of_each_image_alone_and_leave_no_trace(name):
    model, x = build(name), digits()
    mode, state = model.training, copy.deepcopy(model.state_dict())

    def found(x):
        return model.log_likelihood(x, generator=torch.Generator().manual_seed(0))

    whole = found(x)
    assert whole.shape == (N,) and whole.isfinite().all() and not whole.requires_grad
    torch.testing.assert_close(found(x[:3]), whole[:3])
    assert model.training == mode
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
def test_samples_follow_from_the_generator(name):
    model = build(name)
    a, b, c = (
        model.sample(N, labels=of(model), generator=torch.Generator().manual_seed(s))
        for s in (0, 0, 1)
    )
    assert a.shape == (N, 1, SIDE, SIDE) and a.abs().max() <= 1 and not a.requires_grad
    assert torch.equal(a, b) and not torch.equal(a, c)


@pytest.mark.parametrize("name", NAMES)
def test_labels_are_asked_for_or_refused(name):
    model = build(name)
    with pytest.raises(ValueError, match="conditional"):
        model.sample(N, labels=None if model.requires_labels else torch.zeros(N).long())


@pytest.mark.parametrize("name", EXACT)
def test_probabilities_sum_to_one_and_samples_follow_them(name):
    model = fit(build(name), digits(), iterations=20)
    x = everything()
    p = model.log_likelihood(x).exp()
    assert p.sum().item() == pytest.approx(1, abs=1e-4)
    n = 20_000
    labels = None
    if model.requires_labels:
        labels = model.weights.softmax(0).multinomial(n, replacement=True)
    drawn = model.sample(n, labels=labels, generator=torch.Generator().manual_seed(0))
    seen = ((drawn.flatten(1) > 0).long() * 2 ** torch.arange(SIDE**2 - 1, -1, -1)).sum(1)
    share = seen.bincount(minlength=len(p)) / n
    assert (share - p).abs().max() < 5 * (p.max() / n).sqrt()


@pytest.mark.parametrize("name", sorted(set(NAMES) - NOISY))
def test_micro_batches_give_the_same_step(name):
    whole, parts = (fit(build(name, accumulate=a), digits()) for a in (1, 4))
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("name", NAMES)
def test_a_state_dict_is_the_whole_model(name):
    model, other, x = fit(build(name), digits(), iterations=3), build(name), digits()
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(loss(other, x), loss(model, x))


SGD = {"optimizers": {"model": partial(torch.optim.SGD, lr=1.0)}}


def test_naive_bayes_ends_at_the_closed_form():
    x, y = digits(40), torch.arange(40) % 3
    bits = x.flatten(1).numpy() > 0
    closed = BernoulliNB(alpha=1.0).fit(bits, y.numpy())
    model = NaiveBayes(channels=1, resolution=SIDE, num_classes=3, **SGD)
    rates = torch.from_numpy(closed.feature_log_prob_).exp()
    model.logits.data.copy_(rates.logit())
    model.weights.data.copy_(torch.from_numpy(closed.class_log_prior_))
    assert torch.equal(model.classify(x), torch.from_numpy(closed.predict(bits)))
    expected = torch.from_numpy(closed.predict_joint_log_proba(bits)).float()
    torch.testing.assert_close(model.joint(x), expected)
    torch.testing.assert_close(model.log_likelihood(x), expected.logsumexp(1))
    rates = torch.stack([(x[y == k].flatten(1) > 0).float().mean(0) for k in range(3)])
    model.logits.data.copy_(rates.clamp(0.01, 0.99).logit())
    model.log_prob(x, y).mean().backward()
    inside = (rates > 0.01) & (rates < 0.99)
    assert inside.any() and model.logits.grad[inside].abs().max() < 1e-6  # nothing left to gain


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_a_gaussian_mixture_is_scikit_learns(covariance):
    torch.manual_seed(0)
    model = GaussianMixture(components=3, covariance=covariance, **SGD).double()
    for parameter in model.parameters():
        parameter.data.normal_()
    A = torch.diag_embed(model.log_diagonal.exp())
    if model.below is not None:
        A = A + model.below.tril(-1)
    kind = {"full": "full", "diagonal": "diag"}[covariance]
    theirs = SklearnMixture(3, covariance_type=kind)
    theirs.weights_ = model.weights.softmax(0).detach().numpy()
    theirs.means_ = model.means.detach().numpy()
    theirs.precisions_cholesky_ = {
        "full": A.mT, "diag": model.log_diagonal.exp()
    }[kind].detach().numpy()  # fmt: skip
    x = torch.randn(50, 2, dtype=torch.float64)
    torch.testing.assert_close(model.log_likelihood(x), torch.from_numpy(theirs.score_samples(x)))
    drawn = model.sample(40_000, generator=torch.Generator().manual_seed(0))
    within = np.einsum("k,kij->ij", theirs.weights_, np.linalg.inv((A.mT @ A).detach().numpy()))
    between = np.cov(theirs.means_.T, aweights=theirs.weights_, bias=True)
    spread = torch.from_numpy(within + between)
    mean = torch.from_numpy(theirs.weights_ @ theirs.means_)
    error = 5 * math.sqrt(spread.diagonal().max() / len(drawn))
    torch.testing.assert_close(drawn.mean(0), mean, atol=error, rtol=0)
    torch.testing.assert_close(torch.cov(drawn.T), spread, rtol=0.1, atol=0.1)


def test_a_gaussian_mixture_finds_the_ring(tmp_path):
    data = Ring(str(tmp_path), str(tmp_path), batch_size=100)
    data.prepare_data()
    data.setup()
    torch.manual_seed(0)
    adam = {"optimizers": {"model": partial(torch.optim.Adam, lr=0.1)}}
    model = GaussianMixture(components=8, **adam)
    centres, std = data.mixture
    model.means.data.copy_(centres + 0.1 * torch.randn_like(centres))
    x = data.real("train", torch.arange(1000)).image
    fit(model, x, iterations=100)
    entropy = math.log(8) + 1 + math.log(2 * math.pi * std**2)
    assert -model.log_likelihood(data.real("test").image).mean().item() == pytest.approx(
        entropy, abs=0.1
    )


def test_kinds_start_at_images():
    model = BernoulliMixture(channels=1, resolution=SIDE, components=4, **SGD)
    x = digits(4)
    model.start_from(x, x.mean(0))
    middle = ((0.75 * x.mean(0) + 0.25 * x + 1) / 2).clamp(1e-3, 1 - 1e-3)
    torch.testing.assert_close(model.logits.sigmoid().view_as(x), middle)


def test_the_gaussian_of_logits_is_the_closed_form_at_its_optimum():
    torch.manual_seed(0)
    x = (torch.randint(256, (400, 1, SIDE, SIDE)) / 127.5) - 1
    u = torch.rand(x.shape)
    model = GaussianLogit(channels=1, resolution=SIDE, **SGD)
    y = model.continuous(x, u).flatten(1)
    torch.testing.assert_close(y, known_logits(grey_levels(x), u).flatten(1), rtol=1e-4, atol=1e-4)
    model.location.copy_(y.mean(0))
    model.scale.copy_(y.std(0))
    white = ((y - model.location) / model.scale).double()
    factor = torch.linalg.cholesky(torch.linalg.inv(white.T @ white / len(white)).flip(0, 1))
    A = factor.flip(0, 1).T.float()
    assert torch.equal(A, A.tril())
    model.below.data.copy_(A)
    model.log_diagonal.data.copy_(A.diagonal().log())
    expected = gaussian_log_likelihood(y.double(), y.double()).float()
    torch.testing.assert_close(model.log_prob(y), expected, rtol=1e-4, atol=1e-3)
    model.log_prob(y).mean().backward()
    assert all(p.grad.abs().max() < 1e-3 for p in model.parameters())  # nothing left to gain


def test_words_are_the_patterns_of_patches():
    model = LDA(channels=1, resolution=4, patch=2, **SGD)
    x = torch.full((1, 1, 4, 4), -1.0)
    x[0, 0, 0, 0] = x[0, 0, 1, 3] = 1
    assert model.words(x).tolist() == [[1, 8, 0, 0]]
    model.logits.data.fill_(-100.0)
    model.logits.data.scatter_(2, model.words(x)[..., None].expand(50, -1, -1), 100.0)
    assert torch.equal(model.sample(1), x)


@pytest.mark.parametrize("places", [True, False])
def test_topics_start_at_the_rates_of_the_data(places):
    model = LDA(channels=1, resolution=4, patch=2, topics=1, places=places, steps=1, **SGD)
    model.logits.data.zero_()
    mean = torch.linspace(-0.9, 0.9, 16).view(1, 4, 4)
    model.start_at(mean)
    drawn = model.sample(20_000, generator=torch.Generator().manual_seed(0)).mean(0)
    if places:
        torch.testing.assert_close(drawn, mean, atol=0.05, rtol=0)
    torch.testing.assert_close(drawn.mean(), mean.mean(), atol=0.01, rtol=0)


def test_shares_of_topics_are_scikit_learns():
    torch.manual_seed(0)
    model = LDA(channels=1, resolution=8, topics=3, patch=2, places=False, steps=200, **SGD)
    x = torch.rand(6, 1, 8, 8) * 2 - 1
    counts = torch.nn.functional.one_hot(model.words(x), 16).sum(1)
    theirs = LatentDirichletAllocation(
        3, doc_topic_prior=0.1, max_doc_update_iter=2000, mean_change_tol=1e-8
    ).fit(counts.numpy())
    # So sure of the topics that their logarithm's mean is the logarithm.
    theirs.components_ = 1e8 * model.logits.softmax(2)[:, 0].double().detach().numpy()
    theirs.exp_dirichlet_component_ = theirs.components_ / 1e8
    found = torch.from_numpy(theirs.transform(counts.numpy())).float()
    torch.testing.assert_close(model.encode(x), found, atol=2e-3, rtol=0)


@pytest.mark.parametrize("places", [True, False])
def test_the_bound_of_two_topics_is_just_below_quadrature(places):
    torch.manual_seed(0)
    model = LDA(channels=1, resolution=4, topics=2, alpha=0.7, places=places, steps=100, **SGD)
    x = torch.rand(5, 1, 4, 4) * 2 - 1
    beta = model.topics_of(x).double().detach()
    edges = torch.linspace(0, math.pi / 2, 20_001, dtype=torch.float64)
    angle = (edges[1:] + edges[:-1]) / 2  # shares cos^2 and sin^2 tame the ends
    shares = torch.stack([angle.cos() ** 2, angle.sin() ** 2])
    density = (angle.cos() * angle.sin()) ** (2 * 0.7 - 1) * 2
    density = density / (density.sum() * edges[1])  # Beta(alpha, alpha)
    exact = ((beta @ shares).log().sum(1).exp() * density).sum(1) * edges[1]
    gap = exact.log() - model.log_likelihood(x).double()
    assert gap.min() > 0 and gap.max() < 1
    hasty = LDA(channels=1, resolution=4, topics=2, alpha=0.7, places=places, steps=1, **SGD)
    hasty.load_state_dict(model.state_dict())
    assert (hasty.log_likelihood(x) <= model.log_likelihood(x) + 1e-5).all()


def test_divergences_of_gaussians():
    torch.manual_seed(0)
    means, stds = torch.randn(2, 5), torch.rand(2, 5) + 0.5
    p, q = (Normal(m, s) for m, s in zip(means, stds, strict=True))
    each = kl_normals(means[0], stds[0], means[1], stds[1])
    torch.testing.assert_close(each, kl_divergence(p, q))
    covariances = [torch.diag(s**2) for s in stds]
    whole = kl_gaussians(means[0], covariances[0], means[1], covariances[1])
    torch.testing.assert_close(whole, each.sum())
    turn = torch.linalg.qr(torch.randn(5, 5)).Q  # the same in any coordinates
    turned = [(turn @ m, turn @ c @ turn.T) for m, c in zip(means, covariances, strict=True)]
    torch.testing.assert_close(kl_gaussians(*turned[0], *turned[1]), whole, rtol=1e-4, atol=1e-4)
