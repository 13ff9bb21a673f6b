"""Properties of every model that translates, on the networks its own configuration gives it."""

import copy
import math
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn.functional import cross_entropy, l1_loss, normalize

from lightning_gen.config.compose import check_overrides, instantiate
from lightning_gen.config.signature import read
from lightning_gen.core import ImageBatch, PairBatch
from lightning_gen.functional.contrastive import patch_nce
from lightning_gen.models.translation.cyclegan import CycleGAN
from lightning_gen.models.translation.image_pool import ImagePool
from lightning_gen.models.translation.pix2pix import Pix2Pix
from lightning_gen.models.translation.unit import kl
from lightning_gen.networks.patchgan import PatchGAN
from lightning_gen.networks.resnet_translator import ResNetTranslator
from lightning_gen.networks.unet import UNet

ROOT = Path(__file__).parents[2]
FAMILY = ROOT / "lightning_gen/models/translation"
NAMES = sorted({p.stem for p in FAMILY.glob("*.py")} - {"__init__", "translating", "image_pool"})
# What a model learns from here: by what it takes, and by name where that is not enough.
DATA = {"pairs": "digits", "paired": "grey", "images": "coloured_mnist"}
DATA |= dict.fromkeys(["srresnet", "srgan", "esrgan"], "downsample data.resolution_a=7")
# A difference of the critic's values leaves its offset free.
FREE = {"esrgan": {"D.head.2.bias"}}
N = 4
# Small networks, with initial weights large enough for one step to show in every parameter.
SIZES = {
    "width": 4,
    "units": 8,
    "blocks": 1,
    "layers": 1,
    "nce_layers": [0, 1, 2, 3],
    "size": 6,
    "source_images": 2 * N,
    "content": "mse",
}


def small(node):
    """The same networks, smaller."""
    if not isinstance(node, dict):
        return node
    return {k: SIZES.get(k, small(v)) for k, v in node.items()}


def target(name):
    lines = (ROOT / f"conf/model/{name}.yaml").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith("_target_"))


def build(name):
    """A small model of a paper, and the facts of data it learns from."""
    takes = read(target(name)).facts["takes"]
    config = check_overrides(f"model={name} data={DATA.get(name, DATA[takes])}".split())
    facts = {"channels_a": config["data"]["channels"], "resolution_a": config["data"]["resolution"]}
    torch.manual_seed(0)
    return instantiate(small(config["model"])), facts | config["data"]


def pictures(channels, side, n=N, seed=1, width=None):
    g = torch.Generator().manual_seed(seed)
    return torch.rand(n, channels, side, width or side, generator=g) * 2 - 1


def batch_for(model, data, seed=1):
    n = N * model.minibatches
    a = pictures(data["channels_a"], data["resolution_a"], n, seed)
    b = pictures(data["channels"], data["resolution"], n, seed + 1)
    label = torch.arange(n) % data["num_classes"]
    return ImageBatch(b, label) if model.takes in {"images"} else PairBatch(a, b, label, label)


class Batches:
    """A loader of given batches, over and over."""

    def __init__(self, batches, iterations):
        self.batches, self.iterations = batches, iterations

    def __len__(self):
        return self.iterations

    def __iter__(self):
        return (self.batches[i % len(self.batches)] for i in range(self.iterations))


def fit(model, *batches, iterations=1, **options):
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    trainer.fit(model, Batches(batches, iterations))
    return model


def watch(model):
    """Note what each step of each player moves, and check that its gradients are finite."""
    moved, configure = [], model.configure_optimizers

    def snapshot():
        return {k: p.detach().clone() for k, p in model.named_parameters()}

    def watched():
        optimizers, schedules = configure()
        for player, optimizer in zip(model.players, optimizers, strict=True):
            before = {}

            def pre(optimizer, *_, before=before):
                gradients = [p.grad for g in optimizer.param_groups for p in g["params"]]
                assert all(g.isfinite().all() for g in gradients if g is not None)
                before |= snapshot()

            def post(*_, before=before, player=player):
                moved.append(
                    (player, {k for k, p in snapshot().items() if not torch.equal(p, before[k])})
                )

            optimizer.register_step_pre_hook(pre)
            optimizer.register_step_post_hook(post)
        return optimizers, schedules

    model.configure_optimizers = watched
    return moved


