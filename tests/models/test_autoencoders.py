"""Properties of every model with a code, on the networks its own configuration gives it."""

import copy
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from sklearn.decomposition import PCA
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from lightning_gen.config.compose import check_overrides, instantiate
from lightning_gen.core import ImageBatch
from lightning_gen.errors import ConfigError
from lightning_gen.functional.mmd import inverse_multiquadratics, squared_mmd
from lightning_gen.networks.vqvae import GridPrior

FOLDER = Path(__file__).parents[2] / "lightning_gen/models/autoencoder"
BASES = {"__init__", "autoencoding", "gaussian_prior"}
NAMES = sorted(p.stem for p in FOLDER.glob("*.py") if p.stem not in BASES)
PLAIN = ["autoencoder", "convolutional", "deep", "denoising", "tied"]
SIZES = {
    "width": 4,
    "embeddings": 16,
    "codes": 16,
    "embedding_dim": 4,
    "pseudo_inputs": 8,
    "lr": 1e-2,
    "units": 8,
}
N = 8


def small(node, key=None):
    """The same networks with few units, however many layers they have, and long steps."""
    if isinstance(node, dict):
        return {k: small(v, k) for k, v in node.items()}
    if isinstance(node, list):
        return [small(v, key) for v in node]
    if key in {"latent_dim"}:
        return min(node, 30)
    return SIZES.get(key, node)


@cache
def composed(*words):
    return small(check_overrides(["data=mnist", *words])["model"])


def build(name, *words, **options):
    torch.manual_seed(0)
    model = instantiate(composed(f"model={name}", *words) | options)
    if hasattr(model, "codebook"):
        model.codebook.start(model.encoder(images()), torch.Generator().manual_seed(0))
    return model


class Batches:
    """A loader of the same images over and over."""

    def __init__(self, image, iterations):
        self.batch, self.iterations = ImageBatch(image, torch.arange(len(image)) % 10), iterations

    def __len__(self):
        return self.iterations

    def __iter__(self):
        return iter([self.batch] * self.iterations)


def fit(model, image, iterations=1):
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, Batches(image, iterations))
    return model


def exact(name, *words, **options):
    return build(name, *words, **options).double()


def images(n=N, *, binary=True, dtype=torch.float32):
    """Blobs of a few pixels, black and white or grey."""
    x = torch.rand(n, 1, 7, 7, generator=torch.Generator().manual_seed(1), dtype=dtype)
    x = x.repeat_interleave(4, 2).repeat_interleave(4, 3) * 2 - 1
    return x.sign() if binary else x


def given(model, n=N):
    """What a conditional model asks for beside images or codes."""
    return [torch.arange(n) % 10] if model.requires_labels else []


def gradients(model, x):
    """Gradients of the first step, of each player's parameters at its turn, without moving any."""
    found = {}
    configure = model.configure_optimizers

    def watched():
        optimizers, schedules = configure()
        for player, optimizer in zip(model.players, optimizers, strict=True):
            names = {id(p): k for k, p in model.named_parameters()}

            def pre(optimizer, *_, player=player, names=names):
                for group in optimizer.param_groups:
                    group["lr"] = 0.0
                    for p in group["params"]:
                        found[player, names[id(p)]] = None if p.grad is None else p.grad.clone()

            optimizer.register_step_pre_hook(pre)
        return optimizers, schedules

    model.configure_optimizers = watched
    fit(model, x)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_codes_and_what_comes_back(name):
    model, x = build(name), images()
    z = model.encode(x, *given(model))
    assert z.shape == (N, model.latent_dim) and z.isfinite().all()
    assert torch.equal(z, model.encode(x, *given(model)))  # no chance in it
    x_hat = model.reconstruct(x, *given(model))
    assert torch.equal(x_hat, model.decode(z, *given(model)))
    assert x_hat.shape == x.shape and x_hat.abs().max() <= 1
    assert not x_hat.requires_grad and not z.requires_grad
    assert all(m.training for m in model.modules())  # modes come back


