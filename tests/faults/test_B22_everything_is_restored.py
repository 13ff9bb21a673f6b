"""B22: players, averages, optimisers, schedules, the loss scale and callbacks are all restored.

Key by key and without tolerance; the runs of test_A12_B22 prove it of every model.
"""

import copy
from functools import partial
from types import SimpleNamespace

import pytest
import torch

from lightning_gen.callbacks.checkpoint import Checkpoint
from lightning_gen.runs.state import restore, state_of
from tests.models.test_gan import build

CONFIG = {"model": {"units": 4, "optimizers": {"G": {"lr": 0.1}}}, "data": {"root": "here"}}


@pytest.fixture
def make():
    """A model in mixed precision with optimisers, schedules, an average and a best score."""

    def made(lr):
        adam = partial(torch.optim.Adam, lr=lr, betas=(0.5, 0.999))
        decay = partial(torch.optim.lr_scheduler.StepLR, step_size=2, gamma=0.5)
        model = build("dcgan")
        model.optimizer_factories = {"G": adam, "D": adam}
        model.schedule_factories = {"G": decay}
        optimizers, schedules = model.configure_optimizers()
        scaler = torch.amp.GradScaler("cpu")
        plugin = SimpleNamespace(
            state_dict=scaler.state_dict, load_state_dict=scaler.load_state_dict
        )
        trainer = SimpleNamespace(
            optimizers=optimizers,
            lr_scheduler_configs=[SimpleNamespace(scheduler=s) for s in schedules],
            precision_plugin=plugin,
            callbacks=[Checkpoint(every_images=1)],
        )
        return trainer, model, scaler

    return made


def learn(trainer, model, scaler, steps):
    for step in range(steps):
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                for p in group["params"]:
                    p.grad = torch.full_like(p, 0.1 * (step + 1))
            optimizer.step()
        for config in trainer.lr_scheduler_configs:
            config.scheduler.step()
        scaler.scale(torch.ones(()))
        scaler.update(2.0 ** (10 + step))
        model.iteration += 1
        model.images_seen += 8


def test_key_by_key(make):
    trainer, model, scaler = make(0.1)
    learn(trainer, model, scaler, 3)
    trainer.callbacks[0].best = {"fid": 3.0}
    saved = copy.deepcopy(state_of(trainer, model, CONFIG))
    assert saved["precision"]["scale"] == 2.0**12
    assert set(saved) == {
        "class", "settings", "iteration", "images_seen", "model", "optimizers", "schedules",
        "precision", "callbacks",
    }  # fmt: skip
    trainer, model, scaler = make(0.1)
    scaler.scale(torch.ones(()))
    restore(trainer, model, saved, "x.ckpt", CONFIG)
    again = state_of(trainer, model, CONFIG)
    for key in ("class", "settings"):
        assert again.pop(key) == saved.pop(key)
    torch.testing.assert_close(again, saved, rtol=0, atol=0)
    assert trainer.callbacks[0].best == {"fid": 3.0}
    learn(trainer, model, scaler, 1)
    assert trainer.optimizers[1].param_groups[0]["lr"] == 0.1 * 0.5**2  # four steps
