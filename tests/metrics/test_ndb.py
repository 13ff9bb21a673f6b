"""Different bins against third-party tests, expectations and planted losses."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2_contingency, norm

from lightning_gen.errors import MetricError
from lightning_gen.metrics.ndb import Bins, DifferentBins, compare, fit_bins, ndb


def blobs(n, shares, seed=0):
    """Points of well separated groups in the plane."""
    generator = torch.Generator().manual_seed(seed)
    group = torch.multinomial(torch.tensor(shares), n, replacement=True, generator=generator)
    angle = 2 * math.pi * group / len(shares)
    centre = torch.stack([angle.cos(), angle.sin()], 1)
    return centre + 0.01 * torch.randn(n, 2, generator=generator), group


def test_each_cell_is_tested_as_by_a_two_by_two_table():
    data, samples = torch.tensor([410, 20, 300, 270]), torch.tensor([21, 9, 40, 30])
    found = ndb(data, samples, z=2.0)
    n, m = int(data.sum()), int(samples.sum())
    squares = [
        chi2_contingency([[a, n - a], [b, m - b]], correction=False).statistic
        for a, b in zip(data.tolist(), samples.tolist(), strict=True)
    ]
    np.testing.assert_allclose(found.z.square().numpy(), squares, rtol=1e-9)
    assert found.z.sign().tolist() == [-1, 1, 1, 1]
    assert found.different == sum(s > 4 for s in squares)
    assert found.js == pytest.approx(jensenshannon(data, samples) ** 2)
    assert ndb(data, 7 * data).different == 0
    assert ndb(data, 7 * data).js == pytest.approx(0, abs=1e-15)


def test_a_cell_that_both_leave_empty_is_no_difference():
    found = ndb(torch.tensor([5, 5, 0]), torch.tensor([0, 10, 0]))
    assert found.z.isfinite().all()
    assert found.z[2] == 0


@pytest.mark.parametrize("z", [1.0, 2.0])
def test_two_samples_of_one_distribution_come_to_the_expectations(z):
    k, n, m, repeats = 20, 4000, 1000, 400
    p = np.full(k, 1 / k)
    draw = np.random.default_rng(0).multinomial
    found = [
        ndb(torch.from_numpy(draw(n, p)), torch.from_numpy(draw(m, p)), z) for _ in range(repeats)
    ]
    share = sum(one.different for one in found) / (k * repeats)
    assert share == pytest.approx(2 * norm.cdf(-z), rel=0.15)
    js = sum(one.js for one in found) / repeats
    assert js == pytest.approx((k - 1) * (1 / n + 1 / m) / 8, rel=0.05)


def test_a_lost_group_is_found_where_it_was():
    data, _ = blobs(5000, [1.0] * 8)
    bins = fit_bins(data, k=8)
    more, group = blobs(2000, [1.0] * 8, seed=1)
    whole, collapsed = compare(bins, more), compare(bins, more[group != 3])
    assert whole.different == 0
    assert collapsed.js > 10 * whole.js
    (worst,) = bins.count(more[group == 3]).nonzero().flatten().tolist()
    assert collapsed.z.argmin() == worst
    assert collapsed.z[worst] < -3


def test_cells_are_those_of_the_nearest_mean_and_hold_all_data():
    data, _ = blobs(1000, [1.0, 2.0, 3.0, 4.0])
    bins = fit_bins(data, k=4)
    assert torch.equal(bins.count(data), bins.counts)
    assert int(bins.counts.sum()) == 1000
    assert bins.centres.dtype == data.dtype
    distance = torch.cdist(data, bins.centres).argmin(1)
    for cell in range(4):
        torch.testing.assert_close(bins.centres[cell], data[distance == cell].mean(0))


def test_cells_follow_from_the_seed_alone():
    data = torch.rand(600, 5, generator=torch.Generator().manual_seed(0))
    before, legacy = torch.get_rng_state(), np.random.get_state()[1].copy()
    one, same, other = (fit_bins(data, k=12, seed=s) for s in (3, 3, 4))
    assert torch.equal(one.centres, same.centres)
    assert not torch.equal(one.centres, other.centres)
    assert torch.equal(before, torch.get_rng_state())
    assert (legacy == np.random.get_state()[1]).all()


@pytest.mark.parametrize(
    ("points", "said"),
    [
        (torch.zeros(0, 2), "0 points are too few, at least 1"),
        (torch.zeros(4, 3), r"points of shape \(4, 3\), the cells are of \(N, 2\)"),
        (torch.zeros(4, 1, 2), r"points of shape \(4, 1, 2\)"),
        (torch.tensor([[0.0, math.nan]]), "points must be finite"),
    ],
)
def test_samples_of_no_use_are_refused(points, said):
    bins = Bins(torch.eye(2), torch.tensor([5, 5]))
    with pytest.raises(MetricError, match=said):
        compare(bins, points)


def test_data_of_no_use_are_refused():
    with pytest.raises(MetricError, match="9 points are too few, at least 10"):
        fit_bins(torch.rand(9, 2), k=10)
    with pytest.raises(MetricError, match="must be finite"):
        fit_bins(torch.full((20, 2), math.inf), k=10)


def test_the_metric_over_batches_equals_the_function():
    bins = fit_bins(blobs(1000, [1.0] * 5)[0], k=5)
    x, _ = blobs(333, [1.0, 1.0, 1.0, 1.0, 3.0], seed=2)
    metric = DifferentBins(bins, z=2.5)
    for batch in x.split(50):
        metric.update(batch)
    found, expected = metric.compute(), compare(bins, x, 2.5)
    assert (found.different, found.js) == (expected.different, expected.js)
    assert found.different > 0