@pytest.mark.parametrize("name", NAMES)
def test_steps_lower_the_error(name):
    model, x = build(name), images()
    before = (model.reconstruct(x, *given(model)) - x).square().mean()
    fit(model, x, 60)
    assert (model.reconstruct(x, *given(model)) - x).square().mean() < 0.95 * before
    assert model.iteration == 60 and model.images_seen == 60 * N
    assert all(v.isfinite() for v in model.recorded.values())
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_parameter(name):
    found = gradients(build(name), images(binary=False))
    if name in {"vqvae"}:  # the prior has its turn when the autoencoder is learnt
        found |= gradients(build(name, autoencoder_images=0), images(binary=False))
    model = build(name)
    assert {k for _, k in found} == {k for k, _ in model.named_parameters()}
    assert {p for p, _ in found} == set(model.players)
    assert not [k for k, g in found.items() if g is None or not g.abs().sum() > 0]


@pytest.mark.parametrize("name", NAMES)
def test_micro_batches_give_the_gradient_of_the_batch(name):
    whole = gradients(exact(name), images(dtype=torch.float64))
    parts = gradients(exact(name, accumulate=2), images(dtype=torch.float64))
    assert whole.keys() == parts.keys()
    alike = [torch.allclose(whole[k], parts[k], rtol=1e-6, atol=1e-9) for k in whole]
    # A discrepancy compares the codes of a batch with one another.
    assert all(alike) != (name in {"wae"})


@pytest.mark.parametrize("name", NAMES)
def test_weights_come_back_from_a_file(name, tmp_path):
    model, other, x = fit(build(name), images(), 3), build(name), images()
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    back = [m.reconstruct(x, *given(model)) for m in (model, other)]
    assert torch.equal(*back)
    assert torch.equal(
        fit(copy.deepcopy(model), x).code(x, *given(model)).detach(),
        fit(model, x).code(x, *given(model)).detach(),
    )


@pytest.mark.parametrize("name", [n for n in NAMES if n not in PLAIN])
def test_samples_follow_from_the_generator(name):
    model = fit(build(name), images(), 3)
    labels = given(model, 6)[0] if model.requires_labels else None
    draws = [
        model.sample(6, labels=labels, generator=torch.Generator().manual_seed(s))
        for s in (3, 3, 4)
    ]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    assert draws[0].shape == (6, 1, 28, 28) and draws[0].abs().max() <= 1
    assert not draws[0].requires_grad and all(m.training for m in model.modules())
    if labels is None:
        with pytest.raises(ValueError, match="not conditional"):
            model.sample(6, labels=torch.zeros(6))


def test_what_has_no_prior_has_no_samples():
    assert [n for n in NAMES if not hasattr(build(n), "sample")] == PLAIN


# Autoencoders


def test_errors_by_hand():
    x, z = images(binary=False, dtype=torch.float64), torch.randn(N, 30, dtype=torch.float64)
    unit = (x + 1) / 2
    for likelihood in ("squared", "cross_entropy"):
        model = exact("autoencoder", likelihood=likelihood)
        pixels = model.decoder(z)
        x_hat = pixels if likelihood == "squared" else torch.sigmoid(pixels)
        torch.testing.assert_close(model.picture(z), 2 * x_hat - 1)
        hand = {
            "squared": (unit - x_hat) ** 2,
            "cross_entropy": -unit * x_hat.log() - (1 - unit) * (1 - x_hat).log(),
        }[likelihood]
        torch.testing.assert_close(model.error(x, z), hand.sum((1, 2, 3)))
        fit(model, x)
        assert model.recorded["loss_model"] > 0


