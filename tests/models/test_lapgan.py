"""LAPGAN: each level is a game of its own, and a sample climbs through all of them."""

import copy
import math
from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from lightning_gen.functional.pyramid import decompose, down, up
from lightning_gen.models.gan.lapgan import LAPGAN
from lightning_gen.networks.lapgan import LAPGANDiscriminator, LAPGANGenerator
from tests.models.test_gan import fit

N, LR, LEVELS = 6, 0.1, 3
SGD = partial(torch.optim.SGD, lr=LR)


def make(optimizer=SGD, **options):
    """A pyramid of sides 5, 10 and 20 in double precision."""
    torch.manual_seed(0)
    G = LAPGANGenerator(latent_dim=4, channels=2, resolution=20, units=6, width=3)
    D = LAPGANDiscriminator(channels=2, resolution=20, units=6, width=3, dropout=0)
    players = {"G": optimizer, "D": optimizer}
    return LAPGAN(G=G, D=D, optimizers=players, prior="uniform", latent_dim=4, **options).double()


def images(n=N):
    torch.manual_seed(1)
    return torch.rand(n, 2, 20, 20, dtype=torch.float64) * 2 - 1


def noise(model, k):
    """The z_k of D's and of G's step in the first iteration."""
    model.iteration = 1
    model.seed_iteration()
    return [model.z(N).split([4, 100, 400], 1)[k] for _ in range(2)]


def stepped(network, loss):
    slopes = torch.autograd.grad(loss, list(network.parameters()))
    return [p - LR * g for p, g in zip(network.parameters(), slopes, strict=True)]


def at(k, **options):
    """A model whose next step is the first of level k."""
    model = make(level_images=100, **options)
    model.images_seen = 100 * k
    return model


@pytest.mark.parametrize("k", range(LEVELS))
def test_a_level_is_a_conditional_gan_by_hand_and_no_other_moves(k):
    hand, x = at(k), images()
    model = fit(copy.deepcopy(hand), x)
    for _ in range(LEVELS - 1 - k):
        x = down(x)
    low = up(down(x)) if k else torch.zeros_like(x)
    h, G, D = x - low, hand.G.levels[k], hand.D.levels[k]
    z_D, z_G = noise(hand, k)
    real, fake = D(h + low), D(low + G(z_D, low).detach())
    loss = cross_entropy(real, torch.ones_like(real)) + cross_entropy(fake, torch.zeros_like(fake))
    torch.testing.assert_close(model.recorded["loss_D"], loss.detach())
    for p, expected in zip(model.D.levels[k].parameters(), stepped(D, loss), strict=True):
        torch.testing.assert_close(p, expected)
    fake = model.D.levels[k](low + G(z_G, low))
    loss = cross_entropy(fake, torch.ones_like(fake))
    for p, expected in zip(model.G.levels[k].parameters(), stepped(G, loss), strict=True):
        torch.testing.assert_close(p, expected)
    for player in ("G", "D"):
        for j in set(range(LEVELS)) - {k}:
            before, after = (getattr(m, player).levels[j].parameters() for m in (hand, model))
            for a, b in zip(before, after, strict=True):
                assert torch.equal(a, b) and b.grad is None


def test_jointly_is_the_sum():
    joint, alone = fit(make(), images()), [fit(at(k), images()) for k in range(LEVELS)]
    for player in ("G", "D"):
        total = sum(m.recorded[f"loss_{player}"] for m in alone)
        torch.testing.assert_close(joint.recorded[f"loss_{player}"], total)
        for k in range(LEVELS):
            levels = (getattr(m, player).levels[k].parameters() for m in (joint, alone[k]))
            for a, b in zip(*levels, strict=True):
                torch.testing.assert_close(a, b)


def test_the_loss_of_two_units_by_hand():
    class Levels(nn.Module):
        def __init__(self, *levels):
            super().__init__()
            self.levels, self.latent_dims = nn.ModuleList(levels), [1, 4]

    class Scale(nn.Module):
        def __init__(self, weight):
            super().__init__()
            self.weight = nn.Parameter(torch.tensor(weight))

        def forward(self, z, low):
            return self.weight * z.view_as(low)

    class Mean(nn.Module):
        def __init__(self, weight):
            super().__init__()
            self.weight = nn.Parameter(torch.tensor(weight))

        def forward(self, x):
            return self.weight * x.amax((1, 2, 3))[:, None]

    still = partial(torch.optim.SGD, lr=0.0)
    model = LAPGAN(
        G=Levels(Scale(0.5), Scale(0.25)),
        D=Levels(Mean(2.0), Mean(-3.0)),
        optimizers={"G": still, "D": still},
    )
    draws = iter([torch.tensor([[1.0, 0.0, 2.0, -2.0, 0.4]]), torch.tensor([[-1.0] * 5])])
    model.z = lambda n: next(draws)
    fit(model, torch.tensor([[[[0.1, 0.3], [0.5, -0.1]]]]))

    def softplus(t):
        return math.log1p(math.exp(t))

    # The mean .2 is the coarsest image; G makes .5 of z = 1 there, and adds .25 z at the finest.
    D = softplus(-2 * 0.2) + softplus(2 * 0.5 * 1.0)
    D += softplus(3 * 0.5) + softplus(-3 * (0.2 + 0.25 * 2.0))
    assert model.recorded["loss_D"].item() == pytest.approx(D, rel=1e-6)
    G = softplus(-2 * -0.5) + softplus(3 * (0.2 - 0.25))
    assert model.recorded["loss_G"].item() == pytest.approx(G, rel=1e-6)


