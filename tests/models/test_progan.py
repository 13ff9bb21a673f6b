"""ProGAN's growth, layers and loss against closed forms."""

import copy
import math
import re
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import avg_pool2d, conv2d, interpolate

from lightning_gen.models.gan.progan import ProGAN, growth
from lightning_gen.networks.equalized import EqualizedConv2d, EqualizedLinear, MinibatchStddev
from lightning_gen.networks.progan import (
    FromLatent,
    ProGANDiscriminator,
    ProGANGenerator,
    pixel_norm,
)
from tests.models.test_gan import fit

SIZES = {"channels": 2, "resolution": 32, "width": 6, "width_times_side": 96}  # of 4, 8, 16, 32
LEVELS = 4


def networks(resolution=32):
    torch.manual_seed(0)
    sizes = SIZES | {"resolution": resolution}
    return ProGANGenerator(latent_dim=5, **sizes), ProGANDiscriminator(**sizes)


def small(cls=ProGAN, **options):
    G, D = networks()
    adam = partial(torch.optim.Adam, lr=1e-2, betas=(0.0, 0.99))
    arguments = {"optimizers": {"G": adam, "D": adam}, "latent_dim": 5, "phase_images": 12}
    return cls(G=G, D=D, **(arguments | options))


def grown(network, value):
    network.growth.fill_(value)
    return network


def batch(n=8):
    torch.manual_seed(1)
    return torch.rand(n, 2, 32, 32) * 2 - 1