def test_a_linear_autoencoder_finds_the_principal_subspace():
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(64, 3)) * [3.0, 2.0, 1.0]
    flat = hidden @ rng.normal(size=(3, 784)) / 28 + 0.02 * rng.normal(size=(64, 784))
    x = torch.from_numpy(flat).view(-1, 1, 28, 28) * 2 - 1
    model = exact("autoencoder", "model.encoder.units=[]", "model.latent_dim=2")
    descent = torch.optim.LBFGS(
        model.parameters(),
        max_iter=400,
        max_eval=1000,
        tolerance_grad=0,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def closure():
        descent.zero_grad()
        loss = model.error(x, model.code(x)).mean()
        loss.backward()
        return loss

    descent.step(closure)
    unit = ((x + 1) / 2).flatten(1).numpy()
    pca = PCA(2).fit(unit)
    best = ((unit - pca.inverse_transform(pca.transform(unit))) ** 2).sum(1).mean()
    reached = float(model.error(x, model.code(x)).mean())
    assert best - 1e-9 <= reached < 1.001 * best


def test_the_deep_autoencoder_is_the_papers():
    model = instantiate(check_overrides(["model=deep"])["model"])
    widths = [tuple(p.shape) for p in model.parameters() if p.ndim == 2]
    units = [784, 1000, 500, 250, 30, 250, 500, 1000, 784]
    assert widths == list(zip(units[1:], units[:-1], strict=True))
    kinds = [type(m).__name__ for m in model.encoder.layers]
    assert kinds == ["Linear", "Sigmoid"] * 3 + ["Linear", "Identity"]
    assert [type(m).__name__ for m in model.decoder.layers] == kinds


def test_tied_weights_are_shared():
    model, x = exact("tied", "model.encoder.units=[1,1]"), images(dtype=torch.float64)
    assert all(p.ndim == 1 for p in model.decoder.parameters())
    fit(model, x, 2)
    other = exact("tied", "model.encoder.units=[1,1]")
    other.load_state_dict(model.state_dict())  # resumed
    for resumed in (other, fit(other, x, 2), copy.deepcopy(other)):
        W1, W2, W3 = (p for p in resumed.encoder.parameters() if p.ndim == 2)
        c1, c2, c3 = resumed.decoder.biases
        z = resumed.code(x)
        h = torch.relu(torch.relu(z @ W3 + c1) @ W2 + c2)
        torch.testing.assert_close(resumed.pixels(z).flatten(1), h @ W1 + c3)


def test_the_gradient_of_tied_weights_is_of_both_uses():
    model, x = exact("tied", "model.encoder.units=[]"), images(dtype=torch.float64)
    found = gradients(copy.deepcopy(model), x)
    W, b = (p.detach() for p in model.encoder.parameters())
    E, R = W.clone().requires_grad_(), W.clone().requires_grad_()
    v = ((x + 1) / 2).flatten(1)
    ((v - (v @ E.T + b) @ R) ** 2).sum(1).mean().backward()
    torch.testing.assert_close(found["model", "encoder.layers.0.weight"], E.grad + R.grad)


# Corruption


@pytest.mark.parametrize("corruption", ["masking", "salt_pepper", "gaussian"])
def test_corruption(corruption):
    model = exact("denoising", corruption=corruption, level=0.3)
    x = torch.zeros(64, 1, 28, 28, dtype=torch.float64)
    draw = [model.corrupt(x, torch.Generator().manual_seed(s)) for s in (0, 0, 1)]
    assert torch.equal(draw[0], draw[1]) and not torch.equal(draw[0], draw[2])
    black, white, same = ((draw[0] == v).double().mean().item() for v in (-1, 1, 0))
    shares = {"masking": (0.3, 0, 0.7), "salt_pepper": (0.15, 0.15, 0.7), "gaussian": (0, 0, 0)}
    assert (black, white, same) == pytest.approx(shares[corruption], abs=0.01)
    if corruption in {"gaussian"}:
        assert draw[0].std() == pytest.approx(0.6, rel=0.02)  # of pixels in [-1, 1]
        assert draw[0].mean() == pytest.approx(0, abs=0.02)
        assert draw[0].isfinite().all()
    clean = exact("denoising", corruption=corruption, level=0.0)
    assert torch.equal(clean.corrupt(images(dtype=torch.float64)), images(dtype=torch.float64))


def test_a_share_of_pixels_is_at_most_one():
    with pytest.raises(ConfigError, match="at most 1"):
        build("denoising", level=1.5)


def test_denoising_compares_with_the_clean_image():
    model, x, seen = exact("denoising"), images(dtype=torch.float64), []
    model.encoder.register_forward_hook(lambda _, inputs, z: seen.append((inputs[0], z.detach())))
    hand = copy.deepcopy(model)
    fit(model, x)
    x_tilde, z = seen[0]
    assert 0.1 < ((x_tilde != x)[x == 1]).double().mean() < 0.4 and (x_tilde == x)[x == -1].all()
    loss = binary_cross_entropy_with_logits(hand.decoder(z), (x + 1) / 2, reduction="sum") / N
    torch.testing.assert_close(model.recorded["loss_model"], loss.detach())
    hand, x_tilde = hand.float(), x_tilde.float()
    assert torch.equal(hand.denoise(x_tilde), hand.reconstruct(x_tilde))


# Codes with a prior


def test_discrepancy_by_double_loop():
    x, y = torch.randn(5, 3), torch.randn(7, 3) + 1
    scales, sigma2 = (0.5, 2.0), 1.7

    def k(a, b):
        square = sum((p - q) ** 2 for p, q in zip(a.tolist(), b.tolist(), strict=True))
        return sum(s * 2 * 3 * sigma2 / (s * 2 * 3 * sigma2 + square) for s in scales)

    within = [
        sum(k(v[i], v[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
        for v, n in ((x, 5), (y, 7))
    ]
    across = sum(k(a, b) for a in x for b in y) / 35
    mmd = squared_mmd(x, y, inverse_multiquadratics(sigma2, scales))
    assert float(mmd) == pytest.approx(sum(within) - 2 * across, abs=1e-6)
    with pytest.raises(ValueError, match="two vectors"):
        squared_mmd(x[:1], y, inverse_multiquadratics())


def test_discrepancy_is_unbiased_and_its_slope_is_finite():
    torch.manual_seed(0)
    kernel = inverse_multiquadratics()
    same = torch.stack([squared_mmd(*torch.randn(2, 20, 4), kernel) for _ in range(400)])
    assert same.min() < 0 and abs(same.mean()) < 4 * same.std() / 20
    z = torch.zeros(4, 2, requires_grad=True)
    squared_mmd(z, torch.randn(4, 2), kernel).backward()
    assert z.grad.isfinite().all() and z.grad.abs().sum() > 0


def test_wae_by_hand():
    model, x, drawn = exact("wae", mmd_weight=3.0), images(dtype=torch.float64), []
    hand, randn = copy.deepcopy(model), model.randn
    model.randn = lambda *shape: drawn.append(randn(*shape).double()) or drawn[-1]
    fit(model, x)
    z = hand.encoder(x)
    error = (x / 2 - torch.tanh(hand.decoder(z) / 2) / 2).square().sum() / N
    mmd = squared_mmd(z, drawn[0], inverse_multiquadratics(1.0))
    torch.testing.assert_close(model.recorded["loss_model"], (error + 3 * mmd).detach())


def test_aae_plays_in_the_papers_order():
    model, x, turns, calls = build("aae"), images(), [], []
    descend = model.descending

    def watched(player):
        turns.append(player)
        return descend(player)

    model.descending = watched
    model.encoder.register_forward_hook(lambda *_: calls.append(model.playing))
    model.D.register_forward_hook(
        lambda D, *_: calls.append((model.playing, D.layers[0].weight.requires_grad))
    )
    fit(model, x, 2)
    assert turns == ["autoencoder", "D", "G"] * 2
    # The codes that D sees are those that E then makes more like the prior.
    assert calls == ["autoencoder", ("D", True), "D", ("D", True), ("G", False)] * 2


def test_aae_by_hand():
    hand, x = exact("aae"), images(dtype=torch.float64)
    found = gradients(copy.deepcopy(hand), x)
    z_hat = hand.encoder(x)
    (-nn.functional.logsigmoid(hand.D(z_hat))).mean().backward()
    for k, p in hand.encoder.named_parameters():
        torch.testing.assert_close(found["G", f"encoder.{k}"], p.grad)
    hand.zero_grad()
    (x / 2 - torch.tanh(hand.decoder(hand.encoder(x)) / 2) / 2).square().sum().div(N).backward()
    for k, p in hand.encoder.named_parameters():
        torch.testing.assert_close(found["autoencoder", f"encoder.{k}"], p.grad)


@pytest.mark.parametrize(("name", "std"), [("aae", 5.0), ("wae", 1.0)])
def test_latents_are_the_priors(name, std):
    model = build(name)
    z = model.latents(4000, torch.Generator().manual_seed(0))
    assert z.shape == (4000, 8) and float(z.std()) == pytest.approx(std, rel=0.02)
    sample = model.sample(4, generator=torch.Generator().manual_seed(1))
    assert torch.equal(sample, model.generate(model.latents(4, torch.Generator().manual_seed(1))))


# VQ-VAE


def test_words_are_the_nearest_and_gradients_go_straight_through():
    model, x = exact("vqvae"), images(dtype=torch.float64)
    z_e = model.encoder(x)
    k = model.codebook.nearest(z_e)
    distance = (z_e.permute(0, 2, 3, 1)[..., None, :] - model.codebook.weight).norm(dim=-1)
    assert torch.equal(k, distance.argmin(-1)) and k.shape == (N, 7, 7)
    assert torch.equal(model.encode(x), model.codebook(k).flatten(1).float())
    # By hand: the decoder's gradient at z_q is what the encoder gets, beside the commitment.
    z_q = model.codebook(k).detach().requires_grad_()
    ((x + 1) / 2 - (model.decoder(z_q) + 1) / 2).square().mean().div(0.1).backward()
    slope = z_q.grad + 2 * model.commitment * (z_e - z_q).detach() / z_e.numel()
    parameters = dict(model.encoder.named_parameters())
    expected = torch.autograd.grad(z_e, list(parameters.values()), slope)
    found = gradients(exact("vqvae"), x)
    for name, gradient in zip(parameters, expected, strict=True):
        torch.testing.assert_close(found["model", f"encoder.{name}"], gradient)


def test_the_prior_sees_only_words_before():
    torch.manual_seed(0)
    prior, k = GridPrior(codes=5, width=8, blocks=2).double(), torch.randint(5, (1, 4, 4))
    before = prior(k)
    for place in range(16):
        other = k.clone()
        other.view(-1)[place] = (other.view(-1)[place] + 1) % 5
        changed = (prior(other) != before).any(1).flatten()
        assert not changed[: place + 1].any()
        assert changed[place + 1 :].any() or place == 15


def test_the_priors_probabilities_sum_to_one():
    torch.manual_seed(0)
    prior = GridPrior(codes=2, width=4, blocks=1).double()
    k = torch.cartesian_prod(*[torch.arange(2)] * 6).view(-1, 2, 3)
    nats = cross_entropy(prior(k), k, reduction="none").flatten(1).sum(1)
    assert float((-nats).exp().sum()) == pytest.approx(1)


def test_samples_are_the_priors():
    """Words drawn with shares that the prior gives: the first word's, then the next one's."""
    model = build("vqvae", embeddings=3)
    model.prior = GridPrior(codes=3, width=4, blocks=1)
    for p in model.prior.parameters():
        nn.init.normal_(p)
    drawn = []
    model.prior.register_forward_hook(lambda _, inputs, out: drawn.append(inputs[0].clone()))
    model.sample(1000, generator=torch.Generator().manual_seed(0))
    k = drawn[-1]
    p = model.prior(k[:1] * 0)[0, :, 0, 0].softmax(0)
    shares = torch.stack([(k[:, 0, 0] == c).float().mean() for c in range(3)])
    torch.testing.assert_close(shares, p.detach(), atol=0.05, rtol=0)
    first = k[:, 0, 0].mode().values
    row = torch.zeros_like(k[:1])
    row[0, 0, 0] = first
    p = model.prior(row)[0, :, 0, 1].softmax(0).detach()
    then = k[k[:, 0, 0] == first][:, 0, 1]
    shares = torch.stack([(then == c).float().mean() for c in range(3)])
    torch.testing.assert_close(shares, p, atol=0.1, rtol=0)


def test_the_autoencoder_stands_still_while_the_prior_learns():
    model, x = build("vqvae", autoencoder_images=3 * N), images()
    fit(model, x, 3)
    still = copy.deepcopy(model.state_dict())
    fit(model, x, 80)
    moved = {k for k, v in model.state_dict().items() if not torch.equal(v, still[k])}
    assert moved == {k for k in still if k.startswith("prior.")}
    assert model.recorded["loss_prior"] < 49 * np.log(16)
