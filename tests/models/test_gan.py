"""Properties of every adversarial model, on the networks its own configuration gives it."""

import copy
from functools import partial
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from lightning_gen.config.compose import check_overrides, instantiate
from lightning_gen.core import ImageBatch
from lightning_gen.functional.adversarial import discriminator_loss, non_saturating_loss
from lightning_gen.models.gan.dcgan import DCGAN
from lightning_gen.models.gan.gan import GAN
from lightning_gen.models.gan.wgan_gp import WGANGP
from lightning_gen.networks.mlp import MLP
from tests.suited import data_of

NAMES = sorted(
    p.stem for p in (Path(__file__).parents[2] / "lightning_gen/models/gan").glob("*.py")
)
NAMES = [n for n in NAMES if n not in {"__init__", "adversarial"}]
# Small networks, with initial weights large enough for one step to show in every parameter.
SIZES = {
    **{"width": 4, "irange": 0.5, "phase_images": 6, "autoencoder_images": 16},
    **dict.fromkeys(["units", "x_units", "y_units", "z_units", "q_units", "hidden"], 8),
    **dict.fromkeys(["embeddings", "components", "topics", "pseudo_inputs"], 8),
}
N = 8


def build(name, **options):
    node = check_overrides([f"model={name}", f"data={data_of(name)}"])["model"]
    torch.manual_seed(0)
    return instantiate(small(node) | options)


def small(node):
    """The same networks with few units."""
    if not isinstance(node, dict):
        return node
    return {k: fewer(k, v) for k, v in node.items()}


def fewer(key, value):
    """A value of the configuration, or a smaller one."""
    if isinstance(value, list) and key in SIZES:
        return [SIZES[key]] * len(value)
    return SIZES.get(key, small(value))


class Batches:
    """A loader of the same images over and over."""

    def __init__(self, image, label, iterations):
        self.batch, self.iterations = ImageBatch(image, label), iterations

    def __len__(self):
        return self.iterations

    def __iter__(self):
        return iter([self.batch] * self.iterations)


def fit(model, image, iterations=1, **options):
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
    trainer.fit(model, Batches(image, labels(model, len(image)), iterations))
    return model


SHAPES = {"images": (1, 28, 28), "captions": (3, 32, 32)}


def images(model, n=N):
    torch.manual_seed(1)
    return torch.rand(n * model.minibatches, *SHAPES[model.takes]) * 2 - 1


def labels(model, n):
    i = torch.arange(n)
    return {"images": i % 10, "captions": torch.stack([i % 3, i % 6, i % 10], 1) + 1}[model.takes]


class Moved(pl.Callback):
    """Names of all that a step has changed: Adam's first step and the next can cancel exactly."""

    def __init__(self, model):
        self.before, self.names = copy.deepcopy(model.state_dict()), set()

    def on_train_batch_end(self, trainer, model, *args):
        after = model.state_dict().items()
        self.names |= {k for k, value in after if not torch.equal(self.before[k], value)}


@pytest.mark.parametrize("name", NAMES)
def test_rounds_move_both_players(name):
    model = build(name)
    moved = Moved(model)
    fit(model, images(model), iterations=4, callbacks=[moved])
    for player in model.players:
        names = [f"{player}.{k}" for k, _ in getattr(model, player).named_parameters()]
        still = [k for k in names if k not in moved.names]
        # A difference of critic values, as the Wasserstein distance is, leaves its offset free.
        assert [k for k in still if not k.endswith(("psi.bias", names[-1]))] == []
        assert torch.isfinite(model.recorded[f"loss_{player}"])
    assert all(p.requires_grad for q in model.players for p in model.player_parameters(q))
    assert model.iteration == 4 and model.images_seen == 4 * N * model.minibatches


