"""Memorisation against scikit-learn's neighbours, planted copies, and what is looked at."""

import numpy as np
import pytest
import torch
from scipy.stats import binom
from sklearn.neighbors import NearestNeighbors

from lightning_gen.errors import MetricError
from lightning_gen.functional.distances import nearest
from lightning_gen.metrics.evaluator import FeatureEvaluator
from lightning_gen.metrics.memorisation import copied, memorisation
from tests.metrics.stubs import Data, Model, TinyExtractor


def evaluate(folder, model, data, **options):
    settings = {"n_fake": 200, "metrics": ["memorisation"], "cache": str(folder)}
    ours = FeatureEvaluator(TinyExtractor(), **(settings | options))
    evaluation = ours.evaluate(model, data)
    return evaluation, {score.metric: score for score in evaluation.scores}


class Replay(Model):
    """Gives images in order."""

    def __init__(self, images):
        super().__init__(lambda x, _: self.images[(torch.arange(len(x)) + self.at(len(x)))])
        self.images, self.place = images, 0

    def at(self, n):
        self.place += n
        return (self.place - n) % (len(self.images) - n)


def test_against_sklearn(tmp_path):
    data, network = Data(), TinyExtractor()
    model = Model(lambda x, _: 0.8 * x)
    evaluation, scores = evaluate(tmp_path, model, data)
    fake = torch.cat([m for m in _drawn(model, 4)])[:200]
    train, held_out, made = (network(x).features for x in (data.of["train"], data.images, fake))
    search = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(train.double())
    far, near = (search.kneighbors(x.double())[0][:, 0] for x in (held_out, made))
    ratio = scores["nearest_train_ratio"].value
    assert ratio == pytest.approx(np.sort(near)[99] / np.sort(far)[249], rel=1e-6)
    assert scores["memorised"].value == pytest.approx((near < np.sort(far)[5]).mean())
    assert evaluation.extras["memorised"] == scores["memorised"].value


def _drawn(model, blocks):
    from lightning_gen.metrics.feature_pass import draw

    return (draw(model, None, 0, j) for j in range(blocks))


def test_copies_and_held_out_images(tmp_path):
    data = Data()
    copies, found = evaluate(tmp_path, Replay(data.of["train"]), data)
    assert (found["memorised"].value, found["nearest_train_ratio"].value) == (1.0, 0.0)
    assert copies.extras["copied"] > 0.9
    unseen, found = evaluate(tmp_path, Replay(data.images), data)
    assert found["memorised"].value < 0.04
    assert found["nearest_train_ratio"].value == pytest.approx(1, abs=0.1)
    assert unseen.extras["copied"] == 0


def test_protocol_counts_what_is_looked_at(tmp_path):
    _, scores = evaluate(tmp_path, Model(), Data(), n_train=300, n_pairs=100)
    how = scores["memorised"].protocol
    assert (how.split, how.n_real, how.n_fake) == ("test", 500, 100)
    assert how.options == {"quantile": 0.01, "n_train": 300}
    _, scores = evaluate(tmp_path, Model(), Data(), split="train")  # held out, all the same
    assert scores["memorised"].protocol.split == "test"
    assert scores["memorised"].value is not None


def test_data_without_a_held_out_split_are_refused(tmp_path):
    data = Data()
    data.splits = ("train",)
    _, scores = evaluate(tmp_path, Model(), data, split="train")
    assert "no split that models are not trained on" in scores["memorised"].note


def test_neighbours_of_held_out_images_are_found_once(tmp_path, monkeypatch):
    counted = []

    def counting(x, y, rows=1024):
        counted.append(len(x))
        return nearest(x, y, rows)

    monkeypatch.setattr("lightning_gen.metrics.memorisation.nearest", counting)
    first, _ = evaluate(tmp_path, Model(), Data())
    assert counted == [500, 200]
    assert evaluate(tmp_path, Model(), Data())[0] == first
    assert counted == [500, 200, 200]
    evaluate(tmp_path, Model(), Data(), n_train=300)
    assert counted[3:] == [500, 200]


def test_equal_sets_are_refused():
    with pytest.raises(MetricError, match="half of the held-out images"):
        memorisation(torch.ones(5), torch.zeros(5))


def test_chance_is_no_copying():
    n = 400
    for share in (1.0, 0.1):
        most = int(binom.ppf(0.999, n, 0.01))
        assert copied(most / n, n, share) == 0
    seen = (5000 / 30_000) * 0.5 + 0.01  # half of the samples are copies, a sixth is looked at
    assert copied(seen, 5000, 1 / 6) == pytest.approx(0.5, abs=0.05)
