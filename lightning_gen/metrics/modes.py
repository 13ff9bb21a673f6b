r"""Classes a model produces: modes found, and the class histogram against uniform and real.

References:
    Srivastava et al., *VEEGAN*, 2017 (arXiv:1705.07761); Lin et al., *PacGAN*, 2018
    (arXiv:1712.04086): 26,000 samples of stacked MNIST, modes of 1000 and KL(model || uniform).
"""

import math
from typing import Any, NamedTuple

from torch import Tensor

from lightning_gen.functional.divergences import js_divergence, kl_divergence
from lightning_gen.metrics.stored import SampleMetric

SURE = 0.9
MIN_SHARE = 0.02


class Modes(NamedTuple):
    """What a classifier says of a set of samples.

    Attributes:
        found: Classes that hold enough samples the classifier is sure of.
        kl: KL(histogram of all samples || uniform) in nats; 0 at best, log K for one class.
        js: Jensen-Shannon divergence to the real histogram; None without one.
        confidence: Mean probability of the predicted class.
        histogram: Counts (K,) of the predicted classes, of all samples.
    """

    found: int
    kl: float
    js: float | None
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
        confidence=float(probability.double().mean()),
        histogram=histogram,
    )


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
