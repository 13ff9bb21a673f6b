"""What each paper says of its own objective, on networks small enough to do it by hand."""

import copy
import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot

from lightning_gen.functional.adversarial import relativistic_loss
from lightning_gen.functional.gradients import squared_gradient_norm
from lightning_gen.models.gan.dcgan import DCGAN
from lightning_gen.models.gan.gan import GAN
from lightning_gen.models.gan.infogan import InfoGAN
from lightning_gen.models.gan.lsgan import LSGAN
from lightning_gen.models.gan.pacgan import PacGAN
from lightning_gen.models.gan.r1gan import R1GAN
from lightning_gen.models.gan.r3gan import R3GAN
from lightning_gen.models.gan.unrolled import UnrolledGAN
from lightning_gen.models.gan.wgan import WGAN
from lightning_gen.networks.mlp import MLP
from lightning_gen.networks.packing import Packed
from lightning_gen.networks.r3gan import R3GANDiscriminator
from lightning_gen.networks.resnet import (
    ConditionalBatchNorm,
    ResNetDiscriminator,
    ResNetGenerator,
)
from tests.models.test_gan import build, fit, images

LR = 0.1


def make(cls, **options):
    """A model of points in the plane in double precision, moved by plain gradient descent."""
    torch.manual_seed(0)
    networks = {"G": MLP(inputs=3, outputs=2, units=8), "D": MLP(inputs=2, outputs=1, units=8)}
    sgd = partial(torch.optim.SGD, lr=LR)
    arguments = networks | {"optimizers": {"G": sgd, "D": sgd}, "latent_dim": 3} | options
    return cls(**arguments).double()


def points(n=6):
    torch.manual_seed(1)
    return torch.randn(n, 2, dtype=torch.float64)


def latents(model, n=6):
    """The first z of iteration one."""
    model.iteration = 1
    model.seed_iteration()
    return model.z(n)


def stepped(network, loss):
    """The network's parameters after one step on a loss."""
    slopes = torch.autograd.grad(loss, list(network.parameters()))
    return [p - LR * g for p, g in zip(network.parameters(), slopes, strict=True)]


def assert_parameters(network, expected):
    for a, b in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(a, b)


def test_least_squares_by_hand():
    x, hand = points(), make(LSGAN, a=-1.0, b=1.0, c=0.0)
    model = fit(copy.deepcopy(hand), x)
    fake = hand.G(latents(hand))
    loss = ((hand.D(x) - 1) ** 2).mean() / 2 + ((hand.D(fake.detach()) + 1) ** 2).mean() / 2
    assert_parameters(model.D, stepped(hand.D, loss))
    assert_parameters(model.G, stepped(hand.G, (model.D(fake) ** 2).mean() / 2))


def test_the_critic_of_wgan_is_clipped():
    model = fit(make(WGAN, c=0.02, n_critic=2), points(12), iterations=3)
    assert all(w.abs().max() <= 0.02 for w in model.D.parameters())
    assert max(w.abs().max() for w in model.D.parameters()) == 0.02
    assert any(w.abs().max() > 0.02 for w in model.G.parameters())


def test_r1_of_a_linear_discriminator_is_the_squared_norm_of_its_weight():
    D = nn.Linear(5, 1)
    R1 = squared_gradient_norm(D, torch.randn(7, 5))
    torch.testing.assert_close(R1, D.weight.square().sum())
    (slope,) = torch.autograd.grad(R1, D.weight)
    torch.testing.assert_close(slope, 2 * D.weight)


def test_r1_penalises_real_images_only_and_lazily():
    x = points()
    plain, none = fit(make(DCGAN), x), fit(make(R1GAN, gamma=0.0), x)
    assert_parameters(none.D, plain.D.parameters())
    hand = make(R1GAN, gamma=4.0)
    model = fit(copy.deepcopy(hand), x)
    fake = hand.G(latents(hand)).detach()
    real, generated = hand.D(x), hand.D(fake)
    cross_entropy = binary_cross_entropy_with_logits
    loss = cross_entropy(real, torch.ones_like(real))
    loss = loss + cross_entropy(generated, torch.zeros_like(generated))
    inputs = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(hand.D(inputs).sum(), inputs, create_graph=True)
    loss = loss + 4 / 2 * gradient.square().sum(1).mean()
    assert_parameters(model.D, stepped(hand.D, loss))
    lazy = fit(make(R1GAN, gamma=4.0, lazy=3), x, iterations=2)  # not yet its turn
    assert_parameters(lazy.D, fit(make(DCGAN), x, iterations=2).D.parameters())


def test_relativistic_pairs():
    x, x_tilde = torch.tensor([2.0, 0.0]), torch.tensor([1.0, 3.0])
    by_hand = (math.log1p(math.exp(-1)) + math.log1p(math.exp(3))) / 2
    assert relativistic_loss(x, x_tilde).item() == pytest.approx(by_hand)
    hand = make(R3GAN, gamma=0.5)
    model = fit(copy.deepcopy(hand), points())
    fake = hand.G(latents(hand))
    penalty = squared_gradient_norm(hand.D, points()) + squared_gradient_norm(hand.D, fake)
    loss = relativistic_loss(hand.D(points()), hand.D(fake.detach())) + 0.25 * penalty
    assert_parameters(model.D, stepped(hand.D, loss))


def test_a_pack_of_one_is_the_plain_game():
    D = partial(MLP, outputs=1, units=8)
    torch.manual_seed(0)
    G, packed = MLP(inputs=3, outputs=2, units=8), Packed(D, channels=2, pack=1, points=True)
    model = fit(make(PacGAN, G=G, D=packed), points())
    plain = fit(make(DCGAN), points())
    assert_parameters(model.D, plain.D.parameters())
    assert_parameters(model.G, plain.G.parameters())