@pytest.mark.parametrize("name", NAMES)
def test_every_player_moves_all_of_its_own_and_nothing_else(name):
    model, data = build(name)
    moved = watch(model)
    fit(model, batch_for(model, data), iterations=4)
    assert {player for player, _ in moved} == set(model.players)
    assert model.recorded[f"loss_{moved[-1][0]}"].isfinite()
    for player in model.players:
        ids = {id(p) for p in model.player_parameters(player)}
        own = {k for k, p in model.named_parameters() if id(p) in ids}
        steps = [names for who, names in moved if who == player]
        assert all(names and names <= own for names in steps)
        assert own - set().union(*steps) <= FREE.get(name, set())
    assert all(p.requires_grad for q in model.players for p in model.player_parameters(q))
    assert model.images_seen == 4 * N * model.minibatches


def crossing(model, data, to):
    """Channels and sides of what is translated to a domain, and of what comes out."""
    a = data["channels_a"], data["resolution_a"]
    b = data["channels"], data["resolution"]
    if model.takes in {"images"}:
        return b, b
    return (b, a) if to in {"a"} else (a, b)


@pytest.mark.parametrize("name", NAMES)
def test_translations(name):
    model, data = build(name)
    fit(model, batch_for(model, data), iterations=4)
    modes = [m.training for m in model.modules()]
    before = copy.deepcopy(model.state_dict())
    for to in model.targets:
        (c, side), (c_out, side_out) = crossing(model, data, to)
        x = pictures(c, side, seed=7)
        y = model.translate(x, to)
        assert y.shape == (N, c_out, side_out, side_out) and y.dtype == torch.float32
        assert y.isfinite().all() and y.abs().max() <= 1 and y.std() > 0
        assert not y.requires_grad
        assert torch.equal(y, model.translate(x, to))
        torch.testing.assert_close(y[:1], model.translate(x[:1], to), rtol=1e-4, atol=1e-5)
        step = 4 * math.lcm(model.multiple, 1)
        wide = model.translate(pictures(c, side + step, 1, width=side + 2 * step), to)
        scale = side_out // side
        assert wide.shape == (1, c_out, (side + step) * scale, (side + 2 * step) * scale)
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    with pytest.raises(ValueError, match="nowhere"):
        model.translate(x, "nowhere")


class Restore(pl.Callback):
    def __init__(self, states):
        self.states = states

    def on_train_start(self, trainer, pl_module):
        for optimizer, state in zip(trainer.optimizers, self.states, strict=True):
            optimizer.load_state_dict(state)


@pytest.mark.parametrize("name", NAMES)
def test_a_run_cut_in_two_goes_on_bitwise(name):
    """Its state is all there is: a step is a function of it, of the seed and of the iteration."""
    model, data = build(name)
    batch = batch_for(model, data)
    whole = fit(model, batch, iterations=5)
    torch.manual_seed(5)  # The state of the global generator must not matter.
    first = fit(build(name)[0], batch, iterations=3)
    states = [copy.deepcopy(o.state_dict()) for o in first.trainer.optimizers]
    second = build(name)[0]
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    second.iteration, second.images_seen = first.iteration, first.images_seen
    fit(second, batch, iterations=2, callbacks=[Restore(states)])
    expected = whole.state_dict()
    assert all(torch.equal(v, expected[k]) for k, v in second.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
def test_bf16(name):
    model, data = build(name)
    fit(model, batch_for(model, data), iterations=3, precision="bf16-mixed")
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in model.parameters())


def sgd(**players):
    return {player: partial(torch.optim.SGD, lr=lr) for player, lr in players.items()}


def judge(channels=1, **options):
    return PatchGAN(channels=channels, width=4, layers=1, init_std=0.2, **options)


