"""Variational bounds against integrals, closed forms and gradients by hand."""

import math
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from lightning_gen.config.compose import check_overrides, instantiate
from lightning_gen.core import ImageBatch
from lightning_gen.functional.likelihoods import Gaussian, kl_standard_normal
from lightning_gen.models.autoencoder.beta_vae import BetaVAE
from lightning_gen.models.autoencoder.cvae import CVAE
from lightning_gen.models.autoencoder.iwae import IWAE
from lightning_gen.models.autoencoder.vae import VAE
from lightning_gen.models.autoencoder.vampprior import VampPrior
from lightning_gen.networks.vae import VAEDecoder, VAEEncoder

SIDE, N = 4, 6
SIZE = {"channels": 1, "resolution": SIDE}


def make(cls=VAE, d=3, likelihood="bernoulli", classes=0, **options):
    torch.manual_seed(0)
    shape = {**SIZE, "latent_dim": d, "units": [8], "activation": "tanh", "num_classes": classes}
    encoder, decoder = VAEEncoder(**shape), VAEDecoder(**shape, likelihood=likelihood)
    with torch.no_grad():
        encoder.layers[-1].weight.mul_(0.7)
        decoder.layers[-1].weight.mul_(2)
    options |= {"optimizers": {"model": partial(torch.optim.Adam, lr=1e-3)}, "latent_dim": d}
    options |= {"num_classes": classes} if classes else {}
    return cls(encoder=encoder, decoder=decoder, likelihood=likelihood, **options).double()