def test_packs_are_told_apart_and_channels_are_side_by_side():
    seen = []

    class Spy(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.channels = channels

        def forward(self, x):
            seen.append(x)
            return x.flatten(1).sum(1, keepdim=True)

    D = Packed(Spy, channels=3, pack=2)
    x = torch.randn(6, 3, 4, 4)
    logits = D(x)
    assert D.D.channels == 6 and logits.shape == (3, 1)
    assert torch.equal(seen[0][1, :3], x[2]) and torch.equal(seen[0][1, 3:], x[3])
    model = make(PacGAN, G=nn.Identity(), D=D.double())
    odd = model.discriminate(x[:5].double())
    assert odd.shape == (5,) and odd[0] == odd[1] != odd[2]


def test_no_unrolled_step_is_the_plain_game_and_one_is_by_hand():
    x = points()
    plain, none = fit(make(GAN), x), fit(make(UnrolledGAN, unroll=0), x)
    assert_parameters(none.D, plain.D.parameters())
    hand = make(UnrolledGAN, unroll=1, eta=0.3)
    model = fit(copy.deepcopy(hand), x)
    z = latents(hand)
    D = copy.deepcopy(model.D)  # D's own step comes first
    fake = hand.G(z)
    cross_entropy = binary_cross_entropy_with_logits
    real, generated = D(x), D(fake)
    loss = cross_entropy(real, torch.ones_like(real))
    loss = loss + cross_entropy(generated, torch.zeros_like(generated))
    slopes = torch.autograd.grad(loss, list(D.parameters()), create_graph=True)
    names = [name for name, _ in D.named_parameters()]
    ahead = {
        n: p - 0.3 * g for n, p, g in zip(names, D.parameters(), slopes, strict=True)
    }  # one step of descent on D's loss
    logits = torch.func.functional_call(D, ahead, (fake,))
    expected = stepped(hand.G, cross_entropy(logits, torch.ones_like(logits)))
    assert_parameters(model.G, expected)


def test_information_is_that_of_a_perfect_and_of_a_blind_q():
    model = build("infogan")
    z = model.latents(40)
    c, u = z[:, 62:72], z[:, 72:]
    zero = torch.zeros_like(u)
    blind = model.information(z, torch.zeros_like(c), zero)
    normal = -u.square() / 2 - math.log(2 * math.pi) / 2 + math.log(2)
    torch.testing.assert_close(blind, normal.sum(1).mean())  # the categories tell nothing
    sure = model.information(z, 100 * c, zero)
    torch.testing.assert_close(sure - blind, torch.tensor(math.log(10)))
    precise = model.information(z, 100 * c, u) - sure
    torch.testing.assert_close(precise, u.square().sum(1).mean() / 2)


def test_codes_of_infogan():
    model = build("infogan")
    z = model.z(500)
    assert z.shape == (500, 74)
    assert torch.equal(z[:, 62:72].sum(1), torch.ones(500))
    assert z[:, 72:].abs().max() <= 1 and z[:, :62].abs().max() <= 1
    fixed = model.latents(20, torch.Generator().manual_seed(0))
    assert torch.equal(fixed[:, 62:72], one_hot(torch.arange(20) % 10, 10).float())
    assert model.classify(images(model)).shape == (8,)
    assert isinstance(model, InfoGAN)


def test_spectral_norms_are_one():
    torch.manual_seed(0)
    D = ResNetDiscriminator(channels=1, resolution=28, width=8, num_classes=10)
    x, y = torch.randn(4, 1, 28, 28), torch.arange(4)
    for _ in range(60):  # the power iteration takes a step at each forward pass
        D(x, y)
    for module in D.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear, nn.Embedding)):
            sigma = torch.linalg.matrix_norm(module.weight.flatten(1), 2)
            assert sigma.item() == pytest.approx(1, abs=0.02)


def test_projection_is_the_inner_product_with_the_features():
    torch.manual_seed(0)
    D = ResNetDiscriminator(channels=1, resolution=28, width=8, num_classes=10).eval()
    x, y = torch.randn(4, 1, 28, 28), torch.tensor([0, 3, 3, 9])
    phi = D.features(x)
    expected = D.psi(phi) + (D.V(y) * phi).sum(1, keepdim=True)
    torch.testing.assert_close(D(x, y), expected)
    assert not torch.equal(D(x, y), D(x, (y + 1) % 10))


def test_classes_have_their_own_scale_and_shift():
    norm = ConditionalBatchNorm(3, num_classes=2)
    norm.scale.weight.data[1] *= 2
    norm.shift.weight.data[1] += 1
    h = torch.randn(8, 3, 5, 5)
    plain, other = (norm(h, torch.full((8,), k)) for k in (0, 1))
    torch.testing.assert_close(other, 2 * plain + 1, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(plain.mean((0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-5)


@pytest.mark.parametrize("resolution", [28, 32, 64])
def test_residual_networks_of_any_size(resolution):
    G = ResNetGenerator(latent_dim=5, channels=3, resolution=resolution, width=8)
    x = G(torch.randn(2, 5))
    assert x.shape == (2, 3, resolution, resolution)
    for D in (ResNetDiscriminator, R3GANDiscriminator):
        assert D(channels=3, resolution=resolution, width=16)(x).shape == (2, 1)


def test_an_encoder_undoes_the_generator():
    model = fit(build("bigan"), images(build("bigan")), iterations=2)
    x = model.sample(4)
    assert model.encode(x).shape == (4, 50) and model.encode(x).abs().max() <= 1
    assert model.features(x).shape[0] == 4
    assert model.reconstruct(x).shape == x.shape
    assert model.E.training and not model.encode(x).requires_grad
