r"""Number of statistically different bins: do samples fill the cells of the data as the data do?

The data are divided into K Voronoi cells by k-means. With :math:`p_k` the share of n data and
:math:`q_k` the share of m samples that fall into cell k, and :math:`\bar p_k` the share of both
together, a cell is different where

.. math::
    |z_k| > z, \qquad z_k = \frac{q_k - p_k}{\sqrt{\bar p_k (1 - \bar p_k) (1/n + 1/m)}} .

Two samples of one distribution differ in :math:`2 K \Phi(-z)` cells, and their Jensen-Shannon
divergence is :math:`(K - 1) (1/n + 1/m) / 8` nats, both in expectation.

References:
    Richardson & Weiss, *On GANs and GMMs*, 2018 (arXiv:1805.12462).
    Its code ``eitanrich/gans-n-gmms``, whose threshold is a level of .05 (z = 1.96) in the class, 3
    in the README and 4 in the newest demonstration: the count means nothing without it.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from sklearn.cluster import KMeans
from torch import Tensor

from lightning_gen.errors import MetricError
from lightning_gen.functional.distances import nearest
from lightning_gen.functional.divergences import js_divergence
from lightning_gen.metrics.feature_measure import FeatureMeasure, Measured, Subject
from lightning_gen.metrics.feature_pass import shrunk
from lightning_gen.metrics.protocol import Protocol
from lightning_gen.metrics.real_side import PART, train_count, train_split
from lightning_gen.metrics.stored import SampleMetric

if TYPE_CHECKING:
    from lightning_gen.metrics.feature_pass import Generated
    from lightning_gen.metrics.real_side import RealSide

Z = 3.0
LARGEST = 32  # pixels a side: k-means on more would take long, and cells are of coarse differences
PER_CELL = 100  # training images, at least


@dataclass(frozen=True)
class Bins:
    """A partition of the data.

    Args:
        centres: Means (K, d) of the cells.
        counts: How many of the data (K,) lie in each.
    """

    centres: Tensor
    counts: Tensor

    def count(self, x: Tensor) -> Tensor:
        """How many of the points (N, d) lie in each cell (K,): that of the nearest mean.

        Raises:
            MetricError: There are no points, they are not finite, or they have another d.
        """
        _check(x, 1, self.centres.shape[1])
        _, cell = nearest(x, self.centres.to(x.device))
        return cell.bincount(minlength=len(self.centres))


class NDB(NamedTuple):
    """How unlike two histograms over the same cells are.

    Attributes:
        different: Number of cells whose shares differ.
        js: Jensen-Shannon divergence of the shares, in nats.
        z: Difference of the shares (K,) in standard errors; positive where there are too many
            samples, 0 where a cell is empty in both.
    """

    different: int
    js: float
    z: Tensor


def fit_bins(reference: Tensor, k: int = 100, *, seed: int = 0, max_iter: int = 100) -> Bins:
    """Divide data into cells by k-means.

    Args:
        reference: Data (N, d); the paper divides pixels in [0, 1] without whitening.
        k: Number of cells; the paper wants some 500 data in each.
        seed: Seed of the first means (k-means++).
        max_iter: Most steps of k-means.

    Raises:
        MetricError: There are fewer data than cells, or they are not finite.
    """
    _check(reference, k, reference.shape[1])
    points = reference.detach().cpu().numpy()
    # Elkan's algorithm gives the same as Lloyd's in less time.
    found = KMeans(k, max_iter=max_iter, n_init=1, algorithm="elkan", random_state=seed).fit(points)
    centres = torch.from_numpy(found.cluster_centers_).to(reference)
    return Bins(centres, torch.from_numpy(found.labels_).long().bincount(minlength=k))


def ndb(reference: Tensor, samples: Tensor, z: float = 3.0) -> NDB:
    """Compare how data and samples are shared out over cells.

    Args:
        reference: Counts (K,) of the data.
        samples: Counts (K,) of the samples.
        z: Difference in standard errors beyond which a cell is different.

    Example:
        >>> found = ndb(torch.tensor([500, 500, 0]), torch.tensor([30, 70, 0]))
        >>> found.different, round(found.js, 4), found.z.round(decimals=2)
        (2, 0.021, tensor([-3.8200,  3.8200,  0.0000], dtype=torch.float64))
    """
    p, q = reference.double().cpu(), samples.double().cpu()
    n, m = p.sum(), q.sum()
    both = (p + q) / (n + m)
    error = (both * (1 - both) * (1 / n + 1 / m)).sqrt()
    gap = q / m - p / n
    score = torch.where(error > 0, gap / error, 0)
    return NDB(int((score.abs() > z).sum()), float(js_divergence(p, q)), score)


def compare(bins: Bins, samples: Tensor, z: float = 3.0) -> NDB:
    """Compare samples with the data that cells were made of.

    Args:
        bins: From :func:`fit_bins`.
        samples: Samples (M, d), in the same range as the data.
        z: Difference in standard errors beyond which a cell is different.

    Raises:
        MetricError: There are no samples, they are not finite, or they have another d.
    """
    return ndb(bins.counts, bins.count(samples), z)


class DifferentBins(SampleMetric):
    """The same as a torchmetrics metric over samples (N, d).

    Args:
        bins: From :func:`fit_bins`.
        z: Difference in standard errors beyond which a cell is different.

    Example:
        >>> x = torch.tensor([[0.0], [0.1], [1.0], [1.1]]).repeat(50, 1)
        >>> metric = DifferentBins(fit_bins(x, k=2))
        >>> metric.update(x[::4])
        >>> metric.compute().different
        2
    """

    def __init__(self, bins: Bins, z: float = 3.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.bins, self.z = bins, z

    def compute(self) -> NDB:
        """Give the number of different cells, the divergence and each cell's difference."""
        return compare(self.bins, self.samples(), self.z)


