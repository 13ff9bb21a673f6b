"""Super-resolution: sizes, losses by hand, and VGG19's features, with and without its weights."""

import copy
import hashlib
from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn.functional import conv2d, leaky_relu
from torchvision.models import vgg19
from torchvision.transforms.functional import normalize

from lightning_gen.config.compose import check_overrides, instantiate
from lightning_gen.core import PairBatch
from lightning_gen.errors import ConfigError
from lightning_gen.models.translation.esrgan import ESRGAN, relativistic_average_loss
from lightning_gen.models.translation.srgan import SRGAN
from lightning_gen.models.translation.srresnet import SRResNet
from lightning_gen.networks.esrgan import RRDB, DenseBlock, RRDBGenerator
from lightning_gen.networks.srresnet import SRGANDiscriminator, SRResNetGenerator
from lightning_gen.networks.vgg import URL, VGG19Features

LR = 0.1
SMALL = {"width": 4, "blocks": 1}
GENERATORS = [partial(SRResNetGenerator, **SMALL), partial(RRDBGenerator, growth=2, **SMALL)]


class Batches:
    def __init__(self, batch, iterations):
        self.batch, self.iterations = batch, iterations

    def __len__(self):
        return self.iterations

    def __iter__(self):
        return iter([self.batch] * self.iterations)


def fit(model, iterations=1):
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, Batches(PairBatch(*pairs()), iterations))
    return model


def pairs(n=4):
    torch.manual_seed(1)
    x = (torch.rand(n, 1, 8, 8) * 2 - 1).double()
    return nn.functional.avg_pool2d(x, 2), x


def make(cls, **options):
    """A model small enough for arithmetic, moved by plain gradient descent."""
    torch.manual_seed(0)
    networks = {"G": nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.PixelShuffle(2))}
    if "D" in cls.players:
        networks["D"] = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    sgd = partial(torch.optim.SGD, lr=LR)
    return cls(**networks, optimizers=dict.fromkeys(cls.players, sgd), **options).double()


def stepped(network, loss):
    slopes = torch.autograd.grad(loss, list(network.parameters()))
    return [p - LR * g for p, g in zip(network.parameters(), slopes, strict=True)]


def assert_parameters(network, expected):
    for a, b in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("make_generator", GENERATORS, ids=["srresnet", "rrdb"])
@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize(("height", "width"), [(7, 7), (8, 13), (1, 5)])
def test_any_picture_becomes_as_large_as_the_factor_says(make_generator, factor, height, width):
    sides = {"resolution_a": 8, "resolution": 8 * factor}
    model = make(SRResNet).float()
    model.G = make_generator(channels_a=1, channels=3, **sides)
    x = model.translate(torch.randn(2, 1, height, width), "b")
    assert x.shape == (2, 3, factor * height, factor * width) and x.abs().max() <= 1
    assert model.G.training


@pytest.mark.parametrize("make_generator", GENERATORS, ids=["srresnet", "rrdb"])
def test_a_shift_of_the_small_image_is_one_of_factor_pixels(make_generator):
    torch.manual_seed(0)
    G = make_generator(channels_a=1, channels=1, resolution_a=8, resolution=32).double().eval()
    x = torch.randn(1, 1, 40, 40).double()
    inner = slice(4 * 18, -4 * 18)  # where the border is out of sight
    plain, shifted = G(x), G(x.roll((1, 2), (2, 3)))
    expected = plain.roll((4, 8), (2, 3))
    torch.testing.assert_close(shifted[..., inner, inner], expected[..., inner, inner])
    assert plain[..., inner, inner].std() > 1e-3


@pytest.mark.parametrize(("resolution", "resolution_a"), [(28, 28), (24, 8), (30, 8), (8, 32)])
@pytest.mark.parametrize("make_generator", GENERATORS, ids=["srresnet", "rrdb"])
def test_factors_that_are_no_power_of_two(make_generator, resolution, resolution_a):
    with pytest.raises(ValueError, match=f"resolution={resolution} must be 2, 4 or 8 times"):
        make_generator(channels_a=1, channels=1, resolution=resolution, resolution_a=resolution_a)


