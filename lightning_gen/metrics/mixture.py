r"""Modes, high-quality share and reverse KL of samples of a known mixture of Gaussians.

References:
    Srivastava et al., *VEEGAN*, 2017 (arXiv:1705.07761); Lin et al., *PacGAN*, 2018
    (arXiv:1712.04086): 2500 samples, a ring of 8 and a grid of 25.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_gen.functional.divergences import kl_divergence
from lightning_gen.metrics.stored import SampleMetric


class Mixture(NamedTuple):
    """What samples show of a mixture of K modes.

    Attributes:
        found: Modes with at least one high-quality sample.
        high_quality: Share of samples within 3 standard deviations of their nearest mode; the
            truth scores 1 - exp(-4.5) = .989 in two dimensions.
        kl: KL(histogram of high-quality samples over modes || uniform) in nats; log K, as for a
            single mode, when there is no such sample.
        histogram: Counts (K,) of the high-quality samples by nearest mode.
    """

    found: int
    high_quality: float
    kl: float
    histogram: Tensor


def mixture_modes(x: Tensor, centres: Tensor, std: float) -> Mixture:
    """Assign samples to modes and count.

    Args:
        x: Samples (N, d).
        centres: Means (K, d) of the modes.
        std: Standard deviation of every mode in every direction.

    Example:
        >>> centres = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
        >>> mixture_modes(torch.tensor([[0.0, 0.02], [0.5, 0.0]]), centres, std=0.01)[:2]
        (1, 0.5)
    """
    distance, mode = torch.cdist(x.double(), centres.double().to(x.device)).min(1)
    histogram = mode[distance <= 3 * std].bincount(minlength=len(centres)).cpu()
    single = torch.eye(1, len(centres))[0]
    return Mixture(
        found=int((histogram > 0).sum()),
        high_quality=int(histogram.sum()) / len(x),
        kl=float(kl_divergence(histogram if histogram.any() else single)),
        histogram=histogram,
    )


class MixtureModes(SampleMetric):
    """The same as a torchmetrics metric over points (N, d).

    Args:
        centres: Means (K, d) of the modes.
        std: Standard deviation of every mode.

    Example:
        >>> metric = MixtureModes(torch.tensor([[0.0, 0.0], [1.0, 0.0]]), std=0.01)
        >>> metric.update(torch.tensor([[1.0, 0.0]]))
        >>> metric.compute().found
        1
    """

    def __init__(self, centres: Tensor, std: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.centres, self.std = centres, std

    def compute(self) -> Mixture:
        """Give modes found, high-quality share, reverse KL and histogram."""
        return mixture_modes(self.samples(), self.centres, self.std)