class NDBMeasure(FeatureMeasure):
    """Different bins of one evaluation: pixels in [0, 1], in cells of training images."""

    name, scores = "ndb", ("ndb", "bin_js")
    needs_pixels = True

    def protocol(self, subject: Subject) -> Protocol:
        """Pixels against training images; number of cells, and when one is different."""
        data = subject.data
        n = train_count(data, self.settings.n_train)
        return replace(
            subject.how,
            extractor="pixels",
            extractor_sha256="",
            resize=f"area-{LARGEST}" if max(data.shape[1:]) > LARGEST else "",
            n_real=n,
            n_fake=min(subject.how.n_fake, self.settings.n_pairs),
            split=train_split(data),
            options={"bins": self.cells(n), "z": Z},
        )

    def cells(self, n: int) -> int:
        """Number of cells of n training images."""
        return max(1, min(self.settings.bins, n // PER_CELL))

    def compute(self, real: "RealSide", fake: "Generated") -> Measured:
        """Compare how samples and training images are shared out over cells that are made once."""
        split, n = train_split(real.data), train_count(real.data, self.settings.n_train)
        k = self.cells(n)

        def points(pixels: Tensor) -> Tensor:
            return shrunk(pixels.float() / 255, LARGEST).flatten(1)

        def make() -> dict[str, Tensor]:
            parts = real.rows(split, n).split(PART)
            data = torch.cat([points(real.pixels(split, rows)) for rows in parts])
            bins = fit_bins(data, k)
            return {"centres": bins.centres, "counts": bins.counts}

        facts = ["bins 1", *real.facts(split, n), k, LARGEST]
        bins = Bins(**real.made("bins", facts, ["centres", "counts"], make))
        found = compare(bins, points(fake.pixels), Z)
        expected = (k - 1) * (1 / n + 1 / len(fake.pixels)) / 8  # of a perfect model
        return {
            "ndb": found.different,
            "bin_js": found.js,
            "bin_js_excess": max(0.0, found.js - expected),
        }


def _check(x: Tensor, least: int, d: int) -> None:
    if x.ndim != 2 or x.shape[1] != d:
        raise MetricError(f"NDB: points of shape {tuple(x.shape)}, the cells are of (N, {d})")
    if len(x) < least:
        raise MetricError(f"NDB: {len(x)} points are too few, at least {least} are needed")
    if not x.isfinite().all():
        raise MetricError("NDB: points must be finite")