def watch_gradients(model, network):
    """What player was at it each time a gradient reached a parameter of a network."""
    seen = []
    for p in network.parameters():
        p.register_hook(lambda g: seen.append(model.playing))
    return seen


def test_pix2pix_by_hand():
    torch.manual_seed(0)
    G = UNet(in_channels=1, channels=1, resolution=8, width=4, dropout=0.0, init_std=0.2)
    model = Pix2Pix(G=G, D=judge(condition_channels=1), optimizers=sgd(D=0.1, G=0.0)).double()
    x, y = pictures(1, 8).double(), pictures(1, 8, seed=2).double()
    hand = copy.deepcopy(model)
    reached = watch_gradients(model, model.D)
    fit(model, PairBatch(x, y))
    assert set(reached) == {"D"}

    def bce(logits, target):
        return nn.functional.binary_cross_entropy_with_logits(
            logits, torch.full_like(logits, target)
        )

    fake = hand.G(x)
    loss = (bce(hand.D(x, y), 1.0) + bce(hand.D(x, fake.detach()), 0.0)) / 2
    torch.testing.assert_close(model.recorded["loss_D"], loss.detach())
    gradients = torch.autograd.grad(loss, list(hand.D.parameters()))
    for p, before, g in zip(model.D.parameters(), hand.D.parameters(), gradients, strict=True):
        torch.testing.assert_close(p, before - 0.1 * g)
    loss_G = bce(model.D(x, fake), 1.0) + 100 * (y - fake).abs().mean()
    torch.testing.assert_close(model.recorded["loss_G"], loss_G.detach())


def test_dropout_at_test_is_as_asked():
    G = UNet(in_channels=1, channels=1, resolution=8, width=4, init_std=0.2)
    for test_dropout in (False, True):
        options = {"optimizers": sgd(D=0.1, G=0.1), "test_dropout": test_dropout}
        model = Pix2Pix(G=G, D=judge(condition_channels=1), **options)
        x = pictures(1, 8)
        assert torch.equal(model.translate(x), model.translate(x)) != test_dropout
        assert all(m.training for m in model.modules())


def linear(weight, bias=0.0):
    """A generator or discriminator of a weight and a bias: a 1 x 1 convolution of one channel."""
    layer = nn.Conv2d(1, 1, 1)
    nn.init.constant_(layer.weight, weight)
    nn.init.constant_(layer.bias, bias)
    return layer


def cyclegan(size=0, **options):
    networks = {"G_ab": linear(2.0), "G_ba": linear(1.0, 0.1), "D_a": linear(0.5)}
    pools = {f"pool_{d}": ImagePool(size, channels=1, resolution=1) for d in "ab"}
    options = {"optimizers": sgd(D=1.0, G=0.1), **options}
    return CycleGAN(**networks, D_b=linear(0.25), **pools, **options)


def test_cyclegan_by_hand():
    model = cyclegan()
    reached = watch_gradients(model, model.D_a) + watch_gradients(model, model.D_b)
    a, b = torch.full((2, 1, 1, 1), 0.2), torch.full((2, 1, 1, 1), -0.4)
    fit(model, PairBatch(a, b))
    assert set(reached) <= {"D"}
    # G_ab(x) = 2 x, G_ba(x) = x + 0.1, D_a(x) = x / 2, D_b(x) = x / 4
    fake_b, fake_a = 0.4, -0.3
    gan = (fake_a / 2 - 1) ** 2 + (fake_b / 4 - 1) ** 2
    cycle = abs(0.4 + 0.1 - 0.2) + abs(2 * -0.3 + 0.4)
    identity = abs(2 * -0.4 + 0.4) + abs(0.2 + 0.1 - 0.2)
    loss = gan + 10 * cycle + 5 * identity
    torch.testing.assert_close(model.recorded["loss_G"], torch.tensor(loss))
    loss_a = (0.2 / 2 - 1) ** 2 + (fake_a / 2) ** 2
    loss_b = (-0.4 / 4 - 1) ** 2 + (fake_b / 4) ** 2  # of what was made before G moved
    torch.testing.assert_close(model.recorded["loss_D"], torch.tensor((loss_a + loss_b) / 2))
    # d/dw of G_ab's loss: GAN 2 (w a / 4 - 1) a / 4, cycles a sign (+, -), identity b sign (-)
    slope = 2 * (0.1 - 1) * 0.05 + 10 * (0.2 + 0.3) + 5 * 0.4
    torch.testing.assert_close(model.G_ab.weight.flatten(), torch.tensor([2 - 0.1 * slope]))


