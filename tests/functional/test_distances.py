"""Distances and divergences against slow or third-party computation."""

import pytest
import torch
from scipy.spatial.distance import jensenshannon, pdist, squareform
from scipy.stats import entropy

from lightning_gen.errors import MetricError
from lightning_gen.functional.distances import distance_blocks, neighbourhood
from lightning_gen.functional.divergences import js_divergence, kl_divergence


@pytest.mark.parametrize("rows", [1, 7, 1024])
def test_blocks_of_any_size_hold_the_same_distances(rows):
    x, y = torch.randn(20, 3), torch.randn(30, 3)
    blocks = torch.cat([d for _, d in distance_blocks(x, y, rows)])
    torch.testing.assert_close(blocks, torch.cdist(x.double(), y.double()), rtol=1e-12, atol=0)


def test_neighbourhood_equals_scipy_and_excludes_self():
    x = torch.randn(1500, 5)
    near, pairs = neighbourhood(x, k=3), squareform(pdist(x.double().numpy()))
    ordered = torch.from_numpy(pairs).sort(1).values
    torch.testing.assert_close(near.nearest, ordered[:, 1])
    torch.testing.assert_close(near.radius, ordered[:, 3])
    assert float(near.mean) == pytest.approx(pdist(x.double().numpy()).mean(), rel=1e-12)


def test_copies_far_from_the_origin_are_no_distance_apart():
    x = (torch.randn(50, 128) + 100).repeat(2, 1)
    assert neighbourhood(x, k=1).nearest.max() < 1e-4


def test_too_few_points_are_refused():
    with pytest.raises(MetricError, match="5 points have no 5-th neighbour"):
        neighbourhood(torch.randn(5, 2), k=5)


def test_divergences_equal_scipy():
    p, q = torch.randint(0, 9, (40,)), torch.randint(1, 9, (40,))
    assert float(kl_divergence(p, q)) == pytest.approx(entropy(p, q), rel=1e-12)
    assert float(kl_divergence(p)) == pytest.approx(entropy(p, torch.ones(40)), rel=1e-12)
    assert float(js_divergence(p, q)) == pytest.approx(jensenshannon(p, q) ** 2, rel=1e-12)


def test_what_the_reference_never_shows_diverges():
    assert kl_divergence(torch.tensor([1, 1]), torch.tensor([1, 0])) == torch.inf