@pytest.mark.parametrize("simultaneous", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_step_moves_its_player_and_no_other(name, simultaneous):
    model, moved = build(name, simultaneous=simultaneous), []
    configure = model.configure_optimizers

    def snapshot():
        return {k: p.detach().clone() for k, p in model.named_parameters()}

    def watched():
        optimizers, schedules = configure()
        for player, optimizer in zip(model.players, optimizers, strict=True):
            own = {id(p) for p in model.player_parameters(player)}
            names = {k for k, p in model.named_parameters() if id(p) in own}
            before = {}

            def pre(optimizer, *_, before=before):
                gradients = [p.grad for g in optimizer.param_groups for p in g["params"]]
                assert all(g.isfinite().all() for g in gradients if g is not None)
                before |= snapshot()

            def post(*_, before=before, names=names, player=player):
                changed = {k for k, p in snapshot().items() if not torch.equal(p, before[k])}
                assert changed and changed <= names
                moved.append(player)

            optimizer.register_step_pre_hook(pre)
            optimizer.register_step_post_hook(post)
        return optimizers, schedules

    model.configure_optimizers = watched
    fit(model, images(model), iterations=2)
    assert sorted(moved) == sorted(2 * (["D"] * model.n_critic + ["G"]))


@pytest.mark.parametrize("name", NAMES)
def test_samples(name):
    model = fit(build(name), images(build(name)), iterations=2)
    asked = labels(model, 12) if model.requires_labels else None
    draw = partial(model.sample, 12, labels=asked)
    x = draw(generator=torch.Generator().manual_seed(3))
    assert x.shape == (12, *SHAPES[model.takes]) and x.abs().max() <= 1 and x.std() > 0
    assert torch.equal(x, draw(generator=torch.Generator().manual_seed(3)))
    assert not torch.equal(x, draw(generator=torch.Generator().manual_seed(4)))
    with model.raw_weights():
        assert not torch.equal(x, draw(generator=torch.Generator().manual_seed(3)))
    assert torch.equal(x, draw(generator=torch.Generator().manual_seed(3)))
    assert model.G.training and not x.requires_grad
    assert model.discriminate(x, asked).shape == (12,)


@pytest.mark.parametrize("name", NAMES)
def test_a_step_is_a_function_of_seed_and_iteration(name):
    models = [build(name) for _ in range(2)]
    for i, model in enumerate(models):
        torch.manual_seed(i)  # The state of the global generator must not matter.
        fit(model, images(model), iterations=3)
    first, second = (m.state_dict() for m in models)
    assert all(torch.equal(first[k], second[k]) for k in first)


@pytest.mark.parametrize("name", NAMES)
def test_bf16(name):
    model = fit(build(name), images(build(name)), precision="bf16-mixed")
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in model.parameters())


def mlps(cls, **options):
    torch.manual_seed(0)
    sgd = partial(torch.optim.SGD, lr=0.1)
    networks = {"G": MLP(inputs=3, outputs=2, units=8), "D": MLP(inputs=2, outputs=1, units=8)}
    model = cls(**networks, optimizers={"G": sgd, "D": sgd}, latent_dim=3, **options)
    return model.double()


@pytest.mark.parametrize("cls", [GAN, DCGAN, WGANGP])
def test_accumulating_micro_batches_is_the_whole_batch(cls):
    x = torch.randn(12 * mlps(cls).minibatches, 2, dtype=torch.float64)
    whole, parts = (fit(mlps(cls, accumulate=k), x, 3) for k in (1, 3))
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("simultaneous", [False, True])
def test_the_round_is_the_algorithm_by_hand(simultaneous):
    x = torch.randn(6, 2, dtype=torch.float64)
    model, by_hand = mlps(DCGAN, simultaneous=simultaneous), mlps(DCGAN)
    fit(model, x)
    G, D = by_hand.G, by_hand.D
    at = copy.deepcopy(D) if simultaneous else D  # the discriminator that G descends against
    by_hand.iteration = 1
    by_hand.seed_iteration()
    z = by_hand.z(6).double()
    loss = discriminator_loss(D(x), D(G(z).detach()))
    torch.testing.assert_close(model.recorded["loss_D"], loss.detach())
    for p, g in zip(D.parameters(), torch.autograd.grad(loss, D.parameters()), strict=True):
        p.data -= 0.1 * g
    loss = non_saturating_loss(at(G(z)))
    torch.testing.assert_close(model.recorded["loss_G"], loss.detach())
    for p, g in zip(G.parameters(), torch.autograd.grad(loss, G.parameters()), strict=True):
        p.data -= 0.1 * g
    for name in ("G", "D"):
        pairs = zip(
            getattr(model, name).parameters(), getattr(by_hand, name).parameters(), strict=True
        )
        for a, b in pairs:
            torch.testing.assert_close(a, b)