def images(n=N):
    draws = torch.rand(n, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    return torch.where(draws < 0.4, 1.0, -1.0).double()


def build(name, *words, **options):
    node = check_overrides([f"model={name}", "data=mnist", *words])["model"]
    torch.manual_seed(0)
    return instantiate(node | options)


class Batches:
    """A loader of the same images over and over, of labels 0, 1, 2, ... in turn."""

    def __init__(self, image, iterations):
        self.batch, self.iterations = ImageBatch(image, torch.arange(len(image)) % 10), iterations

    def __len__(self):
        return self.iterations

    def __iter__(self):
        return iter([self.batch] * self.iterations)


def fit(model, image, iterations=1):
    quiet = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    trainer = pl.Trainer(accelerator="cpu", devices=1, max_epochs=1, **quiet)
    trainer.fit(model, Batches(image, iterations))
    return model


def hermite(n):
    """Noise (n,) and weights (n,) that integrate over a standard normal."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(n)
    return torch.from_numpy(nodes), torch.from_numpy(weights / weights.sum())


def gradient(model, loss):
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])


def linear(std=0.5, d=2, cls=VAE, exact=False, **options):
    """Principal components with noise, whose density is known; q is the posterior, or is wide."""
    torch.manual_seed(0)
    D = SIDE**2
    decoder = nn.Sequential(nn.Linear(d, D), nn.Unflatten(1, (1, SIDE, SIDE)))
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(D, 2 * d))
    optimizers = {"model": partial(torch.optim.Adam, lr=1e-3)}
    model = cls(encoder=encoder, decoder=decoder, latent_dim=d, optimizers=optimizers, **options)
    model.likelihood = Gaussian(std=std, continuous=False)
    model.double()
    W, b = decoder[0].weight.data.double(), decoder[0].bias.data.double()
    covariance = torch.linalg.inv(torch.eye(d) + W.T @ W / std**2)
    with torch.no_grad():  # of y in [0, 1], which is x in [-1, 1], scaled
        A = covariance @ W.T / std**2
        encoder[1].weight[:d], encoder[1].bias[:d] = A / 2, A @ (0.5 - b)
        encoder[1].weight[d:], encoder[1].bias[d:] = 0, covariance.diagonal().log()
        if not exact:
            encoder[1].weight[:d] += 0.1
            encoder[1].bias[d:] += 0.7
    cov = W @ W.T + std**2 * torch.eye(D)
    density = torch.distributions.MultivariateNormal(b, cov)
    return model, lambda x: density.log_prob((x.flatten(1) + 1) / 2)


# Bounds


@pytest.mark.parametrize("likelihood", ["bernoulli", "fixed_gaussian", "gaussian", "logistic"])
def test_the_bound_and_the_likelihood_are_integrals_over_a_line(likelihood):
    model, x = make(d=1, likelihood=likelihood), images()
    # Independent of the code: sums over a fine grid of z.
    z = torch.linspace(-20, 20, 8001, dtype=torch.float64)
    log_p_xz = model.likelihood.log_prob(x[:, None], model.decoder(z[:, None])[None])
    log_p_z = -(z**2) / 2 - math.log(2 * math.pi) / 2
    mean, log_variance = model.encoder(x).chunk(2, 1)
    log_q = Normal(mean, (log_variance / 2).exp()).log_prob(z)
    elbo = torch.trapezoid(log_q.exp() * (log_p_xz + log_p_z - log_q), z)
    log_p = torch.logsumexp(log_p_xz + log_p_z, 1) + math.log(float(z[1] - z[0]))

    nodes, weights = hermite(60)
    epsilon = nodes[None, :, None].expand(N, -1, 1)
    bounds = torch.stack([model.bound(x, e) for e in epsilon.split(1, 1)], 1)
    torch.testing.assert_close(bounds @ weights, elbo, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(model.log_weights(x, epsilon) @ weights, elbo, rtol=1e-6, atol=1e-6)
    assert (elbo < log_p).all()
    if likelihood in {"bernoulli", "logistic"}:  # nothing to dequantise
        L = model.log_likelihood(x, samples=20_000, generator=torch.Generator().manual_seed(0))
        assert (L - log_p).abs().max() < 0.1


def test_bounds_rise_with_k_to_the_exact_density():
    model, density = linear()
    x = images(200)
    exact = density(x).mean()
    generator = torch.Generator().manual_seed(0)
    L = [float(model.log_likelihood(x, samples=k, generator=generator).mean()) for k in KS]
    assert L == sorted(L) and L[-1] < exact + 0.02
    assert exact - L[0] > 0.5 and exact - L[-1] < 0.05
    # The bound in training is L_1 in the mean, with its divergence in closed form.
    noise = torch.randn(200, 400, 2, generator=generator, dtype=torch.float64)
    assert float(model.bound(x, noise).mean()) == pytest.approx(L[0], abs=0.3)


KS = (1, 5, 50, 2000)


def test_every_code_of_the_exact_posterior_gives_the_exact_density():
    model, density = linear(d=1, exact=True)  # of one code, a diagonal covariance is no restriction
    x = images()
    log_w = model.log_weights(x, torch.randn(N, 7, 1, dtype=torch.float64))
    torch.testing.assert_close(log_w, density(x)[:, None].expand(N, 7))


def test_likelihoods_follow_the_generator_and_fit_the_memory():
    model, x, rows = make().float(), images(5).float(), []
    model.decoder.register_forward_hook(lambda _, inputs, out: rows.append(out.numel()))
    a, b, c = (
        model.log_likelihood(x, samples=60_000, generator=torch.Generator().manual_seed(s))
        for s in (0, 0, 1)
    )
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert sum(rows) == 3 * 5 * 60_000 * SIDE**2 and max(rows) <= 2**22
    assert a.shape == (5,) and not a.requires_grad and model.training
    one, default = (
        model.log_likelihood(images(300).float(), samples=k, generator=again())
        for k in (1, None)
        for again in [partial(torch.Generator().manual_seed, 0)]
    )
    assert torch.equal(one, default) and one.shape == (300,)  # as many codes as in training


def test_active_units_are_counted():
    model = make(d=4).float()
    with torch.no_grad():
        model.encoder.layers[-1].weight[:2] = 0
    x = images(50).float()
    assert model.active_units(x) == 2
    assert model.active_units(x[:1].expand(50, -1, -1, -1)) == 0


def test_the_decoder_starts_at_the_mean_image():
    mean = torch.rand(1, SIDE, SIDE) * 1.8 - 0.9
    for likelihood in ("bernoulli", "gaussian", "fixed_gaussian", "logistic"):
        model = make(likelihood=likelihood).float()
        nn.init.zeros_(model.decoder.layers[-1].weight)
        model.decoder.start_at(mean)
        torch.testing.assert_close(model.decode(torch.randn(2, 3)), mean.expand(2, -1, -1, -1))


@pytest.mark.parametrize(
    ("likelihood", "space"),
    [("gaussian", "unit"), ("fixed_gaussian", "unit"), ("logistic", "bytes")],
)
def test_grey_images_have_a_likelihood_too(likelihood, space):
    words = [f"model.likelihood={likelihood}", "model.encoder.units=[8]"]
    model = build("vae", *words, draw=True)
    assert model.likelihood_space == space
    grey = (torch.randint(256, (8, 1, 28, 28)) / 127.5 - 1).contiguous()
    before = model.log_likelihood(grey, samples=5).mean()
    fit(model, grey, 60)
    assert model.log_likelihood(grey, samples=5).mean() > before + 10
    sample = model.sample(3, generator=torch.Generator().manual_seed(0))
    assert sample.shape == (3, 1, 28, 28) and sample.abs().max() <= 1


def test_samples_are_means_or_draws():
    model, again = make().float(), partial(torch.Generator().manual_seed, 0)
    grey, z = model.sample(4, generator=again()), model.latents(4, again())
    torch.testing.assert_close(grey, model.generate(z))
    model.draw = True
    assert model.sample(4, generator=again()).abs().eq(1).all() and grey.abs().lt(1).all()
    ends = model.path(z[:2], z[2:], torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(ends, torch.stack([z[0], z[3]]))


# IWAE


def test_the_gradient_of_one_code_is_that_of_the_bound():
    """In the mean over noise: the divergence in closed form has less variance."""
    vae, iwae, x = make(VAE, d=1), make(IWAE, d=1, importance_samples=1), images()
    nodes = list(zip(*hermite(40), strict=True))
    expected = [
        sum(w * gradient(m, m.bound(x, e.expand(N, 1, 1)).mean()) for e, w in nodes)
        for m in (vae, iwae)
    ]
    torch.testing.assert_close(*expected, rtol=1e-6, atol=1e-8)
    noise = nodes[3][0].expand(N, 1, 1)
    assert not torch.allclose(*(gradient(m, m.bound(x, noise).mean()) for m in (vae, iwae)))


def test_the_gradient_of_several_codes_is_weighted():
    model, x, k = make(IWAE, importance_samples=7), images(), 7
    noise = torch.randn(N, k, 3, dtype=torch.float64)
    log_w = model.log_weights(x, noise)
    share = (log_w.exp() / log_w.exp().sum(1, keepdim=True)).detach()
    by_hand = gradient(model, (share * log_w).sum(1).mean())
    L_k = model.bound(x, noise)
    torch.testing.assert_close(gradient(model, L_k.mean()), by_hand)
    torch.testing.assert_close(L_k, model.log_weights(x, noise).exp().mean(1).log())
    assert 1 <= model.recorded["effective"] <= k


def test_iwae_trains_on_as_many_codes_as_it_says():
    model, shapes = build("iwae", "model.encoder.units=[8]"), []
    model.decoder.register_forward_hook(lambda _, inputs, out: shapes.append(inputs[0].shape))
    x = images(8).float().repeat(1, 1, 7, 7)
    fit(model, x)
    assert shapes == [(8 * 5, 50)] and model.importance_samples == 5
    assert (
        model.optimizer_factories["model"]([nn.Parameter(torch.zeros(1))]).defaults["eps"] == 1e-4
    )


# beta-VAE


def test_the_divergence_costs_beta_or_keeps_to_the_capacity():
    x, noise = images(), torch.randn(N, 1, 3, dtype=torch.float64)
    vae, beta = make(), make(BetaVAE, beta=4.0)
    kl = kl_standard_normal(*vae.encoder(x).chunk(2, 1))
    torch.testing.assert_close(beta.bound(x, noise), vae.bound(x, noise) - 3 * kl)
    assert torch.equal(vae.recorded["elbo"], beta.recorded["elbo"])
    held = make(BetaVAE, capacity=10.0, capacity_images=100, gamma=7.0)
    for seen, C in ((0, 0.0), (30, 3.0), (200, 10.0)):
        held.images_seen = seen
        expected = vae.bound(x, noise) + kl - 7 * (kl - C).abs()
        torch.testing.assert_close(held.bound(x, noise), expected)


def test_a_traversal_moves_one_unit_alone():
    z = torch.randn(2, 3)
    ways = make(BetaVAE).traverse(z, 5, 2.0)
    assert list(ways) == ["unit 1", "unit 2", "unit 3"]
    for i, way in enumerate(ways.values()):
        assert way.shape == (2, 5, 3)
        torch.testing.assert_close(way[1, :, i], torch.linspace(-2, 2, 5))
        others = [j for j in range(3) if j != i]
        assert torch.equal(way[..., others], z[:, None, others].expand(-1, 5, -1))


# Conditional


def test_an_unlabelled_image_is_of_any_label():
    model, x = make(CVAE, d=1, classes=3), images()
    z = torch.linspace(-20, 20, 4001, dtype=torch.float64)
    log_p_z = -(z**2) / 2 - math.log(2 * math.pi) / 2
    of_label = []
    for y in range(3):
        parameters = model.decoder(z[:, None], torch.full(z.shape, y))
        log_p = model.likelihood.log_prob(x[:, None], parameters[None]) + log_p_z
        of_label.append(log_p.logsumexp(1) + math.log(float(z[1] - z[0])))
    p = torch.stack(of_label).exp().mean(0).log()
    generator = torch.Generator().manual_seed(0)
    assert (model.log_likelihood(x, samples=20_000, generator=generator) - p).abs().max() < 0.1


def test_labels_are_asked_for_seen_and_found():
    model, x = make(CVAE, classes=4).float(), images(8).float()
    again = partial(torch.Generator().manual_seed, 0)
    labels = torch.arange(8) % 4
    sample = model.sample(8, generator=again())
    assert torch.equal(sample, model.sample(8, labels=labels, generator=again()))
    assert torch.equal(sample, model.generate(model.latents(8, again()), labels))
    assert not torch.equal(sample, model.sample(8, labels=labels.flip(0), generator=again()))
    found = model.classify(x)
    assert found.shape == (8,) and found.max() < 4
    assert torch.equal(model.encode(x), model.encode(x, found))
    assert torch.equal(model.reconstruct(x), model.reconstruct(x, found))
    with pytest.raises(ValueError, match="labels must be given"):
        model.decoder(torch.zeros(1, 3))


def test_a_conditional_model_learns_what_labels_look_like():
    model = build("cvae", "model.encoder.units=[16]", "model.optimizers.model.lr=1.0e-2")
    patterns = torch.where(torch.rand(10, 1, 7, 7) < 0.5, 1.0, -1.0)
    patterns = patterns.repeat_interleave(4, 2).repeat_interleave(4, 3)
    fit(model, patterns.repeat(4, 1, 1, 1), 100)  # labels 0, 1, 2, ... in turn
    sample = model.sample(30, generator=torch.Generator().manual_seed(0))
    distance = (sample[:, None] - patterns).square().flatten(2).sum(2)
    assert torch.equal(distance.argmin(1), torch.arange(30) % 10)
    assert torch.equal(model.classify(patterns), torch.arange(10))


# VampPrior


def vamp(**options):
    return make(VampPrior, pseudo_inputs=5, **SIZE, **{"warmup": 0, **options})


def test_the_prior_is_a_mixture_of_posteriors():
    model, z = vamp(), torch.randn(N, 2, 3, dtype=torch.float64)
    with torch.no_grad():
        model.u.mul_(20)  # far apart
        mean, log_variance = model.encoder(model.u.tanh()).chunk(2, 1)
    components = Independent(Normal(mean, (log_variance / 2).exp()), 1)
    mixture = MixtureSameFamily(Categorical(torch.ones(5, dtype=torch.float64)), components)
    torch.testing.assert_close(model.log_prior(z), mixture.log_prob(z))
    drawn = model.latents(20_000, torch.Generator().manual_seed(0))
    tolerance = 5 * mixture.stddev.max() / 20_000**0.5
    assert (drawn.mean(0) - mixture.mean).abs().max() < tolerance
    torch.testing.assert_close(drawn.var(0), mixture.variance, rtol=0.05, atol=0.0)
    half = vamp().float()
    torch.testing.assert_close(half.log_prior(z.float()), vamp().log_prior(z).float())


def test_the_vamp_bound_is_that_of_the_weights_and_warms_up():
    model, x, noise = vamp(), images(), torch.randn(N, 1, 3, dtype=torch.float64)
    torch.testing.assert_close(model.bound(x, noise), model.log_weights(x, noise)[:, 0])
    half = vamp(warmup=100)
    half.images_seen = 50
    expected = (
        half.log_weights(x, noise)[:, 0],
        half.log_prob(x, half.posterior(x, noise)[0])[:, 0],
    )
    torch.testing.assert_close(half.bound(x, noise), sum(expected) / 2)


def test_pseudo_inputs_start_at_training_images_once():
    x = images(40).float()
    data = SimpleNamespace(
        splits=("train",),
        size=lambda split: 40,
        real=lambda split, rows, device: SimpleNamespace(image=x[rows]),
    )
    starts = []
    for iteration in (0, 0, 3):
        model = vamp().float()
        model.iteration, model.seed = iteration, 7
        before = model.u.detach().clone()
        model._trainer = SimpleNamespace(datamodule=data)
        model.on_fit_start()
        starts.append(model.u.detach().clone())
        assert torch.equal(model.u, before) == (iteration > 0)
    assert torch.equal(starts[0], starts[1])
    nearest = (starts[0].tanh()[:, None] - x).square().flatten(2).sum(2).min(1)
    torch.testing.assert_close(nearest.values, torch.full((5,), SIDE**2 * 0.01))
