"""What is not finite stops the run in that step, before it can spread (C1, C2).

C1: a loss. C2: only the gradients, only one player, only the average of the weights, only one
rank. No checkpoint ever holds a number that is not finite.
"""

import importlib
import json
import math

import pytest
import torch

from lightning_gen.callbacks.finite_guard import FiniteGuard
from lightning_gen.core import GenerativeModule
from lightning_gen.errors import CheckpointError, DivergedError
from tests.faults.hooks import before
from tests.faults.stores import payload
from tests.suited import MODELS
from tests.system.harness import CONTEXT, _run, only_run, tiny, train

BAD = {
    "loss of G": ("lightning_gen.models.gan.dcgan", "non_saturating_loss", 4),
    "loss of D": ("lightning_gen.models.gan.dcgan", "discriminator_loss", 4),
}


def _planted(overrides, place, gradient_only):
    module, name, count = BAD[place]

    owner = importlib.import_module(module)
    original, calls = getattr(owner, name), [0]

    def bad(*args):
        calls[0] += 1
        loss = original(*args)
        if calls[0] == count:
            if gradient_only:  # a finite loss whose gradient is not
                loss.register_hook(lambda g: g * float("nan"))
            else:
                loss = loss * float("inf")
        return loss

    setattr(owner, name, bad)
    _run(overrides, None, {})


@pytest.mark.parametrize("gradient_only", [False, True], ids=["loss", "gradient"])
@pytest.mark.parametrize("place", BAD)
def test_C01_C02_what_is_not_finite_stops_before_the_optimiser(
    place, gradient_only, tmp_path, mnist_root
):
    overrides = tiny("dcgan", tmp_path, mnist_root)
    process = CONTEXT.Process(target=_planted, args=(overrides, place, gradient_only))
    process.start()
    process.join(120)
    assert process.exitcode == 5
    run = only_run(tmp_path)
    status = json.loads((run / "status.json").read_text())
    assert status["state"] == "diverged" and "iteration 4" in status["reason"]
    assert place[-1] in status["reason"]
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert max(row["iteration"] for row in rows if row["kind"] in {"train"}) == 3
    for file in (run / "checkpoints").glob("*.ckpt"):
        held = torch.load(file, weights_only=True)["model"]
        assert all(tensor.isfinite().all() for tensor in held.values())
    assert train(overrides) == 0  # what was bad was planted: the run goes on from its checkpoint


def test_C01_a_rate_that_is_too_large_is_an_error_block(tmp_path, mnist_root):
    overrides = tiny("gan", tmp_path, mnist_root, **{"model.optimizers.G.lr": "1e30"})
    assert train(overrides) == 5


def test_C01_weights_that_are_not_finite_are_never_saved(store):
    good = store.save(payload(), 1, 64)
    bad = payload(2)
    bad["model"]["w"][3] = float("nan")
    with pytest.raises(CheckpointError, match="1 of 1000 numbers are not finite") as caught:
        store.save(bad, 2, 128, best=True)
    assert caught.value.where == "payload.model.w"
    assert store.latest()[1] == good
    assert store.best() is None
    store.save(bad, 2, 128, allow_nonfinite=True)
    assert store.latest()[0]["k"] == 2


def _spoilt(overrides, module, owner, name, count, place):
    """Make a number of what a method was given not finite, before its n-th call."""

    def spoil(*args):
        network = args[0] if place is None else getattr(args[0], place)
        with torch.no_grad():
            next(network.parameters()).view(-1)[0] = float("nan")

    before((module, owner, name), count, spoil)
    _run(overrides, None, {})


SPOILT = {
    "the average": ("lightning_gen.networks.ema", "ExponentialMovingAverage", "update", 4, None),
    "a weight": ("lightning_gen.players", "AlternatingModule", "after_turn", 8, "G"),
}


@pytest.mark.parametrize("place", SPOILT)
def test_C02_a_weight_or_an_average_stops_in_that_step(place, tmp_path, mnist_root):
    overrides = tiny("dcgan", tmp_path, mnist_root)
    process = CONTEXT.Process(target=_spoilt, args=(overrides, *SPOILT[place]))
    process.start()
    process.join(120)
    assert process.exitcode == 5
    run = only_run(tmp_path)
    status = json.loads((run / "status.json").read_text())
    assert "is not finite after iteration 4" in status["reason"]
    for file in (run / "checkpoints").glob("*.ckpt"):
        held = torch.load(file, weights_only=True)["model"]
        assert all(tensor.isfinite().all() for tensor in held.values())
    assert train(overrides) == 0


def test_C02_a_weight_whose_square_is_not_finite_is_no_error():
    model = GenerativeModule()
    model.layer = torch.nn.Linear(2, 1)
    torch.nn.init.constant_(model.layer.weight, 1e30)
    FiniteGuard().on_train_batch_end(None, model)
    torch.nn.init.constant_(model.layer.bias, math.inf)
    with pytest.raises(DivergedError, match=r"layer\.bias is not finite"):
        FiniteGuard().on_train_batch_end(None, model)


def _spread(overrides, reached):
    from lightning_gen.players import AlternatingModule

    original, calls = AlternatingModule.manual_backward, [0]

    def bad(self, loss, *args, **kwargs):
        original(self, loss, *args, **kwargs)
        calls[0] += self.iteration == 4
        if calls[0] == 1 and (spoilt := [p.grad for p in self.parameters() if p.grad is not None]):
            reached.set()
            for grad in spoilt:
                grad.view(-1)[:1] = float("nan")

    AlternatingModule.manual_backward = bad
    _run(overrides, None, {})


EVERY = [
    pytest.param(model, marks=[pytest.mark.slow] if i % 12 else [])
    for i, model in enumerate(MODELS)
]


@pytest.mark.parametrize("model", EVERY)
def test_C02_a_gradient_of_any_model_stops_in_that_step(model, tmp_path, mnist_root, tally):
    overrides, reached = tiny(model, tmp_path, mnist_root), CONTEXT.Event()
    process = CONTEXT.Process(target=_spread, args=(overrides, reached))
    process.start()
    process.join(120)
    if not reached.is_set():
        assert process.exitcode == 0
        pytest.skip("it learns without gradients")
    with tally("R16", model, 0):
        assert process.exitcode == 5
        status = json.loads((only_run(tmp_path) / "status.json").read_text())
        assert status["state"] == "diverged" and "iteration 4" in status["reason"]