@pytest.mark.parametrize("size", [0, 3])
def test_accumulating_micro_batches_is_the_whole_batch(size):
    batch = PairBatch(pictures(1, 1, 6).double(), pictures(1, 1, 6, seed=2).double())
    whole, parts = (
        fit(cyclegan(size, accumulate=k, optimizers=sgd(D=0.01, G=0.01)).double(), batch)
        for k in (1, 3)
    )
    expected = whole.state_dict()
    for k, v in parts.state_dict().items():
        torch.testing.assert_close(v, expected[k])


def test_a_pool_fills_first_and_then_swaps_every_other_image():
    pool, g = ImagePool(5, channels=1, resolution=1), torch.Generator().manual_seed(0)
    x = torch.arange(2005.0).view(-1, 1, 1, 1)
    shown = []
    for part in x.split(15):
        n = len(part)
        coin, slot = torch.rand(n, generator=g), torch.randint(5, (n,), generator=g)
        before, count = pool.images.flatten().tolist(), int(pool.count)
        out = pool.exchange(part, coin, slot).flatten().tolist()
        for new, c, s, y in zip(part.flatten().tolist(), coin, slot, out, strict=True):
            if count < 5:  # the paper's pool, in plain Python
                before[count], count, expected = new, count + 1, new
            elif c > 0.5:
                expected, before[s] = before[s], new
            else:
                expected = new
            assert y == expected
        assert pool.images.flatten().tolist() == before
        shown += out
    shown = torch.tensor(shown)
    assert torch.equal(shown[:5], x.flatten()[:5])
    swapped = (shown[5:] != x.flatten()[5:]).float().mean()
    assert abs(swapped - 0.5) < 0.04  # 3.5 standard deviations
    _, counts = shown.unique(return_counts=True)
    assert counts[5:].max() == 1  # an image is shown at once or later, the first five both


def test_a_pool_is_saved_with_the_model():
    batches = [PairBatch(pictures(1, 1, 2, 2 * i), pictures(1, 1, 2, 2 * i + 1)) for i in range(8)]
    whole = fit(cyclegan(3), *batches, iterations=8)
    first = fit(cyclegan(3), *batches, iterations=5)
    assert first.pool_a.count == 3
    second = cyclegan(3)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    second.iteration = 5
    fit(second, *batches[5:], iterations=3)
    for pool in ("pool_a", "pool_b"):
        images = getattr(second, pool).images
        assert torch.equal(images, getattr(whole, pool).images)
        assert not torch.equal(images, getattr(first, pool).images)
    assert not torch.equal(whole.pool_a.images, whole.pool_b.images)


def pooled():
    return cyclegan(5, optimizers=sgd(D=0.01, G=0.01)).double()


def pool_batches(rank=0, world=1):
    a, b = (pictures(1, 1, 24, seed).double().chunk(6) for seed in (1, 2))
    return [
        PairBatch(x.chunk(world)[rank], y.chunk(world)[rank]) for x, y in zip(a, b, strict=True)
    ]


def test_ranks_hold_one_pool_of_the_global_batch(tmp_path):
    worker = Path(__file__).with_name("pool_ranks.py")
    hidden = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT"}
    env = {k: v for k, v in os.environ.items() if k not in hidden} | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(worker), str(tmp_path)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    first, second = (torch.load(tmp_path / f"{r}.pt", weights_only=True) for r in range(2))
    assert all(torch.equal(v, second[k]) for k, v in first.items())
    one = fit(pooled(), *pool_batches(), iterations=6).state_dict()
    assert one["pool_a.count"] == 5 and one["pool_a.images"].unique().numel() == 5
    for k, v in one.items():
        torch.testing.assert_close(first[k], v, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("layers", "field"), [(1, 16), (2, 34), (3, 70), (4, 142)])
