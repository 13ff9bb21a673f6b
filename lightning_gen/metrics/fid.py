r"""Frechet distance between Gaussians fitted to real and generated features (FID).

.. math:: d^2 = \|\mu_r - \mu_g\|^2 + \mathrm{tr}(C_r + C_g - 2 (C_r C_g)^{1/2})

References:
    Heusel et al., *GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash
    Equilibrium*, 2017 (arXiv:1706.08500)
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from lightning_gen.errors import MetricError
from lightning_gen.metrics.feature_measure import FeatureMeasure, Measured

if TYPE_CHECKING:
    from lightning_gen.metrics.feature_pass import Generated
    from lightning_gen.metrics.real_side import RealSide


class Identity(nn.Identity):
    """Stands where torchmetrics expects the network: features come in, features go out."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features


class FrechetDistance(FrechetInceptionDistance):
    """torchmetrics' FID on features, in float64, that refuses what has no covariance.

    Real features stay through :meth:`reset`, so they are given once.

    Args:
        num_features: Dimension d of the features.
        allow_singular: Compare also so few samples that a covariance has no inverse.
        kwargs: torchmetrics' own.

    Example:
        >>> fid = FrechetDistance(2)
        >>> real = torch.randn(1000, 2)
        >>> fid.update(real, real=True)
        >>> fid.update(real + torch.tensor([3.0, 4.0]), real=False)
        >>> fid.compute()
        tensor(25.0000, dtype=torch.float64)
    """

    def __init__(self, num_features: int, *, allow_singular: bool = False, **kwargs: Any) -> None:
        super().__init__(feature=Identity(num_features), reset_real_features=False, **kwargs)
        self.num_features, self.allow_singular = num_features, allow_singular

    def update(self, features: Tensor, real: bool) -> None:
        """Add features (N, d).

        Raises:
            MetricError: A feature is not finite; LAPACK would abort the process on it.
        """
        if not features.isfinite().all():
            raise MetricError("features are not finite: no Frechet distance")
        super().update(features.double(), real)

    def compute(self) -> Tensor:
        """Give the distance.

        Raises:
            MetricError: There are not more samples than features on both sides; where singular
                covariances are allowed, not more than one.
        """
        n = int(min(self.real_features_num_samples, self.fake_features_num_samples))
        need = 2 if self.allow_singular else self.num_features + 1
        if n < need:
            raise MetricError(
                f"{n} samples give no covariance of {self.num_features} features",
                fix=f"at least {need} real and generated samples",
            )
        return super().compute()


class FIDMeasure(FeatureMeasure):
    """FID of one evaluation."""

    name, scores = "fid", ("fid",)

    def options(self) -> Mapping[str, Any]:
        """Whether covariances may be singular, where they may."""
        return {"singular": "allowed"} if self.settings.allow_singular else {}

    def compute(self, real: "RealSide", fake: "Generated") -> Measured:
        """Give the distance, from the real side's moments that are known already."""
        metric = real.reference.fid
        metric.reset()
        metric.allow_singular = self.settings.allow_singular
        metric.update(fake.features, real=False)
        return {"fid": float(metric.compute())}
