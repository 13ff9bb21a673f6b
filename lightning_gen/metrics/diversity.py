"""How different samples are from each other: pairwise distance against real, near duplicates.

References:
    Arora and Zhang, *Do GANs Actually Learn the Distribution? An Empirical Study*, 2017
    (arXiv:1706.08224): a set of s samples with duplicates points to a support of about s^2.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

from lightning_gen.errors import MetricError
from lightning_gen.functional.distances import Neighbourhood, neighbourhood
from lightning_gen.metrics.feature_measure import Measured, PairMeasure
from lightning_gen.metrics.stored import TwoSampleMetric

if TYPE_CHECKING:
    from lightning_gen.metrics.feature_pass import Generated
    from lightning_gen.metrics.real_side import RealSide

QUANTILE = 0.01


class Diversity(NamedTuple):
    """Spread of generated features relative to real ones.

    Attributes:
        pairwise_ratio: Mean distance of two generated samples over that of two real ones; 1 for a
            perfect model, 0 for a constant.
        duplicate_rate: Share of generated samples that have another one nearer than all but the
            closest 1 % of real samples have; .01 for a perfect model, 1 for a constant.
    """

    pairwise_ratio: float
    duplicate_rate: float


def diversity(real: Neighbourhood, fake: Neighbourhood, quantile: float = QUANTILE) -> Diversity:
    """Compare distances inside the generated set with those inside the real one.

    Args:
        real: Neighbourhood of N real samples.
        fake: Neighbourhood of as many generated ones; nearest distances shrink with N.
        quantile: Share of real samples whose nearest neighbour counts as a near duplicate, 0 to 1.

    Raises:
        MetricError: All real samples are equal.

    Example:
        >>> x = neighbourhood(torch.randn(200, 4), k=1)
        >>> diversity(x, x)
        Diversity(pairwise_ratio=1.0, duplicate_rate=0.01)
    """
    threshold = near_duplicate(real, quantile)
    return Diversity(
        pairwise_ratio=float(fake.mean / real.mean),
        duplicate_rate=float((fake.nearest < threshold).double().mean()),
    )


def near_duplicate(real: Neighbourhood, quantile: float = QUANTILE) -> Tensor:
    """Distance below which two samples are near duplicates.

    Args:
        real: Neighbourhood of N real samples.
        quantile: Share of them whose nearest neighbour is nearer than that, 0 to 1.

    Raises:
        MetricError: All real samples are equal.
    """
    if not real.mean > 0:
        raise MetricError("all real samples have the same features: no measure of diversity")
    return real.nearest.sort().values[int(quantile * len(real.nearest))]


class FeatureDiversity(TwoSampleMetric):
    """The same as a torchmetrics metric over features (N, d).

    Args:
        quantile: Share of real samples whose nearest neighbour counts as a near duplicate.

    Example:
        >>> metric = FeatureDiversity()
        >>> metric.update(torch.randn(200, 4), real=True)
        >>> metric.update(torch.zeros(200, 4), real=False)
        >>> metric.compute()
        Diversity(pairwise_ratio=0.0, duplicate_rate=1.0)
    """

    def __init__(self, quantile: float = QUANTILE, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.quantile = quantile

    def compute(self) -> Diversity:
        """Give the ratio and the rate."""
        real, fake = (neighbourhood(side, k=1) for side in self.sides())
        return diversity(real, fake, self.quantile)


class DiversityMeasure(PairMeasure):
    """Pairwise distance and near duplicates of one evaluation."""

    name, scores = "diversity", ("pairwise_ratio", "duplicate_rate")

    def options(self) -> Mapping[str, Any]:
        """Share of real samples that count as near duplicates."""
        return {"quantile": QUANTILE}

    def compute(self, real: "RealSide", fake: "Generated") -> Measured:
        """Compare distances among as many generated and real samples."""
        n, k = self.cut(real, fake), self.settings.k
        return diversity(real.reference.near(n, k), fake.near(n, k))._asdict()
