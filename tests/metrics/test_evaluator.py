"""The evaluators: refusals, caching, order, and independence of processes."""

import inspect
import json
import logging
import math
import threading
from typing import get_args

import pytest
import torch
from scipy import stats
from scipy.spatial.distance import jensenshannon
from sklearn.cluster import KMeans

from lightning_gen.core import ImageBatch
from lightning_gen.metrics.evaluator import (
    FEATURE_METRICS,
    SCORES,
    FeatureEvaluator,
    MixtureEvaluator,
)
from lightning_gen.metrics.feature_pass import Team, draw
from lightning_gen.metrics.ndb import ndb
from lightning_gen.metrics.protocol import Score
from lightning_gen.randomness import fold
from lightning_gen.tracking.panels import EVALUATORS
from tests.metrics.stubs import Data, Model, Threads, TinyExtractor, evaluator, shifted, values

OF_FEATURES = ["fid", "kid", "inception_score", "prdc", "modes", "diversity"]


def test_every_metric_has_a_score_with_its_protocol(tmp_path):
    evaluation = evaluator(tmp_path).evaluate(Model(shifted), Data()).require()
    assert [score.metric for score in evaluation.scores] == [
        *("fid", "kid", "inception_score", "precision", "recall", "density", "coverage"),
        *("modes", "class_kl", "class_js", "class_entropy", "mean_confidence"),
        *("pairwise_ratio", "duplicate_rate"),
        *("birthday_batch", "birthday_batch_real", "birthday_support"),
        *("nearest_train_ratio", "memorised", "ndb", "bin_js"),
        *("ms_ssim", "ms_ssim_real", "diverse_classes"),
    ]
    by_metric = {score.metric: score for score in evaluation.scores}
    assert by_metric["fid"].name == "fid_tiny@300_test"
    assert by_metric["fid"].protocol.n_real == 500
    assert by_metric["recall"].protocol.n_real == 300  # equal numbers for pairs
    assert by_metric["recall"].protocol.options == {"k": 5}
    assert by_metric["kid"].ci > 0
    assert by_metric["class_entropy"].protocol == by_metric["class_kl"].protocol
    assert {"class_histogram", "n_classes", "modes_found", "class_js"} <= set(evaluation.extras)
    entropy = stats.entropy(evaluation.extras["class_histogram"])
    assert by_metric["class_entropy"].value == pytest.approx(entropy)
    assert by_metric["class_kl"].value == pytest.approx(math.log(4) - entropy)
    assert sum(evaluation.extras["class_histogram"]) == 300
    for score in evaluation.scores:
        assert evaluation.extras[score.metric] == score.value
        assert Score.from_json(json.loads(json.dumps(score.to_json()))) == score
    json.dumps(evaluation.extras)


def test_only_the_metrics_asked_for(tmp_path):
    evaluation = evaluator(tmp_path, metrics=["modes", "fid"]).evaluate(Model(), Data())
    assert set(values(evaluation)) == {
        f"{m}_tiny@300_test"
        for m in ("fid", "modes", "class_kl", "class_js", "class_entropy", "mean_confidence")
    }


def test_metrics_are_named_alike_everywhere():
    """The evaluator's argument, the table of its metrics, the catalogue of panels."""
    annotation = inspect.signature(FeatureEvaluator).parameters["metrics"].annotation
    names = get_args(get_args(get_args(annotation)[0])[0])
    assert list(names) == list(FEATURE_METRICS)
    assert set(names) == EVALUATORS["FeatureEvaluator"].metrics
    assert all(SCORES[name] == kind.scores for name, kind in FEATURE_METRICS.items())
    scores = [score for kind in FEATURE_METRICS.values() for score in kind.scores]
    assert len(scores) == len(set(scores))


def test_evaluation_changes_nothing(tmp_path):
    before, ours = torch.get_rng_state(), evaluator(tmp_path)
    first = ours.evaluate(Model(shifted), Data())
    assert torch.equal(before, torch.get_rng_state())
    assert ours.evaluate(Model(shifted), Data()) == first
    assert values(ours.evaluate(Model(shifted), Data(), n_fake=200)).keys() != values(first).keys()


def test_samples_depend_on_their_index_only():
    model = Model()
    more = Team().collect(200, lambda j: (draw(model, None, 0, j),))[0]
    fewer = Team().collect(70, lambda j: (draw(model, None, 0, j),))[0]
    assert torch.equal(more[:70], fewer)
    assert len(more.flatten(1).unique(dim=0)) == 200
    assert not torch.equal(draw(model, None, 1, 0), draw(model, None, 0, 0))


def test_conditional_models_get_every_class_alike(tmp_path):
    seen = []

    def labelled(x, labels):
        seen.append(labels)
        return x

    evaluator(tmp_path, metrics=["fid"]).evaluate(Model(labelled, requires_labels=True), Data())
    assert torch.cat(seen)[:300].bincount().tolist() == [75] * 4


