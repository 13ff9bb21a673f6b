"""Mixed precision may skip a step, not a hundred (C3); a score of NaN is never the best (C4)."""

from types import SimpleNamespace

import pytest
import torch

from lightning_gen.callbacks.checkpoint import Checkpoint
from lightning_gen.callbacks.finite_guard import FiniteGuard
from lightning_gen.core import GenerativeModule
from lightning_gen.errors import DivergedError
from lightning_gen.metrics.protocol import Protocol, Score


@pytest.fixture
def step():
    """Take a step of a model in mixed precision whose gradient overflows or does not."""
    model = GenerativeModule()
    model.layer = torch.nn.Linear(1, 1)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    trainer = SimpleNamespace(precision_plugin=SimpleNamespace(scaler=scaler))
    guard = FiniteGuard(patience=100)

    def take(overflow, loss=1.0):
        model.iteration += 1
        model.record(loss_model=loss)
        sgd.zero_grad()
        scaled = scaler.scale(model.layer(torch.ones(1, 1)).sum() * (1e38 if overflow else 1.0))
        scaled.backward()
        scaler.unscale_(sgd)
        model.playing = "model"
        guard.on_before_optimizer_step(trainer, model, sgd)
        before = model.layer.weight.item()
        scaler.step(sgd)
        scaler.update(2.0**40)
        return model.layer.weight.item() != before

    return take


def test_C03_one_skipped_step_is_no_error(step):
    assert step(overflow=False)
    assert not step(overflow=True)
    assert step(overflow=False)


def test_C03_a_hundred_in_a_row_are(step):
    for _ in range(3):
        for _ in range(100):
            assert not step(overflow=True)
        assert step(overflow=False), "a good one starts the count anew"
    for _ in range(100):
        step(overflow=True)
    with pytest.raises(DivergedError, match="gradient of model is not finite at iteration 404"):
        step(overflow=True)


def test_C03_a_loss_is_never_excused(step):
    with pytest.raises(DivergedError, match="loss_model is not finite"):
        step(overflow=True, loss=float("inf"))


def evaluation(value):
    protocol = Protocol("x", "", "", 10, 10, "test", "ema", 0, "")
    return SimpleNamespace(scores=[Score("fid", value, protocol)])


def test_C04_nan_is_never_the_best():
    checkpoint = Checkpoint(every_images=1)
    for value, improved in [
        (float("nan"), False),
        (3.0, True),
        (float("nan"), False),
        (4.0, False),
    ]:
        checkpoint.improved = False
        checkpoint.on_evaluation(None, None, evaluation(value))
        assert checkpoint.improved is improved, value
    assert list(checkpoint.best.values()) == [3.0]
    checkpoint.on_evaluation(None, None, evaluation(None))
    checkpoint.on_evaluation(None, None, evaluation(2.0))
    assert list(checkpoint.best.values()) == [2.0]