@pytest.mark.parametrize(
    ("seen", "batch", "level"),
    [(6, 6, 0), (12, 6, 0), (18, 6, 0), (24, 6, 1), (38, 8, 1), (43, 6, 2), (999, 6, 2)],
)
def test_the_active_level_is_a_function_of_the_images_seen(seen, batch, level):
    model = make(level_images=18)
    model.images_seen, model.images_per_iteration = seen, batch
    assert list(model.active) == [level]
    model.level_images = None
    assert list(model.active) == [0, 1, 2]


def test_without_residuals_a_sample_is_the_coarsest_image_made_large():
    model = make().float()
    draw = partial(model.sample, 5)
    full = draw(generator=torch.Generator().manual_seed(0))
    for level in model.G_ema.network.levels[1:]:
        for p in level.layers[-1].parameters():
            p.zero_()
    z = model.latents(5, torch.Generator().manual_seed(0))
    coarsest = model.G_ema.network.levels[0](z[:, :4])
    expected = up(up(coarsest)).clamp(-1, 1)
    sample = draw(generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(sample, expected)
    assert not torch.allclose(full, expected, atol=1e-3)


def test_a_sample_climbs_by_the_recurrence():
    model = make()
    z = model.z(3)
    assert z.shape == (3, model.latent_dim) == (3, 4 + 100 + 400) and -1 <= z.min() < z.max() < 1
    x = model.G.levels[0](z[:, :4])
    for level, z_k in zip(model.G.levels[1:], z[:, 4:].split([100, 400], 1), strict=True):
        x = up(x) + level(z_k, up(x))
    torch.testing.assert_close(model.G(z), x.clamp(-1, 1))
    assert model.G(50 * z).abs().max() == 1


def test_the_watchdog_hears_the_finest_discriminator():
    model, x = make(), images()
    h, low = decompose(x, LEVELS)[-1]
    torch.testing.assert_close(model.discriminate(x), model.D.levels[-1](h + low).flatten())


class Restore(pl.Callback):
    def __init__(self, states):
        self.states = states

    def on_train_start(self, trainer, pl_module):
        for optimizer, state in zip(trainer.optimizers, self.states, strict=True):
            optimizer.load_state_dict(state)


@pytest.mark.parametrize("level_images", [None, 2 * N])
@pytest.mark.parametrize("cut", [1, 3])
def test_a_run_cut_in_the_schedule_goes_on_bitwise(level_images, cut):
    adam = partial(torch.optim.Adam, lr=0.01)
    whole = fit(make(adam, level_images=level_images), images(), 6)
    first = fit(make(adam, level_images=level_images), images(), cut)
    states = [copy.deepcopy(o.state_dict()) for o in first.trainer.optimizers]
    second = make(adam, level_images=level_images)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    second.iteration, second.images_seen = first.iteration, first.images_seen
    fit(second, images(), 6 - cut, callbacks=[Restore(states)])
    expected = whole.state_dict()
    assert all(torch.equal(v, expected[k]) for k, v in second.state_dict().items())
    start = make().state_dict()
    assert all(not torch.equal(v, start[k]) for k, v in expected.items() if k.startswith("G."))


@pytest.mark.parametrize(("resolution", "levels"), [(28, 3), (32, 3), (64, 4), (96, 5)])
def test_networks_of_any_size(resolution, levels):
    G = LAPGANGenerator(channels=3, resolution=resolution, units=4, width=2)
    D = LAPGANDiscriminator(channels=3, resolution=resolution, units=4, width=2)
    assert len(G.levels) == len(D.levels) == levels
    x = G(torch.zeros(2, sum(G.latent_dims)))
    assert x.shape == (2, 3, resolution, resolution)
    for D_k, band in zip(D.levels, decompose(x, levels), strict=True):
        assert D_k(band.h + band.low).shape == (2, 1)