def test_raw_and_averaged_weights(tmp_path):
    model, drawn = Model(has_ema=True), []
    model.change = lambda x, _: drawn.append(model.raw) or x
    ours = evaluator(tmp_path, metrics=["modes"])
    for weights in ("ema", "raw"):
        drawn.clear()
        score = ours.evaluate(model, Data(), weights=weights).scores[0]
        assert score.protocol.weights == weights
        assert set(drawn) == {weights == "raw"}
    assert ours.evaluate(Model(), Data()).scores[0].protocol.weights == "raw"


def test_real_features_are_made_once_per_protocol(tmp_path):
    data, some = Data(), {"metrics": OF_FEATURES}
    first = evaluator(tmp_path, **some).evaluate(Model(shifted), data)
    assert data.reads == 512
    again = evaluator(tmp_path, **some).evaluate(Model(shifted), data)
    assert again == first  # another process would too
    assert data.reads == 512
    evaluator(tmp_path, n_real=400, **some).evaluate(Model(shifted), data)
    data.fingerprint = "f2"
    evaluator(tmp_path, **some).evaluate(Model(shifted), data)
    assert data.reads == 512 + 448 + 512
    assert len(list((tmp_path / "features").iterdir())) == 3


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "words"])
def test_a_damaged_cache_is_noticed_and_made_anew(tmp_path, damage, caplog):
    first = evaluator(tmp_path).evaluate(Model(shifted), Data())
    folders = [folder.name for folder in sorted(tmp_path.iterdir())]
    assert folders == ["bins", "features", "held_out", "ms_ssim"]
    files = {file: file.read_bytes() for file in tmp_path.glob("*/*")}
    assert len(files) == 5  # features of two splits
    for file, whole in files.items():
        spoiled = bytearray(whole)
        spoiled[len(whole) // 2] ^= 1
        file.write_bytes(
            {"flip": bytes(spoiled), "cut": whole[:-9], "empty": b"", "words": b"x" * 99}[damage]
        )
    with caplog.at_level(logging.WARNING):
        assert evaluator(tmp_path).evaluate(Model(shifted), Data()) == first
    for file, whole in files.items():
        assert str(file) in caplog.text
        assert file.read_bytes() == whole


def test_a_cache_that_cannot_be_written_costs_time_only(tmp_path, caplog):
    (tmp_path / "features").write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING):
        evaluator(tmp_path).evaluate(Model(shifted), Data()).require()
    assert "not cached" in caplog.text


def test_different_bins_are_those_of_the_training_pixels(tmp_path):
    data = Data()
    ours = evaluator(tmp_path, metrics=["ndb"])
    by_metric = {score.metric: score for score in ours.evaluate(Model(shifted), data).scores}
    how = by_metric["ndb"].protocol
    assert by_metric["ndb"].name == "ndb_pixels@300_train"
    assert (how.n_real, how.resize, how.options) == (500, "", {"bins": 5, "z": 3.0})
    train = ((data.of["train"] + 1) * 127.5).round() / 255
    fake = torch.cat([draw(Model(shifted), None, 0, j) for j in range(5)])[:300]
    fake = ((fake + 1) * 127.5).round() / 255
    shuffle = torch.Generator().manual_seed(fold("real", "train"))
    train = train[torch.randperm(500, generator=shuffle)].flatten(1).numpy()
    cells = KMeans(5, n_init=1, random_state=0, algorithm="elkan").fit(train)
    counts = [
        torch.from_numpy(cells.predict(x)).long().bincount(minlength=5)
        for x in (train, fake.flatten(1).numpy())
    ]
    expected = ndb(*counts)
    assert by_metric["ndb"].value == expected.different
    assert by_metric["bin_js"].value == pytest.approx(expected.js)
    lost = {score.metric: score.value for score in ours.evaluate(Model(dark), data).scores}
    assert lost["ndb"] > expected.different and lost["bin_js"] > 5 * expected.js


def dark(x, _):
    return x.abs() - 1


def test_large_images_are_kept_small(tmp_path):
    """Bytes of 128 pixels, cells of 32; the extractor has seen them whole."""

    class Large(Data):
        shape = (1, 160, 160)

        def real(self, split, indices, device="cpu"):
            image = super().real(split, indices).image
            return ImageBatch(image.repeat_interleave(20, 2).repeat_interleave(20, 3))

    class Whole(TinyExtractor):
        def forward(self, x):
            assert x.shape[2:] == (160, 160)
            return super().forward(x[:, :, ::20, ::20])

    model = Model(lambda x, _: x.repeat_interleave(20, 2).repeat_interleave(20, 3))
    ours = FeatureEvaluator(
        Whole(), n_fake=130, metrics=["ndb", "class_diversity", "birthday"], cache=str(tmp_path)
    )
    evaluation = ours.evaluate(model, Large()).require()
    assert evaluation.pictures["closest_pairs"].shape == (16, 1, 128, 128)
    resize = {score.metric: score.protocol.resize for score in evaluation.scores}
    assert (resize["ndb"], resize["ms_ssim"]) == ("area-32", "area-128")
    small = evaluator(tmp_path / "small", metrics=["ndb"], n_fake=130).evaluate(Model(), Data())
    assert small.extras["bin_js"] == pytest.approx(evaluation.extras["bin_js"], abs=0.02)