@pytest.mark.parametrize("resolution", [16, 28, 30, 32, 64])
def test_the_discriminator_is_figure_four_at_any_size(resolution):
    D = SRGANDiscriminator(channels=3, resolution=resolution, width=4, units=8)
    assert D(torch.randn(2, 3, resolution, resolution)).shape == (2, 1)
    convs = [m for m in D.modules() if isinstance(m, nn.Conv2d)]
    assert [m.out_channels // 4 for m in convs] == [1, 1, 2, 2, 4, 4, 8, 8]
    assert [m.stride[0] for m in convs] == [1, 2] * 4
    assert sum(isinstance(m, nn.BatchNorm2d) for m in D.modules()) == 7


def test_sizes_of_the_papers():
    sides = {"channels_a": 3, "channels": 3, "resolution_a": 24, "resolution": 96}

    def count(network):
        return sum(p.numel() for p in network.parameters())

    with torch.device("meta"):
        srresnet, rrdb = SRResNetGenerator(**sides), RRDBGenerator(**sides)
    # 1.55 million of the published SRResNets, 16.7 of RRDBNet (16,697,987 in the authors' code).
    assert 1.54e6 < count(srresnet) < 1.56e6
    assert count(rrdb) == 16_697_987
    assert not any("Norm" in type(m).__name__ for m in rrdb.modules())


def test_dense_blocks_by_hand():
    torch.manual_seed(0)
    block, x = DenseBlock(3, growth=2, beta=0.2), torch.randn(2, 3, 5, 5)
    seen = [x]
    for i, conv in enumerate(block.convs):
        h = conv2d(torch.cat(seen, 1), conv.weight, conv.bias, padding=1)
        seen.append(leaky_relu(h, 0.2) if i < 4 else h)
    torch.testing.assert_close(block(x), x + 0.2 * seen[-1])
    three = RRDB(3, growth=2, beta=0.2)
    torch.testing.assert_close(
        three(x), x + 0.2 * three.blocks[2](three.blocks[1](three.blocks[0](x)))
    )
    assert torch.equal(RRDB(3, growth=2, beta=0.0)(x), x)


def test_squared_error_by_hand():
    hand, (a, b) = make(SRResNet), pairs()
    model = fit(copy.deepcopy(hand))
    loss = (hand.G(a) - b).square().sum() / b.numel()
    torch.testing.assert_close(model.recorded["loss_G"], loss.detach())
    assert_parameters(model.G, stepped(hand.G, loss))


def test_srgan_by_hand():
    hand, (a, b) = make(SRGAN, content="mse"), pairs()
    model = fit(copy.deepcopy(hand))
    x_hat = hand.G(a)
    l_Gen = -torch.sigmoid(hand.D(x_hat)).log().mean()
    loss = (x_hat - b).square().mean() + 1e-3 * l_Gen
    assert_parameters(model.G, stepped(hand.G, loss))
    real, fake = (torch.sigmoid(hand.D(x)) for x in (b, x_hat.detach()))
    assert_parameters(model.D, stepped(hand.D, -real.log().mean() - (1 - fake).log().mean()))


def relativistic(C_r, C_f):
    """D_Ra of real and of fake images."""
    return torch.sigmoid(C_r - C_f.mean()), torch.sigmoid(C_f - C_r.mean())


def test_relativistic_averages_by_the_formula():
    C_r, C_f = torch.randn(2, 6, 1, dtype=torch.float64)
    D_r, D_f = relativistic(C_r, C_f)
    by_hand = -D_r.log().mean() - (1 - D_f).log().mean()
    torch.testing.assert_close(relativistic_average_loss(C_r, C_f), by_hand)


def test_esrgan_by_hand():
    hand, (a, b) = make(ESRGAN, content="mse", adversarial_weight=0.3, pixel_weight=0.7), pairs()
    model = fit(copy.deepcopy(hand))
    x_f = hand.G(a)
    D_r, D_f = relativistic(hand.D(b), hand.D(x_f))
    L_Ra = -(1 - D_r).log().mean() - D_f.log().mean()
    loss = (x_f - b).square().mean() + 0.3 * L_Ra + 0.7 * (x_f - b).abs().mean()
    assert_parameters(model.G, stepped(hand.G, loss))
    D_r, D_f = relativistic(hand.D(b), hand.D(x_f.detach()))
    assert_parameters(model.D, stepped(hand.D, -D_r.log().mean() - (1 - D_f).log().mean()))


@pytest.mark.parametrize(("cls", "norm"), [(SRGAN, 2), (ESRGAN, 1)])
def test_d_waits_while_g_learns_pixels(cls, norm):
    hand, (a, b) = make(cls, content="mse", pretrain_images=4), pairs()
    model = fit(copy.deepcopy(hand))
    assert_parameters(model.D, hand.D.parameters())
    loss = (hand.G(a) - b).abs().pow(norm).mean()
    assert_parameters(model.G, stepped(hand.G, loss))
    later = fit(copy.deepcopy(hand), iterations=2)
    assert not torch.equal(later.D[1].weight, hand.D[1].weight)


@pytest.mark.parametrize("cls", [SRGAN, ESRGAN])
def test_each_plays_with_the_other_frozen_and_g_is_applied_once(cls):
    model, turns, calls = make(cls, content="mse"), [], []
    descend = model.descending

    def watched(player):
        turns.append(player)
        return descend(player)

    model.descending = watched
    model.G.register_forward_hook(lambda *_: calls.append(model.playing))
    model.D.register_forward_hook(
        lambda D, *_: calls.append((model.playing, D[1].weight.requires_grad))
    )
    fit(model, iterations=2)
    assert turns == ["G", "D"] * 2
    assert calls.count("G") == 2 and "D" not in calls
    assert {c for c in calls if c != "G"} == {("G", False), ("D", True)}


# VGG19


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random weights in torchvision's format, under a name with their hash; and their network."""
    with torch.device("meta"):
        features = vgg19().features
    features = features.to_empty(device="cpu")
    torch.manual_seed(0)
    for parameter in features.parameters():
        fan_in = parameter[0].numel()
        nn.init.normal_(parameter, std=(2 / fan_in) ** 0.5 if parameter.ndim > 1 else 0.1)
    path = tmp_path_factory.mktemp("vgg") / "vgg19.pth"
    state = {f"features.{k}": v for k, v in features.state_dict().items()}
    torch.save(state | {"classifier.6.bias": torch.zeros(1000)}, path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return path.rename(path.with_name(f"vgg19-{sha256[:8]}.pth")), features.eval()


def images(channels=3):
    return torch.rand(2, channels, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize(
    ("layer", "activation", "depth"),
    [("conv5_4", True, 36), ("conv5_4", False, 35), ("conv2_2", True, 9)],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_features_are_those_of_torchvision(weights, layer, activation, depth, channels):
    path, network = weights
    phi = VGG19Features(layer, activation=activation, weights_path=str(path), scale=12.75)
    x = images(channels)
    rgb = ((x + 1) / 2).expand(-1, 3, -1, -1)
    expected = network[:depth](normalize(rgb, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    torch.testing.assert_close(phi(x), expected / 12.75, rtol=1e-4, atol=1e-5)
    assert bool((phi(x) >= 0).all()) == activation


@pytest.mark.parametrize("cls", [SRGAN, ESRGAN])
def test_content_is_a_distance_of_features_and_vgg_is_no_part_of_the_model(weights, cls):
    path, network = weights
    model = make(cls, weights_path=str(path)).float()
    content = {SRGAN: "content", ESRGAN: "percep"}[cls]
    x_hat, x = images().requires_grad_(), images().flip(0)
    loss = getattr(model, content)(x_hat, x)
    loss.backward()
    assert x_hat.grad.abs().sum() > 0
    scaled = [(y + 1) / 2 for y in (x_hat.detach(), x)]
    f, g = (
        network[: 36 if cls is SRGAN else 35](
            normalize(y, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        )
        for y in scaled
    )
    by_hand = ((f - g) / 12.75).square().mean() if cls is SRGAN else (f - g).abs().mean()
    torch.testing.assert_close(loss.detach(), by_hand.detach(), rtol=1e-4, atol=1e-6)
    assert {name.partition(".")[0] for name in model.state_dict()} == {"G", "D"}
    assert sum(p.numel() for p in model.parameters()) < 1000
    assert not any(p.requires_grad for p in model.phi.network.parameters())


@pytest.mark.parametrize("cls", [SRGAN, ESRGAN])
def test_without_weights_nothing_is_trained_and_all_is_said(cls, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    model = make(cls)
    with pytest.raises(ConfigError) as caught:
        fit(model)
    said = str(caught.value)
    name = URL.rpartition("/")[2]
    assert str(tmp_path / "checkpoints" / name) in said and URL in said
    assert "model.content=mse" in said and model.iteration == 0
    model.float().translate(torch.zeros(1, 1, 4, 4))  # what was trained elsewhere is still of use


def test_files_of_something_else(weights, tmp_path):
    wrong = tmp_path / "vgg19-dcbb9e9d.pth"
    wrong.write_bytes(b"not it")
    with pytest.raises(ConfigError, match="damaged: SHA-256"):
        VGG19Features(weights_path=str(wrong)).load()
    foreign = tmp_path / "other.pth"
    torch.save({"a": torch.zeros(1)}, foreign)
    with pytest.raises(ConfigError, match="cannot be read"):
        VGG19Features(weights_path=str(foreign)).load()
    with pytest.raises(ConfigError, match="no layer 'conv9_1'"):
        VGG19Features("conv9_1")


def test_weights_in_the_cache_of_torch_are_found(weights, tmp_path, monkeypatch):
    path, _ = weights
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr("lightning_gen.networks.vgg.URL", f"https://x/{path.name}")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / path.name).symlink_to(path)
    assert VGG19Features("conv1_2")(images()).shape == (2, 64, 32, 32)


@pytest.mark.parametrize("name", ["srresnet", "srgan", "esrgan"])
def test_configurations(name):
    words = [f"model={name}", "data=downsample", "model.G.width=4", "model.G.blocks=1"]
    config = check_overrides(words)
    model, data = instantiate(config["model"]), config["data"]
    side = data["resolution_a"]
    x = model.translate(torch.zeros(1, data["channels_a"], side, side))
    assert x.shape == (1, data["channels"], data["resolution"], data["resolution"])
