r"""Unbiased squared MMD of features under a cubic kernel, mean and deviation over subsets (KID).

.. math:: k(x, y) = (x \cdot y / d + 1)^3

References:
    Binkowski et al., *Demystifying MMD GANs*, 2018 (arXiv:1801.01401)
"""

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torchmetrics.image.kid import KernelInceptionDistance

from lightning_gen.errors import MetricError
from lightning_gen.metrics.feature_measure import ALREADY_GATHERED, FeatureMeasure, Measured
from lightning_gen.metrics.fid import Identity
from lightning_gen.randomness import fold

if TYPE_CHECKING:
    from lightning_gen.metrics.feature_pass import Generated
    from lightning_gen.metrics.real_side import RealSide


class KernelDistance(KernelInceptionDistance):
    """torchmetrics' KID on features, in float64, with subsets drawn from a seed of its own.

    Args:
        subsets: Number of random subsets.
        subset_size: Samples of each side in a subset.
        seed: Seed of the subsets; torch's generator is left as it was.
        kwargs: torchmetrics' own.

    Example:
        >>> kid = KernelDistance(subsets=10, subset_size=50)
        >>> kid.update(torch.randn(100, 8), real=True)
        >>> kid.update(torch.randn(100, 8) + 1, real=False)
        >>> mean, deviation = kid.compute()
        >>> bool(mean > 1)
        True
    """

    def __init__(
        self, subsets: int = 100, subset_size: int = 1000, seed: int = 0, **kwargs: Any
    ) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about the memory of features
            super().__init__(Identity(1), subsets, subset_size, **kwargs)
        self.seed = seed

    def update(self, features: Tensor, real: bool) -> None:
        """Add features (N, d)."""
        super().update(features.double(), real)

    def compute(self) -> tuple[Tensor, Tensor]:
        """Give mean and standard deviation over the subsets.

        Raises:
            MetricError: There are fewer samples than a subset needs, or some are not finite.
        """
        n = min(sum(map(len, side)) for side in (self.real_features, self.fake_features))
        if n < self.subset_size:
            raise MetricError(
                f"{n} samples do not fill a KID subset of {self.subset_size}",
                fix=f"at least {self.subset_size} samples, or a smaller kid_subset_size",
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(fold(self.seed, "kid"))
            mean, deviation = super().compute()
        if not mean.isfinite():
            raise MetricError("features are not finite: no kernel distance")
        return mean, deviation


class KIDMeasure(FeatureMeasure):
    """KID of one evaluation."""

    name, scores = "kid", ("kid",)

    def options(self) -> Mapping[str, Any]:
        """Number and size of the subsets."""
        settings = self.settings
        subsets = {"subsets": settings.kid_subsets, "subset_size": settings.kid_subset_size}
        return {**subsets, "ci": "std over subsets"}

    def compute(self, real: "RealSide", fake: "Generated") -> Measured:
        """Give mean and standard deviation over the subsets."""
        settings = self.settings
        metric = KernelDistance(
            settings.kid_subsets, settings.kid_subset_size, settings.seed, **ALREADY_GATHERED
        )
        metric.update(real.reference.features, real=True)
        metric.update(fake.features, real=False)
        mean, deviation = metric.compute()
        return {"kid": float(mean), "kid_ci": float(deviation)}
