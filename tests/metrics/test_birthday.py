"""The birthday paradox against the closed form, against all orders, and in an evaluation."""

import itertools
import math

import pytest
import torch
from scipy.spatial.distance import pdist, squareform

from lightning_gen.functional.distances import neighbourhood
from lightning_gen.metrics import birthday
from lightning_gen.metrics.birthday import birthday_batch, closest_pairs, duplicates
from lightning_gen.metrics.evaluator import FeatureEvaluator
from tests.metrics.stubs import Data, Model, TinyExtractor


def half(support):
    """The smallest number of draws from so many things of which two are equal in half the cases."""
    distinct = itertools.accumulate((1 - i / support for i in range(support)), lambda a, b: a * b)
    return next(s for s, p in enumerate(distinct, 1) if p <= 0.5)


def uniform(support, n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(support, (n, 1), generator=generator).float()


def batch_of(x, threshold=0.5):
    return birthday_batch(*duplicates(x, neighbourhood(x, 1).nearest, threshold))


def test_closed_form():
    assert half(365) == 23


@pytest.mark.parametrize(("support", "n"), [(10, 1000), (365, 3000), (2000, 4000), (20_000, 4000)])
def test_uniform_support_of_known_size(support, n):
    found = sum(batch_of(uniform(support, n, seed)) for seed in range(4)) / 4
    assert found == pytest.approx(half(support), rel=0.08, abs=0.6)
    assert found**2 == pytest.approx(2 * math.log(2) * support, rel=0.3, abs=10)


def test_against_all_orders():
    pairs, n = torch.tensor([[1, 0], [4, 3], [5, 3]]), 7
    first = sorted(
        min(max(order[i], order[j]) + 1 for i, j in pairs.tolist())
        for order in itertools.permutations(range(n))
    )
    assert birthday_batch(pairs, n, orders=2000) == first[(len(first) - 1) // 2]
    assert first[len(first) // 2 - 300] == first[len(first) // 2 + 300]  # no tie of chances


def test_one_thing_that_is_half_of_all_is_found_as_such():
    x = torch.where(torch.rand(2000, 1) < 0.5, 0, torch.arange(2000.0)[:, None] + 1)
    assert batch_of(x) == 3  # two of three are of it: 1/2


def test_pairs_are_those_below_the_threshold():
    x = torch.randn(300, 3, generator=torch.Generator().manual_seed(0))
    near = squareform(pdist(x.double())) < 0.4
    expected = {(i, j) for i, j in itertools.product(range(300), repeat=2) if j < i and near[i, j]}
    pairs, among = duplicates(x, neighbourhood(x, 1).nearest, 0.4)
    assert among == 300 and len(expected) > 50
    assert set(map(tuple, pairs.tolist())) == expected and len(pairs) == len(expected)


def test_very_many_pairs_are_listed_among_the_first_points(monkeypatch):
    monkeypatch.setattr(birthday, "ENOUGH", 1000)
    x = uniform(30, 2000)
    pairs, among = duplicates(x, neighbourhood(x, 1).nearest, 0.5)
    equal = (x[:among] == x[:among].T).tril(-1)
    assert among < 2000 and len(pairs) == int(equal.sum()) > 1000
    assert birthday_batch(pairs, among) == pytest.approx(half(30), abs=1)


def test_no_duplicates_and_torchs_generator():
    before = torch.get_rng_state()
    pairs, among = duplicates(torch.arange(50.0)[:, None], torch.ones(50), 0.5)
    assert (pairs.shape, among) == ((0, 2), 50)
    assert birthday_batch(pairs, among) is None
    birthday_batch(torch.tensor([[1, 0]]), 5)
    assert torch.equal(before, torch.get_rng_state())


def test_closest_pairs():
    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(1))
    distance = torch.from_numpy(squareform(pdist(x.double())))
    distance.fill_diagonal_(torch.inf)
    pairs = closest_pairs(x, neighbourhood(x, 1).nearest, 5)
    assert len({tuple(pair) for pair in pairs.tolist()}) == 5
    assert pairs[0].tolist() == sorted(divmod(int(distance.argmin()), 60))
    for i, j in pairs.tolist():
        assert distance[i, j] in (distance[i].min(), distance[j].min())
    assert closest_pairs(torch.zeros(3, 2), torch.zeros(3), 5).shape[1] == 2


def evaluate(folder, change):
    ours = FeatureEvaluator(TinyExtractor(), n_fake=400, metrics=["birthday"], cache=str(folder))
    evaluation = ours.evaluate(Model(change), Data())
    return evaluation, {score.metric: score for score in evaluation.scores}


def test_scores_of_a_model_of_twenty_images(tmp_path):
    images = Data(20).images
    pick = torch.Generator().manual_seed(5)

    def few(x, _):
        return images[torch.randint(20, (len(x),), generator=pick)]

    evaluation, scores = evaluate(tmp_path, few)
    assert scores["birthday_batch"].value == pytest.approx(half(20), abs=1)
    assert scores["birthday_support"].value == scores["birthday_batch"].value ** 2
    assert scores["birthday_batch_real"].value > 100 and scores["birthday_batch"].note is None
    assert scores["birthday_batch"].protocol.options == {"quantile": 0.01, "orders": 400}
    shown = evaluation.pictures["closest_pairs"]
    assert shown.shape == (16, 1, 8, 8) and shown.dtype == torch.uint8
    assert torch.equal(shown[::2], shown[1::2])  # pairs side by side


def test_a_bound_is_said_to_be_one(tmp_path):
    _, scores = evaluate(tmp_path, lambda x, _: 0.1 * x)  # real features crowd where tanh saturates
    score = scores["birthday_batch"]
    assert score.value == 400 and "lower bound" in score.note
    assert "lower bound" in scores["birthday_support"].note
    assert scores["birthday_batch_real"].note is None
