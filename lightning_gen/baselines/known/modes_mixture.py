"""The mode counters on true samples of a known mixture."""

from typing import Any

import torch

from lightning_gen.metrics.mixture import mixture_modes
from lightning_gen.metrics.protocol import Protocol, Score
from lightning_gen.types import PositiveInt


class MixtureModesOfTrueSamples:
    r"""Modes found, high-quality share and reverse KL of the mixture's own points.

    In two dimensions a point is within three standard deviations of its mode with probability
    :math:`1 - e^{-9/2} = .9889`. With M such points over K equally likely modes,
    :math:`2 M \, KL` is asymptotically :math:`\chi^2_{K-1}`, so the KL of the truth is not 0 but
    :math:`(K - 1) / 2M` on average.

    References:
        Srivastava et al., VEEGAN, 2017, arXiv:1705.07761.
        Lin et al., PacGAN: The power of two samples in GANs, 2018, arXiv:1712.04086.

    Args:
        n: Points.
    """

    def __init__(self, n: PositiveInt = 2_500) -> None:
        self.n = n

    def __call__(self, data: Any, *, seed: int, progress: bool) -> list[Score]:
        """Choose training points and count their modes.

        Args:
            data: A data module of a mixture that is set up.
            seed: Seed of the choice.
            progress: It takes no time.

        Returns:
            ``modes``, ``high_quality`` and ``reverse_kl``, measured as models are.
        """
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randperm(data.size("train"), generator=generator)[: self.n]
        found = mixture_modes(data.real("train", rows).image, *data.mixture)
        how = Protocol(
            extractor=data.name,
            extractor_sha256="",
            resize="",
            n_real=0,
            n_fake=self.n,
            split="",
            weights="raw",
            seed=seed,
            data_fingerprint=data.fingerprint,
            options={"radius": "3 std"},
        )
        return [
            Score("modes", found.found, how),
            Score("high_quality", found.high_quality, how),
            Score("reverse_kl", found.kl, how),
        ]
