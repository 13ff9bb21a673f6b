"""The mode counters on true labels of stacked digits."""

from typing import Any

import torch

from lightning_gen.metrics.modes import modes
from lightning_gen.metrics.protocol import Protocol, Score
from lightning_gen.types import PositiveInt


class ModesOfTrueLabels:
    r"""Classes found and KL to uniform of the data's own labels: what a perfect model scores.

    With p the true frequencies of K classes and N draws, to first order

    .. math::
        E[KL] = KL(p \| \text{uniform}) + \frac{K - 1}{2N} .

    For triples of MNIST's training digits and N = 26,000 that is .0043 for the digits' unequal
    frequencies and .0192 for the draw.

    References:
        Srivastava et al., VEEGAN, 2017, arXiv:1705.07761.
        Lin et al., PacGAN: The power of two samples in GANs, 2018, arXiv:1712.04086.

    Args:
        n: Labels drawn from the training split.
    """

    def __init__(self, n: PositiveInt = 26_000) -> None:
        self.n = n

    def __call__(self, data: Any, *, seed: int, progress: bool) -> list[Score]:
        """Choose labels and count them as a classifier's that is sure of all of them.

        Args:
            data: A data module of labelled images that is set up.
            seed: Seed of the choice.
            progress: It takes seconds.

        Returns:
            ``modes`` and ``class_kl``.
        """
        labels = data.labels("train")
        generator = torch.Generator().manual_seed(seed)
        chosen = labels[torch.randperm(len(labels), generator=generator)[: self.n]]
        logits = torch.zeros(len(chosen), data.num_classes).scatter_(1, chosen[:, None], 50.0)
        found = modes(logits)
        how = Protocol(
            extractor="labels",
            extractor_sha256="",
            resize="",
            n_real=0,
            n_fake=self.n,
            split="train",
            weights="raw",
            seed=seed,
            data_fingerprint=data.fingerprint,
        )
        return [Score("modes", found.found, how), Score("class_kl", found.kl, how)]
