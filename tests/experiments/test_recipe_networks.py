"""The networks that recipes name have the papers' sizes, and their outputs the range they must."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from lightning_gen.functional.adversarial import non_saturating_loss
from lightning_gen.models.gan.unrolled import UnrolledGAN
from lightning_gen.networks.unrolled import (
    UnrolledDiscriminator,
    UnrolledGenerator,
    UnrolledMLP,
    halved,
)
from lightning_gen.networks.veegan import VEEGANMLP
from lightning_gen.networks.wgan_gp import ResidualBlock, WGANGPCritic

IMAGES = [(1, 28), (3, 28), (3, 32), (1, 64)]


def count(network):
    return sum(p.numel() for p in network.parameters())


def dense(*widths):
    """Weights and biases of fully connected layers."""
    return sum((a + 1) * b for a, b in pairwise(widths))


def test_the_networks_of_points_have_the_papers_units():
    assert count(VEEGANMLP(inputs=254, outputs=2)) == dense(254, 128, 128, 2)
    assert count(VEEGANMLP(inputs=2, depth=1)) == dense(2, 128, 1)
    assert count(UnrolledMLP(inputs=256, outputs=2)) == dense(256, 128, 128, 2)
    assert count(UnrolledMLP(inputs=2)) == dense(2, 128, 128, 1)


def test_glorots_weights_have_his_variance():
    torch.manual_seed(0)
    first = VEEGANMLP(inputs=254, outputs=2).layers[0]
    weight = first.weight.detach()
    assert weight.abs().max() <= (6 / (254 + 128)) ** 0.5
    assert weight.var().item() == pytest.approx(2 / (254 + 128), rel=0.02)
    assert not first.bias.any()


def test_orthogonal_weights_are_scaled_by_the_gain():
    linear = [m for m in UnrolledMLP(inputs=256).layers if isinstance(m, nn.Linear)]
    for layer in linear:
        gram = layer.weight @ layer.weight.T
        torch.testing.assert_close(gram, 1.4**2 * torch.eye(len(gram)), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("channels", "resolution"), IMAGES)
def test_the_tiny_networks_take_images_of_any_size(channels, resolution):
    kind = {"channels": channels, "resolution": resolution}
    x = UnrolledGenerator(latent_dim=5, **kind)(torch.randn(4, 5))
    assert x.shape == (4, channels, resolution, resolution) and 0 < x.abs().max() <= 1
    for D in (UnrolledDiscriminator(**kind), WGANGPCritic(width=4, **kind)):
        assert D(x).shape == (4, 1)
        assert D.features(x).ndim == 2


def test_sides_are_halved_as_strided_convolutions_with_padding_do():
    for resolution in (28, 32, 64, 100):
        x = torch.zeros(1, 1, resolution, resolution)
        sides = [resolution]
        for _ in range(3):
            x = nn.functional.conv2d(x, torch.zeros(1, 1, 3, 3), stride=2, padding=1)
            sides.insert(0, x.shape[-1])
        assert halved(resolution) == sides


@pytest.mark.parametrize(("width", "share"), [(2, "a quarter"), (4, "half")])
def test_the_tiny_discriminator_is_a_share_of_the_generator(width, share):
    D = UnrolledDiscriminator(channels=3, resolution=28, width=width)
    a, b, c = width, 2 * width, 4 * width
    convolutions = 9 * (3 * a + a * b + b * c)
    assert count(D) == convolutions + 2 * (a + b + c) + 4 * 4 * c + 1, share
    G = UnrolledGenerator(channels=3, resolution=28)
    convolutions = 9 * (64 * 32 + 32 * 16 + 16 * 8 + 8 * 3) + 3
    assert count(G) == 256 * 64 * 4 * 4 + convolutions + 2 * (64 + 32 + 16 + 8)
    of_G = [m.out_channels for m in G.layers if isinstance(m, nn.ConvTranspose2d)]
    of_D = [m.out_channels for m in D.body if isinstance(m, nn.Conv2d)]
    assert [d * {2: 4, 4: 2}[width] for d in of_D] == of_G[::-1]


def test_the_critic_of_wgan_gp_has_the_papers_parameters():
    def convolution(a, b, k):
        return (k * k * a + 1) * b

    inside = 2 * convolution(128, 128, 3)
    halving = convolution(3, 128, 3) + convolution(128, 128, 3) + convolution(3, 128, 1)
    halving += inside + convolution(128, 128, 1)
    assert count(WGANGPCritic(channels=3, resolution=32)) == halving + 2 * inside + 129


def test_the_critic_looks_at_each_image_by_itself():
    torch.manual_seed(0)
    D = WGANGPCritic(channels=1, resolution=28, width=4)
    x = torch.randn(5, 1, 28, 28)
    alone = torch.cat([D(x[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(D(x), alone)


def test_a_block_without_halving_adds_to_what_it_is_given():
    block = ResidualBlock(4, 4, half=False)
    x = torch.randn(2, 4, 8, 8)
    with torch.no_grad():
        block.conv2.weight.zero_()
    assert torch.equal(block(x), x)
    assert ResidualBlock(4, 6, half=True)(x).shape == (2, 6, 4, 4)


def tiny_unrolled(unroll, eta=0.1):
    torch.manual_seed(0)
    sgd = torch.optim.SGD
    return UnrolledGAN(
        G=UnrolledGenerator(latent_dim=4, channels=3, resolution=28, width=2),
        D=UnrolledDiscriminator(channels=3, resolution=28),
        optimizers={"G": sgd, "D": sgd},
        latent_dim=4,
        unroll=unroll,
        eta=eta,
    )


def test_gradients_run_through_the_steps_of_a_batch_normalised_discriminator():
    slopes = []
    for unroll in (0, 3):
        model = tiny_unrolled(unroll).double()
        torch.manual_seed(1)
        x, z = torch.rand(6, 3, 28, 28).double(), torch.randn(6, 4).double()
        x_tilde = model.G(z)
        theta = model.unrolled(x, x_tilde)
        loss = non_saturating_loss(torch.func.functional_call(model.D, theta, (x_tilde,)))
        slopes.append(torch.autograd.grad(loss, list(model.G.parameters())))
        moved = [not torch.equal(p, theta[k]) for k, p in model.D.named_parameters()]
        assert any(moved) == (unroll > 0)
    assert all(slope.isfinite().all() for slope in slopes[1])
    assert any(not torch.allclose(a, b) for a, b in zip(*slopes, strict=True))


def test_the_slope_through_the_steps_is_that_of_finite_differences():
    model = tiny_unrolled(unroll=2).double()
    torch.manual_seed(1)
    x, z = torch.rand(6, 3, 28, 28).double(), torch.randn(6, 4).double()
    weight = model.G.layers[-1].weight

    def loss():
        x_tilde = model.G(z)
        theta = model.unrolled(x, x_tilde)
        return non_saturating_loss(torch.func.functional_call(model.D, theta, (x_tilde,)))

    (slope,) = torch.autograd.grad(loss(), [weight])
    direction = torch.randn_like(weight)
    with torch.no_grad():
        h = 1e-7
        values = []
        for sign in (1, -2):
            weight += sign * h * direction
            with torch.enable_grad():
                values.append(loss().item())
    difference = (values[0] - values[1]) / (2 * h)
    assert difference == pytest.approx(float((slope * direction).sum()), rel=1e-4)