@pytest.mark.parametrize(("n", "most"), [(300, 64), (256, 64), (256, 100), (300, 1000)])
def test_pixels_of_the_first_samples_on_any_number_of_ranks(tmp_path, n, most):
    """Also where a rank has none of them to give."""
    threads, got = Threads(2), {}

    def run(rank):
        team = {"gather": threads.gather_of(rank), "rank": rank, "world": 2}
        ours = evaluator(tmp_path / str(rank), metrics=["ndb"], n_fake=n, n_pairs=most)
        got[rank] = ours.evaluate(Model(shifted), Data(), **team)

    workers = [threading.Thread(target=run, args=(rank,)) for rank in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    one = evaluator(tmp_path / "one", metrics=["ndb"], n_fake=n, n_pairs=most)
    assert got[0] == got[1] == one.evaluate(Model(shifted), Data())
    assert got[0].scores[0].protocol.n_fake == min(n, most)
    assert got[0].scores[0].value is not None


def test_mixture_scores():
    data = Data()
    data.name, data.mixture = "ring", (torch.tensor([[0.0, 0.0], [5.0, 5.0]]), 1.0)
    evaluation = MixtureEvaluator().evaluate(Model(shape=(2,)), data).require()
    assert values(evaluation) == {
        "modes_ring@2500": 1,
        "high_quality_ring@2500": 1.0,
        "reverse_kl_ring@2500": pytest.approx(math.log(2)),
        "class_js_ring@2500": pytest.approx(jensenshannon([1, 0], [1, 1]) ** 2),
        "class_entropy_ring@2500": 0.0,
    }
    assert evaluation.extras["class_histogram"] == [2500, 0]
    assert (evaluation.extras["modes_found"], evaluation.extras["n_classes"]) == (1, 2)
    data.mixture = (torch.tensor([[0.0, 0.0], [5.0, 5.0]]), 1e-9)
    none = MixtureEvaluator().evaluate(Model(shape=(2,)), data).require().extras
    assert none["class_histogram"] == [0, 0]  # then all is as for a single mode
    assert (none["class_entropy"], none["class_kl"]) == (0.0, pytest.approx(math.log(2)))
    data.mixture = (torch.tensor([[0.0, 0.0], [0.0, 1.0], [0.0, -1.0], [5.0, 5.0]]), 1.0)
    some = MixtureEvaluator().evaluate(Model(shape=(2,)), data).extras
    assert some["class_entropy"] == pytest.approx(stats.entropy(some["class_histogram"]))
    assert some["class_js"] == pytest.approx(jensenshannon(some["class_histogram"], [1] * 4) ** 2)
    bad = MixtureEvaluator(n_fake=100).evaluate(Model(lambda x, _: x / 0, shape=(2,)), data)
    assert bad.scores[0].note.startswith("100 of 100 generated points are not finite")


def test_digits_and_what_is_left_of_them(digits, tmp_path):
    """Real digits are a perfect model; one class and noise are seen for what they are."""
    train = digits.real("train", torch.arange(2000))

    class Replay(Model):
        def __init__(self, images):
            super().__init__()
            self.images, self.next = images, 0

        def sample(self, n, **_):
            rows = (torch.arange(n) + self.next) % len(self.images)
            self.next += n
            return self.images[rows]

    sizes = {"n_fake": 1000, "n_real": 1000, "n_train": 1000, "kid_subset_size": 500}
    ours = FeatureEvaluator(**sizes, kid_subsets=5, cache=str(tmp_path))
    good = ours.evaluate(Replay(train.image), digits).extras
    few = ours.evaluate(Replay(train.image[train.label < 3]), digits).extras
    noise = ours.evaluate(Replay(torch.rand(1000, 1, 28, 28) * 2 - 1), digits).extras
    assert (good["modes_found"], few["modes_found"], noise["modes_found"]) == (10, 3, 0)
    assert good["fid"] < few["fid"] < noise["fid"]
    assert good["class_kl"] < 0.05 < 1 < few["class_kl"]
    assert good["coverage"] > 0.9 > 0.6 > few["coverage"] > noise["coverage"] == 0
    assert good["pairwise_ratio"] == pytest.approx(1, abs=0.05)
    assert good["bin_js_excess"] < 0.02 < 0.1 < few["bin_js_excess"] < noise["bin_js_excess"]
    assert good["birthday_batch"] > 10 * noise["birthday_batch"]
    assert abs(good["ms_ssim_excess"]) < 0.05
    assert noise["duplicate_rate"] > 0.9 > 0.1 > good["duplicate_rate"]