def test_receptive_fields_of_patches(layers, field):
    torch.manual_seed(0)
    D = PatchGAN(channels=1, width=2, layers=layers, norm="none", init_std=0.5).double()
    side = 256 if layers < 4 else 512
    x = torch.randn(1, 1, side, side, dtype=torch.float64, requires_grad=True)
    logits = D(x)
    middle = logits.shape[-1] // 2
    (gradient,) = torch.autograd.grad(logits[0, 0, middle, middle], x)
    rows = gradient[0, 0].abs().sum(1).nonzero().flatten()
    assert rows[-1] - rows[0] + 1 == field == len(rows)
    if layers == 3:
        assert logits.shape[-2:] == (30, 30)
        widths = [m.out_channels for m in PatchGAN(channels=3).layers if hasattr(m, "stride")]
        assert widths == [64, 128, 256, 512, 1]


def unet(resolution, **options):
    torch.manual_seed(0)
    options = {"dropout": 0.0, "init_std": 0.3, "width": 2} | options
    return UNet(in_channels=1, channels=1, resolution=resolution, **options).eval().double()


@pytest.mark.parametrize("resolution", [28, 32, 64, 128, 256])
def test_unet_of_any_size(resolution):
    G = unet(resolution)
    assert len(G.down) == len(G.up) == math.ceil(math.log2(resolution))
    x = pictures(1, resolution, 1).double().requires_grad_()
    y = G(x)
    assert y.shape == x.shape
    maps = []

    def keep(module, args, output):
        output.retain_grad()
        maps.append(output)

    for layer in G.down:
        layer.register_forward_hook(keep)
    G(x).sum().backward()
    assert maps[-1].shape[-2:] == (1, 1)
    assert all(h.grad.abs().sum() > 0 for h in maps)  # the gradient reaches each scale
    assert G(pictures(1, resolution + 3, 1, width=resolution + 10).double()).shape[-2:] == (
        resolution + 3,
        resolution + 10,
    )


@pytest.mark.parametrize("scale", range(4))
def test_skips_of_the_unet_join_maps_of_the_same_scale(scale):
    """With all other ways cut, a pixel goes through its scale alone, over that scale's field."""
    G = unet(64, norm="batch")
    depth = len(G.down)
    with torch.no_grad():
        for i, layer in enumerate(G.up[1:], start=1):
            weight, half = layer[1].weight, G.up[i - 1][1].out_channels
            here = depth - 1 - i == scale
            weight[:half] *= not here  # what comes from further in
            weight[half:] *= here  # what comes across
    x = torch.zeros(1, 1, 64, 64, dtype=torch.float64)
    x += 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).double()
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(G(x)[0, 0, 32, 32], x)
    rows = gradient[0, 0].abs().sum(1).nonzero().flatten()
    # Down by a 4 x 4 convolution of stride 2 for each scale, and up again.
    low, high = 32, 32
    for _ in range(scale + 1):
        low, high = (low - 1) // 2, (high + 1) // 2
    for _ in range(scale + 1):
        low, high = 2 * low - 1, 2 * high + 2
    assert rows[0] == max(low, 0) and rows[-1] == min(high, 63)
    with torch.no_grad():  # with this way cut too, nothing is left
        G.up[depth - 1 - scale][1].weight.zero_()
    (gradient,) = torch.autograd.grad(G(x)[0, 0, 32, 32], x)
    assert not gradient.any()