def up(x, side=32):
    return x.repeat_interleave(side // x.shape[-1], 2).repeat_interleave(side // x.shape[-1], 3)


# The schedule


def test_growth_at_its_corners():
    P = 800_000
    corners = {0: 0, P: 0, 1.5 * P: 0.5, 2 * P: 1, 3 * P: 1, 3.25 * P: 1.25, 4 * P: 2, 5 * P: 2}
    for images, expected in corners.items():
        assert growth(int(images), P, levels=9) == expected
    assert growth(P - 1, P, 9) == 0 and growth(P + 1, P, 9) == 1 / P
    # 1024 x 1024 is reached after 8 phases of fading in, and stays.
    assert growth(16 * P - 1, P, 9) < 8 == growth(16 * P, P, 9) == growth(99 * P, P, 9)


def test_growth_is_the_integral_of_the_phases():
    P, levels = 7, 4
    speed = [1 / P if images // P % 2 else 0 for images in range(2 * P * (levels - 1))]
    expected = np.minimum(np.cumsum([0, *speed, *[0] * 20]), levels - 1)
    for images, value in enumerate(expected):
        assert growth(images, P, levels) == pytest.approx(value)


def test_a_step_has_the_growth_of_the_images_before_it():
    model = small()
    seen = []
    model.D.register_forward_hook(lambda D, *_: seen.append(D.growth.item()))
    fit(model, batch(6), iterations=9)
    assert len(seen) == 4 * 9  # D: penalty, real and fake; G: fake
    assert seen[::4] == [0, 0, 0, 0.5, 1, 1, 1, 1.5, 2]
    assert all(len(set(seen[i : i + 4])) == 1 for i in range(0, len(seen), 4))
    for network in (model.G, model.D, model.G_ema.network):
        assert network.growth == 2
    assert model.state_dict()["G_ema.network.growth"] == 2


def test_every_level_is_trained_by_the_end():
    model = small()
    before = copy.deepcopy(model.state_dict())
    fit(model, batch(), iterations=11)
    after = model.state_dict()
    assert [
        k for k in after if k.startswith(("G.", "D.")) and torch.equal(before[k], after[k])
    ] == []
    assert [k for k in after if k.startswith("G_ema") and torch.equal(before[k], after[k])] == []


def test_levels_not_reached_stay_as_they_are():
    model = small(phase_images=10**6)
    before = copy.deepcopy(model.state_dict())
    fit(model, batch(), iterations=2)
    names = [f"{p}.{k}" for p in "GD" for k, _ in getattr(model, p).named_parameters()]
    moved = {k for k in names if not torch.equal(before[k], model.state_dict()[k])}
    higher = {k for k in names if re.search(r"(blocks|image)\.[123]\.", k)}
    assert len(higher) == 2 * (3 * 4 + 3 * 2) and moved == set(names) - higher


# The networks


@pytest.mark.parametrize("k", range(LEVELS))
def test_a_level_alone_is_the_plain_stack(k):
    G, D = (grown(n, k) for n in networks())
    z, side = torch.randn(3, 5), 4 * 2**k
    h = pixel_norm(z)
    for i in range(k + 1):
        h = G.blocks[i](h)
    assert h.shape[-1] == side
    torch.testing.assert_close(G(z), up(G.to_image[k](h)))
    x = batch(3)
    h = D.from_image[k](avg_pool2d(x, 32 // side))
    for i in reversed(range(k + 1)):
        h = D.blocks[i](h)
    torch.testing.assert_close(D(x), D.head(h))


@pytest.mark.parametrize("k", range(LEVELS - 1))
def test_a_fade_begins_at_the_level_below_and_ends_at_the_level_above(k):
    G, D = networks()
    z, x = torch.randn(3, 5), batch(3)
    low, high = ((grown(G, g)(z), grown(D, g)(x)) for g in (k, k + 1))
    assert not torch.allclose(low[0], high[0]) and not torch.allclose(low[1], high[1])
    for alpha in (0.25, 0.5):  # G's images are linear in alpha
        expected = torch.lerp(low[0], high[0], alpha)
        torch.testing.assert_close(grown(G, k + alpha)(z), expected)
    for g, (images, logits) in ((k, low), (k + 1, high)):
        for near in (abs(g - 2e-6), g + 2e-6):  # from either side
            near = min(near, LEVELS - 1)
            torch.testing.assert_close(grown(G, near)(z), images, rtol=0, atol=1e-4)
            torch.testing.assert_close(grown(D, near)(x), logits, rtol=0, atol=1e-4)


def test_the_discriminator_mixes_features():
    _, D = networks()
    x = batch(3)
    fading = D.blocks[1](D.from_image[1](avg_pool2d(x, 4)))
    h = 0.7 * D.from_image[0](avg_pool2d(x, 8)) + 0.3 * fading
    torch.testing.assert_close(grown(D, 0.3)(x), D.head(D.blocks[0](h)))


def test_players_are_blind_to_detail_above_their_level():
    _, D = networks()
    x = batch(3)
    coarse = interpolate(avg_pool2d(x, 4), scale_factor=4)
    torch.testing.assert_close(grown(D, 1)(x), D(coarse))
    assert not torch.allclose(grown(D, 1.5)(x), D(coarse))


def test_real_images_fade_as_generated_ones_do():
    _, D = networks()
    x = batch(3)
    eight, sixteen = up(avg_pool2d(x, 4)), up(avg_pool2d(x, 2))
    torch.testing.assert_close(grown(D, 1).fade(x), eight)
    torch.testing.assert_close(grown(D, 2).fade(x), sixteen)
    torch.testing.assert_close(grown(D, 1.25).fade(x), 0.75 * eight + 0.25 * sixteen)
    assert torch.equal(grown(D, 3).fade(x), x)


@pytest.mark.parametrize("resolution", [28, 32, 64, 128, 256])
def test_networks_of_any_size(resolution):
    G, D = networks(resolution)
    for value in (0, 0.5, len(G.sides) - 1):
        x = grown(G, value)(torch.randn(2, 5))
        assert x.shape == (2, 2, resolution, resolution)
        assert grown(D, value)(x).shape == (2, 1)


def test_channels_are_table_2s():
    with torch.device("meta"):
        G = ProGANGenerator(channels=3, resolution=1024)
    widths = [layer.weight.shape[1] for layer in G.to_image]
    assert widths == [512, 512, 512, 512, 256, 128, 64, 32, 16]
    assert sum(p.numel() for p in G.parameters()) == pytest.approx(23.1e6, rel=0.01)


def test_the_average_draws_at_its_own_growth():
    model = fit(small(), batch(6), iterations=8)
    draw = partial(model.sample, 4)
    x = draw(generator=torch.Generator().manual_seed(0))
    assert torch.equal(x, up(avg_pool2d(x, 2)))  # 16 pixels while they fade in
    saved = copy.deepcopy(model.state_dict())
    loaded = small()
    loaded.load_state_dict(saved)
    assert torch.equal(x, loaded.sample(4, generator=torch.Generator().manual_seed(0)))


# The layers


@pytest.mark.parametrize("gain", [1.0, math.sqrt(2)])
def test_weights_are_scaled_by_gain_over_the_root_of_fan_in(gain):
    torch.manual_seed(0)
    conv, dense = EqualizedConv2d(9, 200, 3, gain=gain), EqualizedLinear(81, 200, gain=gain)
    for layer in (conv, dense):
        assert layer.weight.std().item() == pytest.approx(1, abs=0.02)
    x = torch.randn(4, 9, 5, 5)
    expected = conv2d(x, conv.weight * gain / 9, conv.bias, padding=1)
    torch.testing.assert_close(conv(x), expected)
    x = torch.randn(4, 81)
    torch.testing.assert_close(dense(x), x @ dense.weight.T * gain / 9 + dense.bias)


def test_the_first_layer_is_a_transposed_convolution_of_hes_size():
    torch.manual_seed(0)
    layer = FromLatent(8, 6, 4)
    layer.bias.data.normal_()
    z = torch.randn(3, 8)
    weight = layer.linear.weight.T.reshape(8, 6, 4, 4) * math.sqrt(2 / (8 * 4 * 4))
    h = nn.functional.conv_transpose2d(z[:, :, None, None], weight, layer.bias.flatten())
    torch.testing.assert_close(layer(z), h)


@pytest.mark.parametrize("multiplier", [1.0, 0.01])
def test_adam_moves_every_layer_at_the_same_relative_speed(multiplier):
    lr = 1e-3
    for inputs in (4, 400):
        torch.manual_seed(0)
        layer = EqualizedLinear(inputs, 300, bias_init=2.0, lr_multiplier=multiplier)
        x = torch.randn(50, inputs)
        effective = [layer(torch.eye(inputs)).detach() - layer(torch.zeros(1, inputs)).detach()]
        assert effective[0].std().item() == pytest.approx(math.sqrt(2 / inputs), rel=0.05)
        torch.testing.assert_close(layer(torch.zeros(1, inputs)).mean(), torch.tensor(2.0))
        optimizer = torch.optim.Adam(layer.parameters(), lr=lr, eps=0)
        layer(x).square().sum().backward()
        optimizer.step()
        effective.append(layer(torch.eye(inputs)).detach() - layer(torch.zeros(1, inputs)).detach())
        # The first step of Adam is lr for each weight: lr g / sqrt(fan in) of the weight in use.
        step = (effective[1] - effective[0]).abs()
        expected = torch.tensor(lr * multiplier * math.sqrt(2 / inputs))
        torch.testing.assert_close(step, expected.expand_as(step), rtol=0.02, atol=1e-6)


@pytest.mark.parametrize(("n", "group"), [(8, 4), (8, 8), (6, 4), (10, 4), (7, 4), (3, 4), (5, 1)])
def test_minibatch_standard_deviation_by_hand(n, group):
    torch.manual_seed(0)
    h = torch.randn(n, 3, 2, 5)
    size = {(6, 4): 3, (10, 4): 2, (7, 4): 1, (3, 4): 3}.get((n, group), group)
    out = MinibatchStddev(group)(h)
    assert out.shape == (n, 4, 2, 5) and torch.equal(out[:, :3], h)
    for start in range(0, n, size):
        sigma = h[start : start + size].numpy().astype(float).std(0).mean()
        expected = torch.full((size, 2, 5), sigma, dtype=torch.float32)
        torch.testing.assert_close(out[start : start + size, 3], expected, rtol=1e-4, atol=2e-4)


def test_minibatch_features_have_channels_of_their_own():
    torch.manual_seed(0)
    h = torch.randn(4, 6, 2, 2)
    out = MinibatchStddev(4, features=2)(h)
    torch.testing.assert_close(out[:, 6:7], MinibatchStddev(4)(h[:, :3])[:, 3:])
    torch.testing.assert_close(out[:, 7:8], MinibatchStddev(4)(h[:, 3:])[:, 3:])


def test_groups_are_the_same_on_any_number_of_devices():
    h = torch.randn(16, 3, 4, 4)
    layer = MinibatchStddev(4)
    assert torch.equal(layer(h), torch.cat([layer(part) for part in h.chunk(2)]))


def test_a_collapsed_generator_shows_in_the_standard_deviation():
    h = torch.randn(1, 3, 4, 4).expand(4, -1, -1, -1)
    torch.testing.assert_close(MinibatchStddev()(h)[:, 3], torch.full((4, 4, 4), 1e-4))


def test_pixel_norm_is_the_closed_form():
    torch.manual_seed(0)
    h = torch.randn(4, 6, 3, 3, dtype=torch.float64)
    norm = torch.linalg.vector_norm(h, dim=1, keepdim=True)
    torch.testing.assert_close(pixel_norm(h), math.sqrt(6) * h / norm, rtol=1e-6, atol=0)
    torch.testing.assert_close(pixel_norm(5 * h), pixel_norm(h), rtol=1e-6, atol=0)
    G, _ = networks()
    for name, bias in G.named_parameters():
        if name.endswith("bias"):  # without them everything is homogeneous
            nn.init.normal_(bias)
    z = torch.randn(3, 5)
    torch.testing.assert_close(G(z), G(2 * z))  # latents lie on a sphere
    features = grown(G, 2).blocks[0](pixel_norm(z))
    torch.testing.assert_close(features.square().mean(1), torch.ones(3, 4, 4))


# The loss


class Affine(nn.Module):
    """A critic a x + b of images of one number each, whose gradient is known."""

    def __init__(self, a, b):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor(a)), nn.Parameter(torch.tensor(b))
        self.register_buffer("growth", torch.zeros(()))
        self.sides, self.present = [4, 8], (0, 0, 0.0)

    def fade(self, x):
        return x

    def forward(self, x):
        return self.a * x.flatten(1).sum(1, keepdim=True) + self.b


class Shift(Affine):
    def forward(self, z):
        return (self.a * z + self.b)[:, :, None, None]


def affine_game(**options):
    sgd = partial(torch.optim.SGD, lr=0.01)
    players = {"G": Shift(2.0, -1.0), "D": Affine(3.0, 0.5)}
    return ProGAN(**players, optimizers={"G": sgd, "D": sgd}, latent_dim=1, **options)


def fakes_of_iteration_one(model):
    """G's images as numbers for D's turn and for G's."""
    model.iteration = 1
    model.seed_iteration()
    D_turn, _, G_turn = model.z(3), model.rand(3, 1, 1, 1), model.z(3)
    return [(2 * z - 1).flatten().numpy() for z in (D_turn, G_turn)]


@pytest.mark.parametrize(("target", "drift"), [(1.0, 0.001), (750.0, 0.5)])
def test_the_loss_is_the_hand_computed_value(target, drift):
    a, b, x = 3.0, 0.5, np.array([1.0, -2.0, 4.0])
    model = affine_game(gp_target=target, drift_weight=drift)
    fakes = fakes_of_iteration_one(copy.deepcopy(model))
    fit(model, torch.tensor(x, dtype=torch.float32).view(3, 1, 1, 1))
    real, fake = a * x + b, a * fakes[0] + b
    loss = fake.mean() - real.mean() + 10 / target**2 * (3 - target) ** 2
    loss += drift * np.square(real).mean()
    assert model.recorded["loss_D"].item() == pytest.approx(loss, rel=1e-5)
    assert model.recorded["drift"].item() == pytest.approx(np.square(real).mean())
    # a goes down the slopes of all three terms, b down that of the drift alone.
    slope = fakes[0].mean() - x.mean() + 10 / target**2 * 2 * (3 - target)
    a -= 0.01 * (slope + drift * (2 * real * x).mean())
    b -= 0.01 * drift * 2 * real.mean()
    assert model.D.a.item() == pytest.approx(a, rel=1e-5)
    assert model.D.b.item() == pytest.approx(b, rel=1e-5)
    assert model.recorded["loss_G"].item() == pytest.approx(-(a * fakes[1] + b).mean(), rel=1e-5)
    assert model.G.b.item() == pytest.approx(-1 + 0.01 * a, rel=1e-5)


# State


def states(model):
    return [copy.deepcopy(o.state_dict()) for o in model.trainer.optimizers]


def test_resuming_in_the_middle_of_a_fade_is_bitwise():
    def play(model, steps, iteration, optimizers=None):
        """Take steps from an iteration on, with the optimisers' states of before."""
        model.iteration, model.images_seen = iteration, 6 * iteration
        made, schedules = model.configure_optimizers()
        for optimizer, state in zip(made, optimizers or [], strict=False):
            optimizer.load_state_dict(state)
        model.configure_optimizers = lambda: (made, schedules)
        fit(model, batch(6), iterations=steps)
        return model

    options = {"phase_images": 24}
    whole = play(small(**options), 7, 0)  # 5, 6 and 7 fade level 1 in: 0, 0.25 and 0.5
    first = play(small(**options), 6, 0)
    assert first.G.growth == 0.25
    second = small(**options)
    second.load_state_dict(first.state_dict())
    play(second, 1, 6, states(first))
    assert second.G.growth == 0.5
    a, b = whole.state_dict(), second.state_dict()
    assert all(torch.equal(a[k], b[k]) for k in a)
    for one, other in zip(states(whole), states(second), strict=True):
        assert one["state"].keys() == other["state"].keys()
        for i in one["state"]:
            assert all(torch.equal(v, other["state"][i][k]) for k, v in one["state"][i].items())


def test_adam_forgets_when_a_level_begins_and_ends_to_fade_in():
    model = small(phase_images=18)
    steps = []

    def count(*_):
        optimizers = model.trainer.optimizers
        steps.append(
            [max((s["step"].item() for s in o.state.values()), default=0) for o in optimizers]
        )

    model.on_train_batch_end = count
    fit(model, batch(6), iterations=11)  # growth 0 (4 times), 1/3, 2/3, 1 (4 times), 4/3
    assert [s[0] for s in steps] == [1, 2, 3, 4, 1, 2, 1, 2, 3, 4, 1]
    assert [s[1] for s in steps] == [s[0] for s in steps]


def test_micro_batches_of_whole_groups_are_the_whole_batch():
    whole, parts = (fit(small(accumulate=k).double(), batch().double(), 4) for k in (1, 2))
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)
