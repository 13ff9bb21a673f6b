"""The Parzen evaluator: its protocol, refusals, and independence of processes."""

import json
import math
import threading

import pytest
import torch

from lightning_gen.cli import main
from lightning_gen.core import ImageBatch
from lightning_gen.metrics.feature_pass import Team, draw
from lightning_gen.metrics.parzen import parzen
from lightning_gen.metrics.parzen_evaluator import ParzenEvaluator
from lightning_gen.metrics.protocol import Score
from tests.metrics.stubs import Data, Model
from tests.metrics.test_evaluator import Threads


class Split(Data):
    """Noise with a validation split."""

    def __init__(self, valid=60):
        super().__init__()
        parts = self.images.split([500 - 200 - valid, valid, 200])
        self.parts = dict(zip(("train", "valid", "test"), parts, strict=True))
        self.splits = tuple(name for name, part in self.parts.items() if len(part))

    def size(self, split):
        return len(self.parts[split])

    def real(self, split, indices=None, device="cpu"):
        rows = slice(None) if indices is None else indices
        return ImageBatch(self.parts[split][rows].to(device))


def closer(x, _):
    return 0.3 * x


def test_it_is_the_estimate_of_the_samples_that_are_drawn():
    data, model = Split(), Model(closer)
    evaluation = ParzenEvaluator(n_fake=300, n_valid=50).evaluate(model, data).require()
    (score,) = evaluation.scores
    fake = Team().collect(300, lambda j: (draw(model, None, 0, j),))[0]
    sets = (fake, data.parts["valid"][:50], data.parts["test"])
    expected = parzen(*((x + 1) / 2 for x in sets))
    assert (score.value, score.ci) == (expected.mean, expected.se)
    assert evaluation.extras["parzen_sigma"] == expected.sigma
    assert score.name == "parzen_pixels@300_test"
    assert (score.protocol.n_real, score.protocol.n_fake) == (200, 300)
    assert score.protocol.options["valid"] == 50
    assert Score.from_json(json.loads(json.dumps(score.to_json()))) == score
    other = ParzenEvaluator(n_fake=300, n_valid=50, seed=1).evaluate(model, data).scores[0]
    assert other.value != score.value


def test_another_number_of_samples_and_split():
    ours = ParzenEvaluator(n_fake=300, n_valid=50)
    (score,) = ours.evaluate(Model(closer), Split(), n_fake=70, split="valid").scores
    assert score.name == "parzen_pixels@70_valid"
    assert score.protocol.n_real == 60


@pytest.mark.parametrize(("valid", "has"), [(0, 0), (40, 40)])
def test_without_validation_images_nothing_is_drawn(valid, has):
    drawn = []
    model = Model(lambda x, _: drawn.append(x))
    (score,) = ParzenEvaluator(n_fake=100, n_valid=50).evaluate(model, Split(valid)).scores
    assert score.value is None
    assert score.name == "parzen_pixels@100_test"
    assert f"50 validation images, the data have {has}" in score.note
    assert "data.valid=10000" in score.note
    assert not drawn


@pytest.mark.parametrize(
    ("value", "rule"),
    [(math.nan, "are not finite"), (math.inf, "are not finite"), (1.5, "outside of [-1, 1]")],
)
def test_bad_images_are_refused(value, rule):
    def spoil(x, _):
        x[5, 0, 3, 3] = value
        return x

    (score,) = ParzenEvaluator(n_fake=100, n_valid=50).evaluate(Model(spoil), Split()).scores
    assert score.value is None
    assert rule in score.note
    assert "2 of 100" in score.note  # in both blocks


def test_values_that_rounding_takes_beyond_one_are_not_bad():
    def saturated(x, _):
        return torch.full_like(x, 1.0005)

    ParzenEvaluator(n_fake=64, n_valid=50).evaluate(Model(saturated), Split()).require()


def test_every_class_has_its_share():
    seen = []

    def labelled(x, labels):
        seen.append(labels)
        return x

    model = Model(labelled, requires_labels=True)
    ParzenEvaluator(n_fake=10_000, n_valid=50).evaluate(model, Split())
    assert torch.cat(seen)[:10_000].bincount().tolist() == [2500] * 4


def test_ranks_give_the_same_score():
    ours, threads, got = ParzenEvaluator(n_fake=300, n_valid=50), Threads(3), {}
    alone = ours.evaluate(Model(closer), Split())

    def run(rank):
        team = {"gather": threads.gather_of(rank), "rank": rank, "world": 3}
        got[rank] = ours.evaluate(Model(closer), Split(), **team)

    workers = [threading.Thread(target=run, args=(rank,)) for rank in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [got[rank] for rank in range(3)] == [alone] * 3


def test_evaluation_changes_no_random_state():
    before = torch.get_rng_state()
    ParzenEvaluator(n_fake=100, n_valid=50).evaluate(Model(closer), Split())
    assert torch.equal(before, torch.get_rng_state())


def test_in_training_and_by_its_verb(mnist_root, tmp_path, capfd):
    words = [
        *("model=gan", "data=mnist", "data.valid=100", "metrics=parzen", "metrics.n_valid=50"),
        *("logger=none", "trainer=cpu", "trainer.threads=1", "data.batch_size=16"),
        *("model.G.units=16", "model.D.units=16", "budget.images=64"),
        *("callbacks.scores.every_images=32", "callbacks.scores.n_fake=64"),
        "callbacks.scores.final_n_fake=128",
        *(f"paths.data={mnist_root}", f"paths.runs={tmp_path}"),
    ]
    assert main(["train", *words]) == 0
    (run,) = (path.parent for path in tmp_path.rglob("scores.json"))
    (trained,) = json.loads((run / "scores.json").read_text())[-1]["scores"]
    assert trained["name"] == "parzen_pixels@128_test"
    assert trained["value"] is not None
    assert main(["evaluate", f"run={run}", "metrics=parzen", "n=128"]) == 0
    (again,) = json.loads((run / "evaluation.json").read_text())["scores"]
    assert again["protocol"]["options"]["valid"] == 1000  # the group's own: more than there are
    assert "the data have 100" in again["note"]
    assert main(["evaluate", f"run={run}", "n=128"]) == 0
    (again,) = json.loads((run / "evaluation.json").read_text())["scores"]
    assert again["value"] == pytest.approx(trained["value"])
