"""StyleGAN2 against closed forms and plain convolutions."""

import copy
import math
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d

from lightning_gen.functional.adversarial import discriminator_loss, non_saturating_loss
from lightning_gen.functional.lazy import path_lengths, slowed
from lightning_gen.models.gan.stylegan2 import StyleGAN2
from lightning_gen.networks.dcgan import scales
from lightning_gen.networks.mlp import MLP
from lightning_gen.networks.modulated import DownConv2d, ModulatedConv2d, Resample, demodulation
from lightning_gen.networks.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator
from tests.models.test_gan import build, fit

TAPS = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64) / 8
LR = 0.1


def filtered(x, padding, stride=1):
    """The filter as a convolution of each channel with the outer product of the taps."""
    C = x.shape[1]
    kernel = (TAPS[:, None] * TAPS).expand(C, 1, 4, 4)
    return conv2d(x, kernel, padding=padding, stride=stride, groups=C)


def spread(x):
    """Zeros between and after the pixels."""
    wide = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    wide[:, :, ::2, ::2] = x
    return wide


def normal(*shape):
    return torch.randn(*shape, dtype=torch.float64)


# Resampling


def test_resampling_is_the_filter_on_zeros_in_between_and_every_second_pixel():
    torch.manual_seed(0)
    x = normal(2, 3, 14, 14)
    torch.testing.assert_close(Resample(14, down=True).double()(x), filtered(x, 1, stride=2))
    torch.testing.assert_close(Resample(14, padding=2).double()(x), filtered(x, 2))
    by_hand = 4 * filtered(nn.functional.pad(spread(x), (2, 1, 2, 1)), 0)
    torch.testing.assert_close(Resample(14, up=True).double()(x), by_hand)


def test_constants_stay_and_what_would_alias_vanishes():
    ones = torch.ones(1, 1, 14, 14)
    up, down, blur = Resample(14, up=True), Resample(28, down=True), Resample(14, padding=2)
    inside = (..., slice(2, -2), slice(2, -2))  # the image is continued by zeros
    for y in (up(ones), down(up(ones)), blur(ones), Resample(14, down=True)(ones)):
        torch.testing.assert_close(y[inside], torch.ones_like(y[inside]))
    torch.testing.assert_close(TAPS.sum().item(), 1.0)
    full = Resample(14, padding=3)
    torch.testing.assert_close(full(ones).sum().item(), 14.0**2)  # each pixel is shared out whole
    board = ones.clone()
    board[..., 1::2] = -1  # the highest frequency
    assert Resample(14, down=True)(board)[inside].abs().max() == 0


# Modulated convolutions