def test_one_generator_forward_serves_both_players():
    model = mlps(DCGAN)
    calls = []
    model.G.register_forward_hook(lambda *_: calls.append(1))
    fit(model, torch.randn(6, 2, dtype=torch.float64), iterations=3)
    assert len(calls) == 3


@pytest.mark.parametrize("clip", [1e-3, 1e3])
def test_clipping_is_per_player(clip):
    model = mlps(GAN, clip_norm={"D": clip})
    before = copy.deepcopy(model)
    fit(model, torch.randn(6, 2, dtype=torch.float64))

    def step(player):  # SGD moves by lr times the gradient.
        pairs = zip(
            getattr(model, player).parameters(), getattr(before, player).parameters(), strict=True
        )
        return torch.cat([((b - a) / 0.1).flatten() for a, b in pairs]).norm()

    free = mlps(GAN)
    fit(free, torch.randn(6, 2, dtype=torch.float64))
    torch.testing.assert_close(step("D") <= clip * 1.0001, torch.tensor(True))
    assert step("G") > 1e-3


def test_clipping_happens_after_the_loss_scale_is_removed():
    from pytorch_lightning.plugins import MixedPrecision

    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    model = mlps(GAN, clip_norm={"D": 0.01}).float()
    before = copy.deepcopy(model)
    plugin = MixedPrecision("16-mixed", "cpu", scaler)
    fit(model, torch.randn(6, 2), plugins=plugin)
    pairs = zip(model.D.parameters(), before.D.parameters(), strict=True)
    norm = torch.cat([((b - a) / 0.1).flatten() for a, b in pairs]).norm()
    torch.testing.assert_close(norm, torch.tensor(0.01), rtol=1e-2, atol=0)


def test_schedules_follow_their_player():
    halving = partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.5)
    model = mlps(WGANGP, n_critic=3, schedules={"G": halving, "D": halving})
    fit(model, torch.randn(12, 2, dtype=torch.float64), iterations=2)
    rates = [o.param_groups[0]["lr"] for o in model.trainer.optimizers]
    assert rates == [0.1 * 0.5**6, 0.1 * 0.5**2]  # D stepped 3 times a round, G once.


def test_the_average_is_the_formula():
    model = mlps(GAN, ema_halflife=20, ema_rampup=0)
    average = [p.detach().clone() for p in model.G.parameters()]
    x = torch.randn(10, 2, dtype=torch.float64)
    for _ in range(3):
        iteration = model.iteration
        fit(model, x)
        assert model.iteration == iteration + 1
        beta = 0.5 ** (10 / 20)
        average = [
            beta * a + (1 - beta) * p.detach()
            for a, p in zip(average, model.G.parameters(), strict=True)
        ]
    for a, b in zip(average, model.G_ema.network.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_the_average_is_neither_trained_nor_in_training_mode():
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    from lightning_gen.networks.ema import ExponentialMovingAverage

    ema = ExponentialMovingAverage(network, halflife=1)
    ema.train()
    assert not any(m.training for m in ema.modules())
    assert not any(p.requires_grad for p in ema.parameters())


def test_the_penalty_is_differentiated_twice_and_vanishes_for_unit_slope():
    from lightning_gen.functional.gradients import gradient_norm

    w = torch.tensor([[0.6, 0.8]], dtype=torch.float32, requires_grad=True)
    norm = gradient_norm(lambda x: x @ w.T, torch.randn(5, 2))
    torch.testing.assert_close(norm, torch.ones(5))
    (gradient,) = torch.autograd.grad((norm - 2).square().sum(), w)
    torch.testing.assert_close(
        gradient, -10 * w.detach()
    )  # d/dw sum (|w| - 2)^2 = 10 (|w| - 2) w/|w|


def test_unconditional_models_refuse_labels():
    with pytest.raises(ValueError, match="not conditional"):
        mlps(GAN).sample(3, labels=torch.zeros(3, dtype=torch.long))
