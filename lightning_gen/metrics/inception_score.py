r"""Exponential of the mutual information between sample and predicted class (IS).

.. math:: IS = \exp \mathbb{E}_x KL(p(y|x) \| p(y))

References:
    Salimans et al., *Improved Techniques for Training GANs*, 2016 (arXiv:1606.03498)
"""

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torchmetrics.image.inception import InceptionScore

from lightning_gen.errors import MetricError
from lightning_gen.metrics.feature_measure import ALREADY_GATHERED, FeatureMeasure, Measured
from lightning_gen.randomness import fold

if TYPE_CHECKING:
    from lightning_gen.metrics.feature_pass import Generated
    from lightning_gen.metrics.real_side import RealSide


class ClassifierScore(InceptionScore):
    """torchmetrics' inception score on logits, in float64, with the splits drawn from a seed.

    Args:
        splits: Parts the samples are shuffled into; the score is the mean over them.
        seed: Seed of the shuffle; torch's generator is left as it was.
        kwargs: torchmetrics' own.

    Example:
        >>> score = ClassifierScore(splits=2)
        >>> score.update(100 * torch.eye(4).repeat(50, 1))
        >>> mean, deviation = score.compute()
        >>> 3.9 < mean <= 4.0001
        tensor(True)
    """

    def __init__(self, splits: int = 10, seed: int = 0, **kwargs: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about the memory of features
            super().__init__(feature=nn.Identity(), splits=splits, **kwargs)
        self.seed = seed

    def update(self, logits: Tensor) -> None:
        """Add logits (N, K)."""
        super().update(logits.double())

    def compute(self) -> tuple[Tensor, Tensor]:
        """Give mean and standard deviation over the splits.

        Raises:
            MetricError: There are fewer samples than classes or than 10 a split, or some are not
                finite.
        """
        n, needed = sum(map(len, self.features)), 10 * self.splits
        if self.features:
            needed = max(needed, self.features[0].shape[1])
        if n < needed:
            raise MetricError(f"{n} samples are too few for an inception score: {needed} needed")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(fold(self.seed, "inception_score"))
            mean, deviation = super().compute()
        if not mean.isfinite():
            raise MetricError("logits are not finite: no inception score")
        return mean, deviation


class InceptionScoreMeasure(FeatureMeasure):
    """Inception score of one evaluation."""

    name, scores = "inception_score", ("inception_score",)

    def options(self) -> Mapping[str, Any]:
        """Number of splits."""
        return {"splits": self.settings.splits, "ci": "std over splits"}

    def compute(self, real: "RealSide", fake: "Generated") -> Measured:
        """Give mean and standard deviation over the splits."""
        metric = ClassifierScore(self.settings.splits, self.settings.seed, **ALREADY_GATHERED)
        metric.update(fake.logits)
        mean, deviation = metric.compute()
        return {"inception_score": float(mean), "inception_score_ci": float(deviation)}
