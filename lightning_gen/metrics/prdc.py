r"""Precision, recall, density and coverage of generated features, by k-nearest-neighbour balls.

With :math:`B_k(x)` the ball around x that reaches to its k-th neighbour of the same set,

.. math::
    \text{precision} &= \tfrac1M \textstyle\sum_j 1[y_j \in \bigcup_i B_k(x_i)] \qquad
    \text{recall} = \tfrac1N \sum_i 1[x_i \in \bigcup_j B_k(y_j)] \\
    \text{density} &= \tfrac1{kM} \textstyle\sum_j \sum_i 1[y_j \in B_k(x_i)] \qquad
    \text{coverage} = \tfrac1N \sum_i 1[\exists j: y_j \in B_k(x_i)]

References:
    Kynkaanniemi et al., *Improved Precision and Recall Metric for Assessing Generative Models*,
    2019 (arXiv:1904.06991); Naeem et al., *Reliable Fidelity and Diversity Metrics for Generative
    Models*, 2020 (arXiv:2002.09797)
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from lightning_gen.functional.distances import distance_blocks, neighbourhood
from lightning_gen.metrics.feature_measure import Measured, PairMeasure
from lightning_gen.metrics.stored import TwoSampleMetric

if TYPE_CHECKING:
    from lightning_gen.metrics.feature_pass import Generated
    from lightning_gen.metrics.real_side import RealSide


class PRDC(NamedTuple):
    """Fidelity (precision, density) and diversity (recall, coverage); density may exceed 1."""

    precision: float
    recall: float
    density: float
    coverage: float


def prdc(
    real: Tensor,
    fake: Tensor,
    k: int = 5,
    *,
    real_radius: Tensor | None = None,
    fake_radius: Tensor | None = None,
) -> PRDC:
    """Compute all four; balls are open and a point is no neighbour of itself, as in Naeem et al.

    Args:
        real: Features x (N, d).
        fake: Features y (M, d); N and M equal if values are to be compared with the literature.
        k: Neighbours a ball reaches to, 5 in Naeem et al., 3 in Kynkaanniemi et al.
        real_radius: Radii (N,) of the real balls where they are known already.
        fake_radius: The same of the generated ones (M,).

    Example:
        >>> x = torch.randn(500, 8)
        >>> one = prdc(x, x[:1].expand(500, 8))
        >>> one.precision, one.recall, one.coverage < 0.1
        (1.0, 0.0, True)
    """
    radius_x = neighbourhood(real, k).radius if real_radius is None else real_radius
    radius_y = neighbourhood(fake, k).radius if fake_radius is None else fake_radius
    holders = torch.zeros(len(fake), dtype=torch.long, device=fake.device)
    recalled, covered = 0, 0
    for here, distance in distance_blocks(real, fake):
        inside = distance < radius_x[here, None]
        holders += inside.sum(0)
        covered += int(inside.any(1).sum())
        recalled += int((distance < radius_y).any(1).sum())
    n, m = len(real), len(fake)
    return PRDC(
        precision=int((holders > 0).sum()) / m,
        recall=recalled / n,
        density=int(holders.sum()) / (k * m),
        coverage=covered / n,
    )


class PrecisionRecallDensityCoverage(TwoSampleMetric):
    """The four as a torchmetrics metric over features (N, d).

    Args:
        k: Neighbours a ball reaches to.

    Example:
        >>> metric = PrecisionRecallDensityCoverage(k=5)
        >>> metric.update(torch.randn(300, 4), real=True)
        >>> metric.update(torch.randn(300, 4), real=False)
        >>> metric.compute().coverage > 0.9
        True
    """

    def __init__(self, k: int = 5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.k = k

    def compute(self) -> PRDC:
        """Give the four."""
        return prdc(*self.sides(), self.k)


class PRDCMeasure(PairMeasure):
    """Precision, recall, density and coverage of one evaluation."""

    name, scores = "prdc", ("precision", "recall", "density", "coverage")

    def options(self) -> Mapping[str, Any]:
        """Neighbours that a ball reaches to."""
        return {"k": self.settings.k}

    def compute(self, real: "RealSide", fake: "Generated") -> Measured:
        """Give the four of equal numbers of samples."""
        n, k = self.cut(real, fake), self.settings.k
        radii = {
            "real_radius": real.reference.near(n, k).radius,
            "fake_radius": fake.near(n, k).radius,
        }
        return prdc(real.reference.features[:n], fake.features[:n], k, **radii)._asdict()
