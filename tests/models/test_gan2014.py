"""The protocol of the GANs of 2014: latents, output biases, learning rate and momentum."""

import copy
import math
from functools import partial

import pytest
import pytorch_lightning as pl
import torch

from lightning_gen.config.compose import check_overrides
from lightning_gen.data.mixture import Ring
from lightning_gen.models.gan.gan import GAN
from lightning_gen.networks.cgan2014 import CGAN2014Generator
from lightning_gen.networks.gan2014 import GAN2014Generator
from lightning_gen.networks.mlp import MLP
from lightning_gen.schedules import MomentumGrowth


def test_latents_have_the_moments_the_authors_drew():
    seen = []
    draws = torch.Generator().manual_seed(0)
    cube, normal = torch.rand(4096, 100, generator=draws), torch.randn(4096, 100, generator=draws)
    G = GAN2014Generator(channels=1, resolution=4, units=2)
    C = CGAN2014Generator(num_classes=2, channels=1, resolution=4)
    for layer in (G.layers[0], C.z_layer[0]):
        layer.register_forward_hook(lambda module, given, out: seen.append(given[0]))
    G(normal), C(cube * 2 - 1, torch.zeros(len(cube), dtype=torch.long))
    of_gan, of_cgan = seen
    assert torch.equal(of_gan, normal)
    assert of_cgan.var().item() == pytest.approx(1, abs=0.01)
    assert of_cgan.abs().max().item() == pytest.approx(math.sqrt(3), abs=1e-3)


def test_output_biases_start_at_the_mean_image():
    G = GAN2014Generator(channels=1, resolution=4, units=8)
    C = CGAN2014Generator(num_classes=3, channels=1, resolution=4)
    mean = torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(0)) * 1.9 - 0.95
    for network, last, labels in ((G, G.layers[-1], []), (C, C.joint[-1], [torch.arange(3)])):
        network.start_at(mean)
        torch.nn.init.zeros_(last.weight)
        torch.testing.assert_close(network(torch.rand(3, 100), *labels), mean.expand(3, -1, -1, -1))
        network.start_at(torch.full((1, 4, 4), -1.0))
        assert last.bias.isfinite().all()


def ring(tmp_path):
    data = Ring(str(tmp_path), str(tmp_path), batch_size=10)
    data.prepare_data()
    data.setup()
    return data


def test_the_mean_is_that_of_the_training_split(tmp_path):
    data = ring(tmp_path)
    torch.testing.assert_close(data.mean(), data.real("train").image.mean(0), atol=1e-5, rtol=0)


class Starting(MLP):
    """A network that starts at the mean."""

    def start_at(self, mean):
        self.told = mean


def test_networks_are_told_the_mean_before_the_first_step_only(tmp_path):
    data = ring(tmp_path)
    sgd = partial(torch.optim.SGD, lr=0.1)

    def told(iteration):
        networks = {
            "G": Starting(inputs=2, outputs=2, units=4),
            "D": MLP(inputs=2, outputs=1, units=4),
        }
        model = GAN(**networks, optimizers={"G": sgd, "D": sgd}, latent_dim=2)
        model.iteration, data.stop_iteration = iteration, iteration + 1
        trainer = pl.Trainer(
            accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(model, datamodule=data)
        return [getattr(network, "told", None) for network in (model.G, model.G_ema.network)]

    assert all(torch.equal(mean, data.mean()) for mean in told(0))
    assert told(5) == [None, None]


def optimizer_and_schedule(**options):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1, momentum=0.5)
    return optimizer, MomentumGrowth(optimizer, **options)


def step(optimizer, schedule, n):
    seen = []
    for _ in range(n):
        optimizer.step()
        schedule.step()
        group = optimizer.param_groups[0]
        seen.append((group["lr"], group["momentum"]))
    return seen


def test_schedule_is_its_closed_form_and_ends_at_its_limits():
    seen = step(*optimizer_and_schedule(decay=1.5, min_lr=0.01, steps=8), 12)
    for t, (lr, momentum) in enumerate(seen, 1):
        assert lr == pytest.approx(max(0.1 / 1.5**t, 0.01))
        assert momentum == pytest.approx(0.5 + 0.2 * min(t / 8, 1))
    assert seen[-1] == pytest.approx((0.01, 0.7))


def test_schedule_goes_on_where_it_was():
    whole = step(*optimizer_and_schedule(decay=1.5, steps=8), 9)
    optimizer, schedule = optimizer_and_schedule(decay=1.5, steps=8)
    first = step(optimizer, schedule, 4)
    states = copy.deepcopy((optimizer.state_dict(), schedule.state_dict()))
    optimizer, schedule = optimizer_and_schedule(decay=1.5, steps=8)
    optimizer.load_state_dict(states[0])
    schedule.load_state_dict(states[1])
    torch.testing.assert_close(
        torch.tensor(first + step(optimizer, schedule, 5)), torch.tensor(whole)
    )


@pytest.mark.parametrize(
    "name, epochs, prior, simultaneous",
    [("gan_mnist", 250, "normal", True), ("cgan_mnist", 100, "uniform", False)],
)
def test_recipes_are_the_protocol(name, epochs, prior, simultaneous):
    config = check_overrides([f"experiment={name}"])
    assert config["budget"]["images"] == epochs * (60_000 - config["data"]["valid"])
    rates = {p: o["lr"] for p, o in config["model"]["optimizers"].items()}
    assert rates == {"G": 0.1, "D": 0.05}  # theirs descends the mean of its two terms, ours the sum
    assert (config["model"]["prior"], config["model"]["simultaneous"]) == (prior, simultaneous)
    assert config["data"]["batch_size"] == 100