def test_maps_of_the_residual_generator():
    G = ResNetTranslator(in_channels=3, channels=1, width=4, blocks=9)
    x = pictures(3, 32, 2)
    maps = G.features(x, range(12))
    assert torch.equal(maps[0], x)
    assert [h.shape[1] for h in maps] == G.widths == [3, 8, *[16] * 10]
    assert [h.shape[-1] for h in maps] == [32, 16, *[8] * 10]
    assert torch.equal(G.decoder(maps[-1]), G(x))
    assert torch.equal(maps[4], G.stages[3](maps[3]))  # a block and nothing else


def test_patch_nce_is_the_cross_entropy_of_equation_3():
    g = torch.Generator().manual_seed(0)
    q, k = (normalize(torch.randn(2, 5, 3, generator=g).double(), dim=-1) for _ in range(2))
    k.requires_grad_()
    by_hand = []
    for n in range(2):
        for s in range(5):
            positive = q[n, s] @ k[n, s]
            negatives = [q[n, s] @ k[n, t] for t in range(5) if t != s]
            logits = torch.stack([positive, *negatives])[None] / 0.07
            by_hand.append(cross_entropy(logits, torch.zeros(1, dtype=torch.long)))
    torch.testing.assert_close(patch_nce(q, k), torch.stack(by_hand).mean())
    assert not patch_nce(q, k).requires_grad  # none goes to the keys


def test_the_contrastive_loss_of_cut_sees_all_of_its_maps_and_moves_queries_only():
    model, data = build("cut")
    x = pictures(data["channels_a"], data["resolution_a"])
    same, other = model.nce(x, x), model.nce(x, x.flip(0))
    assert same < other  # patches are found in the image they come from
    model.nce(x, x.flip(0)).backward()
    for head in model.H.heads:
        assert all(p.grad.abs().sum() > 0 for p in head.parameters())
    y = x.clone().requires_grad_()
    assert torch.autograd.grad(model.nce(x, y.roll(1, 0)), y)[0].abs().sum() > 0
    assert not model.G.decoder[0].weight.grad  # the encoder alone


def test_cycada_learns_to_classify_first_and_then_leaves_it():
    model, data = build("cycada")
    moved, modes = watch(model), []
    model.f.register_forward_hook(lambda m, *_: modes.append((model.iteration, m.training)))
    fit(model, batch_for(model, data), iterations=4)
    assert [who for who, _ in moved] == ["f", "f", "G", "D", "G", "D"]
    assert {i: mode for i, mode in modes} == {1: True, 2: True, 3: False, 4: False}
    assert all(p.grad is None for p in model.f.parameters()) or model.playing == "D"


def test_the_semantic_loss_is_of_the_classes_seen_before_translation():
    model, data = build("cycada")
    model.f.eval()
    a, b = batch_for(model, data)[:2]
    fake_a, fake_b = model.G_ba(b), model.G_ab(a)
    total = model.generator_loss(a, b, fake_a, fake_b)
    plain = CycleGAN.generator_loss(model, a, b, fake_a, fake_b)
    with torch.no_grad():
        p_a, p_b = model.f(a).argmax(1), model.f(b).argmax(1)
    by_hand = cross_entropy(model.f(fake_b), p_a) + cross_entropy(model.f(fake_a), p_b)
    torch.testing.assert_close(total - plain, by_hand)


def test_kl_of_unit_is_that_of_normal_distributions():
    mu = torch.randn(3, 4, 2, 2, dtype=torch.float64)
    q = torch.distributions.Normal(mu, torch.ones_like(mu))
    p = torch.distributions.Normal(torch.zeros_like(mu), torch.ones_like(mu))
    torch.testing.assert_close(kl(mu), torch.distributions.kl_divergence(q, p).mean())


def test_unit_shares_its_latent_space():
    model, data = build("unit")
    a, b = batch_for(model, data)[:2]
    assert model.encode(a, "a").shape == model.encode(b, "b").shape
    z = model.encode(a, "a")
    torch.testing.assert_close(model.eval().translate(a, "b"), model.generate(z, "b").detach())
    fit(model.train(), batch_for(model, data))
    assert l1_loss(model.code(z * 0), z * 0) > 0.5  # noise of variance one: E|n| = 0.8
