r"""Classes a model produces: modes found, and the class histogram against uniform and real.

KL to the uniform histogram and entropy are one number, :math:`KL = \log K - H`: papers report
either.

References:
    Srivastava et al., *VEEGAN*, 2017 (arXiv:1705.07761); Lin et al., *PacGAN*, 2018
    (arXiv:1712.04086): 26,000 samples of stacked MNIST, modes of 1000 and KL(model || uniform).
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from lightning_gen.errors import MetricError
from lightning_gen.functional.divergences import js_divergence, kl_divergence
from lightning_gen.metrics.feature_measure import FeatureMeasure, Measured
from lightning_gen.metrics.stored import SampleMetric

if TYPE_CHECKING:
    from lightning_gen.metrics.feature_pass import Generated
    from lightning_gen.metrics.real_side import RealSide

SURE = 0.9
MIN_SHARE = 0.02


class Modes(NamedTuple):
    """What a classifier says of a set of samples.

    Attributes:
        found: Classes that hold enough samples the classifier is sure of.
        kl: KL(histogram of all samples || uniform) in nats; 0 at best, log K for one class.
        js: Jensen-Shannon divergence to the real histogram; None without one.
        entropy: Entropy of the histogram in nats; log K at best, 0 for one class.
        confidence: Mean probability of the predicted class.
        histogram: Counts (K,) of the predicted classes, of all samples.
    """

    found: int
    kl: float
    js: float | None
    entropy: float
    confidence: float
    histogram: Tensor


def modes(
    logits: Tensor,
    reference: Tensor | None = None,
    *,
    sure: float = SURE,
    min_share: float = MIN_SHARE,
) -> Modes:
    """Count the classes found among samples.

    A class is found when it holds ``min_share`` of its fair share N / K, and never less than one
    sample, with at least ``sure`` probability each: a classifier's few mistakes are no mode, and
    neither is noise it has to call something. With 26,000 samples of 1000 classes one sample
    suffices, which is the protocol of VEEGAN and PacGAN.

    Args:
        logits: Class logits (N, K).
        reference: Counts (K,) of the real classes.
        sure: Least probability of a sample that counts for a mode, 0 to 1.
        min_share: Least share of N / K that makes a mode, 0 to 1.

    Example:
        >>> seen = modes(50 * torch.eye(4)[torch.tensor([0, 0, 2, 2])])
        >>> seen.found, round(seen.kl, 3)
        (2, 0.693)
    """
    n, classes = logits.shape
    probability, label = logits.softmax(1).max(1)
    needed = max(1, math.ceil(min_share * n / classes))
    confident = label[probability >= sure].bincount(minlength=classes)
    histogram = label.bincount(minlength=classes).cpu()
    return Modes(
        found=int((confident >= needed).sum()),
        kl=float(kl_divergence(histogram)),
        js=None if reference is None else float(js_divergence(histogram, reference.cpu())),
        entropy=entropy(histogram),
        confidence=float(probability.double().mean()),
        histogram=histogram,
    )


def entropy(histogram: Tensor) -> float:
    """Entropy of counts (K,) in nats.

    Example:
        >>> round(entropy(torch.tensor([5, 5, 0])), 4)
        0.6931
    """
    return float(torch.special.entr(histogram.double() / histogram.sum()).sum())


class ModesFound(SampleMetric):
    """The same as a torchmetrics metric over logits (N, K).

    Args:
        sure: Least probability of a sample that counts for a mode.
        min_share: Least share of N / K that makes a mode.

    Example:
        >>> metric = ModesFound()
        >>> metric.update(50 * torch.eye(4))
        >>> metric.compute().found
        4
    """

    def __init__(self, sure: float = SURE, min_share: float = MIN_SHARE, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sure, self.min_share = sure, min_share

    def compute(self) -> Modes:
        """Give modes found, divergences, confidence and histogram."""
        return modes(self.samples(), sure=self.sure, min_share=self.min_share)


class ModesMeasure(FeatureMeasure):
    """Classes found in one evaluation."""

    name = "modes"
    scores = ("modes", "class_kl", "class_js", "class_entropy", "mean_confidence")
    needs_classes = True

    def options(self) -> Mapping[str, Any]:
        """When a class is found."""
        return {"sure": SURE, "min_share": MIN_SHARE}

    def compute(self, real: "RealSide", fake: "Generated") -> Measured:
        """Count the classes the extractor sees."""
        if not real.network.knows_classes:
            raise MetricError(f"{real.network.name} does not know the classes of the data")
        seen = modes(fake.logits, real.reference.histogram)
        return class_facts(seen.found, seen.histogram) | {
            "class_kl": seen.kl,
            "class_js": seen.js,
            "class_entropy": seen.entropy,
            "mean_confidence": seen.confidence,
        }


def class_facts(found: int, histogram: Tensor) -> Measured:
    """What is told of classes, and of the modes of a mixture.

    Args:
        found: Number of them found.
        histogram: Counts (K,) of samples.
    """
    counts = histogram.tolist()
    return {
        "modes": found,
        "modes_found": found,
        "n_classes": len(counts),
        "class_histogram": counts,
    }
