"""Algorithm 1 of text-to-image synthesis by hand, and what captions do."""

import copy
from functools import partial

import pytest
import torch

from lightning_gen.models.gan.gan_cls import matching_loss
from lightning_gen.networks.gan_cls import TextEncoder
from tests.models.test_gan import build, fit, images, labels

LR = 0.05


def make(**options):
    model = build("gan_cls", **options).double()
    sgd = partial(torch.optim.SGD, lr=LR)
    model.optimizer_factories = {"G": sgd, "D": sgd}
    return model


def log(x):
    return torch.sigmoid(x).log().mean()


def stepped(model, player, loss):
    parameters = model.player_parameters(player)
    slopes = torch.autograd.grad(loss, parameters)
    return [p - LR * g for p, g in zip(parameters, slopes, strict=True)]


def assert_close(model, player, expected):
    for a, b in zip(model.player_parameters(player), expected, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("interpolate", [False, True])
def test_a_step_by_hand(interpolate):
    hand = make(interpolate=interpolate)
    x = images(hand).double()
    t = labels(hand, len(x))
    model = fit(copy.deepcopy(hand), x)
    hand.iteration = 1
    hand.seed_iteration()
    z, t_hat = hand.z(len(x)), hand.others(t)
    assert (t_hat != t).any(1).all()
    h, h_hat = hand.G.phi(t), hand.G.phi(t_hat)
    s_r, s_w = hand.D(x, h), hand.D(x, h_hat)
    s_f = hand.D(hand.G(z, t).detach(), h)
    L_D = log(s_r) + (log(-s_w) + log(-s_f)) / 2  # 1 - sigmoid(s) = sigmoid(-s)
    torch.testing.assert_close(model.recorded["loss_D"], -L_D.detach())
    assert_close(model, "D", stepped(hand, "D", -L_D))
    # G's turn sees the D that has moved, and its encoder.
    hand.D.load_state_dict(model.D.state_dict())
    hand.G.phi.load_state_dict(model.G.phi.state_dict())
    L_G = log(hand.D(hand.G(z, t), hand.G.phi(t)))
    if interpolate:
        between = (hand.G.phi(t) + hand.G.phi(t_hat)) / 2
        mixed = hand.G.net(torch.cat([z, hand.G.compression(between)], 1))
        L_G = L_G + log(hand.D(mixed, between))
    torch.testing.assert_close(model.recorded["loss_G"], -L_G.detach())
    assert_close(model, "G", stepped(hand, "G", -L_G))


def test_the_encoder_is_a_part_of_d_and_of_nothing_else():
    model = make()
    d, g = (set(map(id, model.player_parameters(p))) for p in ("D", "G"))
    phi = set(map(id, model.G.phi.parameters()))
    assert phi <= d and not d & g
    assert d | g == {id(p) for m in (model.G, model.D) for p in m.parameters()}


def test_wrong_captions_are_wrong_and_any_of_the_others():
    model = make()
    t = torch.tensor([[1, 4, 9], [1, 4, 9], [1, 4, 9], [2, 4, 9], [1, 5, 9]])
    drawn = []
    for model.iteration in range(40):
        model.seed_iteration()
        drawn.append(model.others(t))
    drawn = torch.stack(drawn)
    assert (drawn != t).any(2).all()
    for i in range(len(t)):
        others = {tuple(row) for row in t.tolist()} - {tuple(t[i].tolist())}
        assert {tuple(row) for row in drawn[:, i].tolist()} == others


def test_a_caption_that_is_not_wrong_counts_for_nothing():
    s = torch.randn(3, 4, 1)
    none = matching_loss(*s, torch.zeros(4, dtype=torch.bool))
    torch.testing.assert_close(none, -log(s[0]) - log(-s[2]) / 2)
    model = make()
    t = torch.ones(5, 3, dtype=torch.long)
    assert torch.equal(model.others(t), t)


def test_an_encoding_does_not_depend_on_filling():
    torch.manual_seed(0)
    phi = TextEncoder(words=30, features=8)
    short = torch.tensor([[3, 7]])
    filled = torch.tensor([[3, 7, 0, 0, 0]])
    torch.testing.assert_close(phi(short), phi(filled))
    assert not torch.allclose(phi(short), phi(short.flip(1)))  # the order of words matters


def test_samples_are_of_their_captions():
    model = fit(build("gan_cls"), images(build("gan_cls")), iterations=2)

    def draw(t):
        return model.sample(4, labels=t, generator=torch.Generator().manual_seed(0))

    one, other = torch.tensor([[1, 4, 9]] * 4), torch.tensor([[2, 5, 20]] * 4)
    mixed = torch.cat([one[:2], other[2:]])
    torch.testing.assert_close(draw(mixed)[:2], draw(one)[:2])
    torch.testing.assert_close(draw(mixed)[2:], draw(other)[2:])
    assert not torch.equal(draw(one), draw(other))
    with pytest.raises(ValueError, match="word ids are needed"):
        model.sample(4)


def test_the_average_has_its_own_encoder():
    model = fit(build("gan_cls"), images(build("gan_cls")), iterations=3)
    average, present = (dict(net.named_parameters()) for net in (model.G_ema.network, model.G))
    name = "phi.linear.weight"
    assert not torch.equal(average[name], present[name])