@pytest.mark.parametrize("demodulate", [True, False])
def test_modulation_is_a_convolution_of_each_image_with_its_own_weights(demodulate):
    torch.manual_seed(0)
    conv = ModulatedConv2d(5, 7, 3, style_dim=4, demodulate=demodulate).double()
    x, w = normal(6, 5, 9, 9), normal(6, 4)
    y, s = conv(x, w), conv.style(w)
    kernels = []
    for i in range(6):
        kernel = conv.weight * conv.scale * s[i][None, :, None, None]
        if demodulate:
            kernel = kernel / (kernel.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        torch.testing.assert_close(y[i], conv2d(x[i : i + 1], kernel, padding=1)[0])
        kernels.append(kernel)
    grouped = conv2d(x.view(1, 30, 9, 9), torch.cat(kernels), padding=1, groups=6)
    torch.testing.assert_close(y, grouped.view(6, 7, 9, 9))


def test_doubling_is_zeros_in_between_a_convolution_and_the_filter():
    torch.manual_seed(0)
    conv = ModulatedConv2d(5, 7, 3, style_dim=4, up=7).double()
    x, w = normal(2, 5, 7, 7), normal(2, 4)
    s, weight = conv.style(w), conv.weight * conv.scale
    wide = nn.functional.pad(spread(x * s[:, :, None, None]), (2, 1, 2, 1))
    by_hand = 4 * filtered(conv2d(wide, weight.flip(2, 3)), 1)
    by_hand = by_hand * demodulation(weight, s)[:, :, None, None]
    torch.testing.assert_close(conv(x, w), by_hand)


def test_halving_is_the_filter_and_every_second_pixel_of_a_convolution():
    torch.manual_seed(0)
    conv = DownConv2d(3, 4, 14).double()
    x = normal(2, 3, 14, 14)
    whole = conv2d(filtered(x, 2), conv.weight * conv.scale)
    torch.testing.assert_close(conv(x), whole[..., ::2, ::2])  # the bias is zero


def test_demodulated_outputs_have_unit_variance():
    torch.manual_seed(0)
    conv = ModulatedConv2d(16, 8, 3, style_dim=4)
    w = (3 * torch.randn(1, 4)).expand(256, -1)
    y = conv(torch.randn(256, 16, 10, 10), w)[..., 1:-1, 1:-1]
    # 256 images of 64 pixels, of which those a kernel apart are independent: 1800 at least, so a
    # variance is known to sqrt(2 / 1800) = 0.033; four of these are 0.13.
    assert (y.var((0, 2, 3)) - 1).abs().max() < 0.13
    conv.demodulates = False
    assert (conv(torch.randn(256, 16, 10, 10), w).var((0, 2, 3)) - 1).abs().max() > 0.5


# Networks


def tiny(**options):
    arguments = {"latent_dim": 6, "channels": 1, "resolution": 28, "style_dim": 8, "width": 4}
    torch.manual_seed(0)
    G = StyleGAN2Generator(**(arguments | options))
    for layer in G.layers:
        nn.init.constant_(layer.strength, 0.3)
    return G


@pytest.mark.parametrize("resolution", [28, 32, 64, 128, 256])
def test_resolutions(resolution):
    G = tiny(resolution=resolution, channels=3)
    D = StyleGAN2Discriminator(channels=3, resolution=resolution, width=4)
    x = G(torch.randn(2, 6))
    assert x.shape == (2, 3, resolution, resolution) and D(x).shape == (2, 1)
    assert G.num_styles == 2 * len(scales(resolution))


def test_the_papers_widths():
    G = StyleGAN2Generator(channels=3, resolution=256)
    assert [layer.conv.weight.shape[0] for layer in G.layers] == [512] * 9 + [256] * 2 + [128] * 2
    D = StyleGAN2Discriminator(channels=3, resolution=256)
    assert sum(p.numel() for p in D.parameters()) == sum(
        # conv, down and skip of each block
        9 * a * a + a + 9 * a * b + b + a * b
        for a, b in [(128, 256), (256, 512), (512, 512), (512, 512), (512, 512), (512, 512)]
    ) + (3 * 128 + 128) + (9 * 513 * 512 + 512) + (512 * 16 * 512 + 512) + (512 + 1)


def test_each_style_moves_the_image_and_no_other_layer_does():
    G = tiny().eval()
    w = G.styles(torch.randn(3, 6)).detach().requires_grad_()
    (slope,) = torch.autograd.grad(G.synthesis(w).square().sum(), w)
    assert (slope.abs().amax((0, 2)) > 0).all()


def test_evaluation_is_fixed_and_training_is_noisy():
    G, z = tiny(mixing=0.0), torch.randn(4, 6)
    assert not torch.allclose(G(z), G(z))
    G.eval()
    assert torch.equal(G(z), G(z))
    torch.testing.assert_close(G(z)[1:2], G(z[1:2]), rtol=1e-4, atol=1e-4)  # on nothing beside it
    reloaded = tiny(mixing=0.0).eval()
    for layer in reloaded.layers:
        layer.noise.normal_()
    assert not torch.allclose(reloaded(z), G(z))
    reloaded.load_state_dict(G.state_dict())
    assert torch.equal(reloaded(z), G(z))


def test_styles_are_mixed_as_often_as_said_and_at_every_layer():
    G, n = tiny(mixing=0.9), 20_000
    counts = torch.bincount(G.crossovers(torch.zeros(n, 6)), minlength=7) / n
    expected = torch.tensor([0] + [0.9 / 5] * 5 + [0.1])
    assert (counts - expected).abs().max() < 4 * math.sqrt(0.18 * 0.82 / n)
    assert (tiny(mixing=0.0).crossovers(torch.zeros(99, 6)) == 6).all()
    z = torch.randn(500, 6)
    kept = (G.styles(z) == G.mapping(z)[:, None]).all(2).sum(1)  # layers that z still has
    assert kept.min() == 1 and (kept == 6).float().mean() < 0.2


def test_the_first_layers_are_coarse():
    G = tiny().eval()
    z, mate = torch.randn(4, 6), torch.randn(4, 6)
    w = G.styles(z, mate, torch.tensor([0, 2, 5, 6]))
    for i, c in enumerate([0, 2, 5, 6]):
        torch.testing.assert_close(w[i, :c], G.mapping(z)[i].expand(c, -1))
        torch.testing.assert_close(w[i, c:], G.mapping(mate)[i].expand(6 - c, -1))


# Sampling


def trained():
    return fit(build("stylegan2"), torch.rand(8, 1, 28, 28) * 2 - 1, iterations=2)


def test_truncation_ends_at_the_mean_image():
    model = trained()
    G = model.sampler.network
    assert G.w_mean.abs().max() > 0
    mean = G.synthesis(G.w_mean.expand(1, 6, -1)).clamp(-1, 1)
    draw = partial(model.sample, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(draw(psi=0.0), mean.expand(5, -1, -1, -1))
    z = torch.randn(3, model.latent_dim)
    assert torch.equal(G.styles(z)[:, 0], G.mapping(z))
    half = G.styles(z, psi=0.5)[:, 0]
    torch.testing.assert_close(half, (G.mapping(z) + G.w_mean) / 2)
    assert draw(psi=1.0).std(0).mean() > draw(psi=0.5).std(0).mean() > 1e-4


def test_mixing_all_or_nothing_is_pure():
    model = trained()
    coarse, fine = torch.randn(3, model.latent_dim), torch.randn(3, model.latent_dim)
    L = model.latent_layers
    assert torch.equal(model.mix(coarse, fine, 0), model.generate(fine))
    assert torch.equal(model.mix(coarse, fine, L), model.generate(coarse))
    images = [model.mix(coarse, fine, c, psi=0.7) for c in range(L + 1)]
    assert all(not torch.equal(a, b) for a, b in pairwise(images))
    with pytest.raises(ValueError, match="not conditional"):
        model.sample(2, labels=torch.zeros(2, dtype=torch.long))


# Regularisers


class Linear(nn.Module):
    """A generator whose images (N, 1, 4, 4) are linear in the styles of two layers."""

    num_styles = 2

    def __init__(self):
        super().__init__()
        self.A = nn.Parameter(normal(2, 16, 3))
        self.mapping = nn.Linear(3, 3).double()
        self.register_buffer("w_mean", torch.zeros(3, dtype=torch.float64))

    def styles(self, z):
        return self.mapping(z)[:, None].expand(-1, 2, -1)

    def synthesis(self, w):
        return torch.einsum("lpd, nld -> np", self.A, w).view(-1, 1, 4, 4)

    def forward(self, z):
        return self.synthesis(self.styles(z))


class Flat(nn.Module):
    """A discriminator of images of 16 pixels."""

    def __init__(self, layers):
        super().__init__()
        self.layers = layers

    def forward(self, x):
        return self.layers(x.flatten(1))


def make(lr=LR, D=None, **options):
    """A model of a linear generator in double precision, moved by plain gradient descent."""
    torch.manual_seed(0)
    sgd = partial(torch.optim.SGD, lr=lr)
    networks = {"G": Linear(), "D": Flat(D or MLP(inputs=16, outputs=1, units=8))}
    return StyleGAN2(**networks, optimizers={"G": sgd, "D": sgd}, latent_dim=3, **options).double()


def pictures(n=8):
    torch.manual_seed(1)
    return normal(n, 1, 4, 4)


def descend(network, loss, lr):
    parameters = [p for p in network.parameters() if p.requires_grad]
    slopes = torch.autograd.grad(loss, parameters, allow_unused=True)
    for p, g in zip(parameters, slopes, strict=True):
        if g is not None:
            p.data -= lr * g


def test_path_lengths_of_a_linear_generator():
    torch.manual_seed(0)
    G, y = Linear(), normal(5, 1, 4, 4)
    w = G.styles(normal(5, 3))
    lengths = path_lengths(G.synthesis, w, lambda *shape: y)
    for i in range(5):
        J_T_y = [G.A[layer].T @ y[i].flatten() for layer in range(2)]  # by hand
        squares = torch.stack(J_T_y).square().sum(1)
        torch.testing.assert_close(lengths[i], (squares.mean() / 16).sqrt())
    # E |A^T y|^2 = |A|_F^2 / (H W), with a standard error of the mean over n draws.
    n = 20_000
    squares = path_lengths(G.synthesis, G.styles(normal(n, 3)), normal).square()
    error = (squares.mean() - G.A.square().sum() / 2 / 16).abs()
    assert error < 4 * squares.std() / math.sqrt(n)
    # The authors' scaling is the paper's weight: ln 2 / (r^2 (ln r - ln 2)) at 2 log2(r) - 2 layers
    r = 1024
    gamma_pl = math.log(2) / (r**2 * (math.log(r) - math.log(2)))
    assert gamma_pl == pytest.approx(2 / r**2 / (2 * math.log2(r) - 2))


def test_the_round_by_hand():
    x = pictures()
    gamma, c = 0.7, 1 / 2  # both regularisers in every round
    options = {"gamma": gamma, "R1_interval": 1, "path_interval": 1, "ema_rampup": 0}
    hand = make(**options)
    model = fit(copy.deepcopy(hand), x)
    G, D, before = hand.G, hand.D, copy.deepcopy(hand.G)
    hand.iteration = 1
    hand.seed_iteration()
    # path lengths, on half a batch, a = 0
    z = hand.z(4)
    y = hand.randn(4, 1, 4, 4) / 4
    gradients = torch.einsum("lpd, np -> nld", G.A, y.flatten(1))
    lengths = gradients.square().sum(2).mean(1).sqrt()
    torch.testing.assert_close(model.recorded["path_length"], lengths.mean().detach())
    torch.testing.assert_close(model.path_mean, 0.01 * lengths.mean().detach())
    descend(G, 2.0 * lengths.square().mean(), LR * c)
    # R1
    inputs = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(D(inputs).sum(), inputs, create_graph=True)
    R1 = gradient.square().sum((1, 2, 3)).mean()
    torch.testing.assert_close(model.recorded["R1"], R1.detach())
    descend(D, gamma / 2 * R1, LR * c)
    # the game
    fake = G(z := hand.z(8))
    loss = discriminator_loss(D(x), D(fake.detach()))
    torch.testing.assert_close(model.recorded["loss_D"], loss.detach())
    descend(D, loss, LR * c)
    loss = non_saturating_loss(D(fake))
    torch.testing.assert_close(model.recorded["loss_G"], loss.detach())
    w = G.mapping(z).mean(0).detach()
    descend(G, loss, LR * c)
    torch.testing.assert_close(model.G.w_mean, 0.005 * w)
    for a, b in zip(model.G.parameters(), G.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    for a, b in zip(model.D.parameters(), D.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    # One update of the average, though G stepped twice: 8 images with a half-life of 10,000.
    beta = 0.5 ** (8 / 10_000)
    averages = model.G_ema.network.parameters()
    for a, b, c in zip(averages, before.parameters(), G.parameters(), strict=True):
        torch.testing.assert_close(a, beta * b + (1 - beta) * c)
    assert torch.equal(model.G_ema.network.w_mean, model.G.w_mean)


def losses(model, iterations):
    """Every loss that is descended: (iteration, player, value)."""
    seen, backward = [], model.manual_backward

    def spy(loss):
        seen.append((model.iteration, model.playing, loss.item()))
        backward(loss)

    model.manual_backward = spy
    fit(model, pictures(), iterations=iterations)
    return seen


def test_r1_comes_every_16_rounds_with_16_times_the_weight():
    linear = nn.Linear(16, 1)
    seen = losses(make(lr=0.0, D=linear, gamma=3.0, path_weight=0.0), 33)
    of_D = [(i, loss) for i, player, loss in seen if player == "D"]
    assert [i for i, _ in of_D] == sorted([*range(1, 34), 16, 32])
    expected = 16 * 3.0 / 2 * linear.weight.square().sum().item()
    for i in (16, 32):
        assert next(loss for j, loss in of_D if j == i) == pytest.approx(expected)


def test_the_running_mean_of_path_lengths_and_their_interval():
    model = make(lr=0.0, gamma=0.0)
    seen = losses(model, 9)
    assert [i for i, player, _ in seen if player == "G"] == [1, 2, 3, 4, 4, 5, 6, 7, 8, 8, 9]
    hand, a = make(lr=0.0), torch.zeros((), dtype=torch.float64)
    for i in (4, 8):
        hand.iteration = i
        hand.seed_iteration()
        lengths = path_lengths(hand.G.synthesis, hand.G.styles(hand.z(4)), hand.randn).detach()
        penalty = 2.0 * 4 * (lengths - a).square().mean()
        assert next(v for j, p, v in seen if (j, p) == (i, "G")) == pytest.approx(penalty.item())
        a = a + 0.01 * (lengths.mean() - a)
    torch.testing.assert_close(model.path_mean, a)


def test_a_round_records_only_what_it_measured():
    """Else a resumed run, which knows nothing of the rounds before, would log other values."""
    model = make(R1_interval=3, path_interval=2)
    for extra in ({"path_length"}, {"R1"}, {"path_length"}, set(), {"R1", "path_length"}):
        fit(model, pictures(), iterations=2 if model.iteration == 0 else 1)
        assert set(model.recorded) == {"loss_D", "loss_G"} | extra


def test_a_period_of_lazy_steps_adds_up_to_that_of_steps_in_every_round():
    """The nets are frozen by a rate of zero; gradients of all of D's steps are added."""

    def total(interval):
        model, sums = make(lr=0.0, gamma=3.0, R1_interval=interval, path_weight=0.0), []

        def add(optimizer):
            gradients = [p.grad for p in model.D.parameters()]
            if model.playing == "D":
                sums.append([g if g is None else g.clone() for g in gradients])

        model.on_before_optimizer_step = add
        fit(model, pictures(), iterations=4)
        assert len(sums) == 4 + 4 // interval
        return [sum(g for g in gs if g is not None) for gs in zip(*sums, strict=True)]

    for lazy, every in zip(total(4), total(1), strict=True):
        torch.testing.assert_close(lazy, every)
        assert lazy.abs().max() > 0


def test_adam_is_slowed_where_there_is_a_regulariser():
    model = build("stylegan2")
    of_D, of_G = (o.param_groups[0] for o in model.configure_optimizers()[0])
    assert of_D["lr"] == pytest.approx(0.002 * 16 / 17) and of_G["lr"] == pytest.approx(0.0016)
    assert of_D["betas"] == pytest.approx((0.0, 0.99 ** (16 / 17)))
    assert of_G["betas"] == pytest.approx((0.0, 0.99**0.8))
    free = build("stylegan2", gamma=0.0, path_weight=0.0)
    for optimizer in free.configure_optimizers()[0]:
        assert optimizer.param_groups[0]["lr"] == 0.002
        assert tuple(optimizer.param_groups[0]["betas"]) == (0.0, 0.99)


def test_slowed_steps_go_as_far():
    """Of a constant gradient, k + 1 steps of the slowed optimiser are k of the other."""

    def walk(make, steps):
        p = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        optimizer = make([p])
        for _ in range(steps):
            p.grad = torch.ones_like(p)
            optimizer.step()
        state = optimizer.state[p]["exp_avg_sq"]
        return p.item(), state.item()

    adam = partial(torch.optim.Adam, lr=0.01, betas=(0.5, 0.9))
    assert walk(partial(slowed, adam, 4), 5) == pytest.approx(walk(adam, 4))


def test_accumulating_micro_batches_is_the_whole_batch_for_r1_and_the_game():
    options = {"gamma": 1.0, "R1_interval": 1, "path_weight": 0.0}
    whole, parts = (fit(make(**options, accumulate=k), pictures(), 2) for k in (1, 2))
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b)
