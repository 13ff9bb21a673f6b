import math
from types import SimpleNamespace

import pytest
import torch

from lightning_gen.callbacks.base import RunCallback
from lightning_gen.callbacks.scores import Scores
from lightning_gen.errors import MetricError
from lightning_gen.metrics.evaluator import MixtureEvaluator
from lightning_gen.metrics.protocol import Evaluation, Protocol, Score
from tests.callbacks.conftest import Idle


class Asked:
    """An evaluator that notes what it is asked, and gives the FID it is told to."""

    def __init__(self, value=3.0):
        self.value, self.calls = value, []

    def evaluate(self, model, data, *, n_fake, weights, gather, rank, world, progress):
        self.calls.append((model.iteration, n_fake, weights))
        value = self.value(model.iteration) if callable(self.value) else self.value
        if isinstance(value, Exception):
            raise value
        how = Protocol("mnist", "ab", "none", 10, n_fake, "test", weights, 0, data.fingerprint)
        return Evaluation([Score("fid", value, how)], {"fid": value})


class Listener(RunCallback):
    def __init__(self):
        self.told = []

    def on_evaluation(self, trainer, module, evaluation):
        self.told.append((module.iteration, [score.value for score in evaluation.scores]))


def idle():
    return Idle(lambda *a: None)


def test_evaluates_when_due_and_at_the_end_at_the_final_size(fit, ring, recorder):
    evaluator, listener = Asked(), Listener()
    fit(
        idle(),
        ring,
        [Scores(every_images=128, n_fake=50, final_n_fake=2000), listener],
        4,
        evaluator,
    )
    assert evaluator.calls == [(2, 50, "ema"), (4, 2000, "ema")]
    assert recorder.of("eval") == [(2, {"fid_mnist@50_test": 3.0}), (4, {"fid_mnist@2k_test": 3.0})]
    assert listener.told == [(2, [3.0]), (4, [3.0])]
    assert [i for i, _ in recorder.scores] == [2, 4]
    assert Score.from_json(recorder.scores[-1][1][0]).protocol.n_fake == 2000


def test_never_during_training_still_scores_the_result(fit, ring, recorder):
    evaluator = Asked()
    fit(idle(), ring, [Scores(every_images=None, n_fake=7)], 3, evaluator)
    assert evaluator.calls == [(3, 7, "ema")]


def test_no_evaluator_no_scores(fit, ring, recorder):
    fit(idle(), ring, [Scores(every_images=64, n_fake=7)], 2)
    assert recorder.of("eval") == []


def test_both_weights_have_names_of_their_own(fit, ring, recorder):
    model = idle()
    type(model).has_ema = property(lambda self: True)
    try:
        listener = Listener()
        scores = Scores(every_images=None, n_fake=7, weights="both")
        fit(model, ring, [scores, listener], 1, Asked())
    finally:
        del type(model).has_ema
    assert recorder.of("eval") == [(1, {"fid_mnist@7_test": 3.0, "fid_mnist@7_test_raw": 3.0})]
    assert listener.told == [(1, [3.0])]
    assert [s["protocol"]["weights"] for s in recorder.scores[0][1]] == ["ema", "raw"]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_null_for_everybody(fit, ring, recorder, capsys, bad):
    listener = Listener()
    fit(idle(), ring, [Scores(every_images=64, n_fake=7), listener], 3, Asked(bad))
    assert recorder.of("eval") == [(i, {"fid_mnist@7_test": None}) for i in (1, 2, 3)]
    assert listener.told == [(i, [None]) for i in (1, 2, 3)]
    assert recorder.scores[0][1][0]["note"] == f"the value is {bad}"
    assert capsys.readouterr().err.count("fid_mnist@7_test has no value") == 1


def test_a_refusal_is_said_once_and_training_goes_on(fit, ring, recorder, capsys):
    evaluator = Asked(lambda i: MetricError("no weights", fix="download them") if i < 3 else 1.0)
    trainer = fit(idle(), ring, [Scores(every_images=64, n_fake=7)], 4, evaluator)
    assert trainer.lightning_module.iteration == 4
    assert [i for i, _ in recorder.of("eval")] == [3, 4]
    assert capsys.readouterr().err.count("no scores: no weights (download them)") == 1


def test_samples_that_are_not_finite_are_scores_without_values(fit, ring, recorder):
    model = Idle(lambda i, n, labels, g: torch.full((n, 2), math.nan))
    fit(model, ring, [Scores(every_images=None, n_fake=100)], 1, MixtureEvaluator())
    ((_, values),) = recorder.of("eval")
    assert values and all(value is None for value in values.values())
    assert "100 of 100" in recorder.scores[0][1][0]["note"]


def test_a_perfect_ring_scores_eight_modes(fit, ring, recorder):
    centres, std = ring.mixture

    def truth(iteration, n, labels, generator):
        k = torch.randint(8, (n,), generator=generator)
        return centres[k] + std * torch.randn(n, 2, generator=generator)

    fit(Idle(truth), ring, [Scores(every_images=None, n_fake=2500)], 1, MixtureEvaluator())
    ((_, values),) = recorder.of("eval")
    assert values["modes_ring@2500"] == 8
    assert values["high_quality_ring@2500"] == pytest.approx(0.989, abs=0.01)


def test_several_processes_gather_in_the_order_of_ranks(fit, ring):
    class Gathers(Asked):
        def evaluate(self, model, data, *, gather, rank, world, **rest):
            self.seen = gather(torch.tensor([[1.0], [2.0]])), rank, world
            return Evaluation([], {})

    evaluator, scores = Gathers(), Scores(every_images=None, n_fake=7)
    scores.evaluator = evaluator
    trainer = SimpleNamespace(
        world_size=2,
        global_rank=1,
        is_global_zero=False,
        should_stop=False,
        callbacks=[],
        datamodule=ring,
        strategy=SimpleNamespace(all_gather=lambda t: torch.stack([t, t + 10])),
    )
    scores.on_train_end(trainer, idle())
    assert evaluator.seen[0].flatten().tolist() == [1, 2, 11, 12]
    assert evaluator.seen[1:] == (1, 2)


def test_evaluation_counts_as_a_pause(fit, ring):
    scores = Scores(every_images=None, n_fake=7)
    assert scores.evaluates and scores.paused == 0
    fit(idle(), ring, [scores], 1, Asked())
    assert scores.paused > 0
