"""Precision, recall, density and coverage of two samples of one distribution."""

from typing import Any

import torch
from tqdm import tqdm

from lightning_gen.functional.distances import neighbourhood
from lightning_gen.metrics.prdc import prdc
from lightning_gen.metrics.protocol import Protocol, Score
from lightning_gen.types import PositiveInt


class PRDCOfEqualGaussians:
    r"""The four for two independent samples of N(0, I), which no test could tell apart.

    A ball reaches to its k-th neighbour among n - 1 points, and each of n other points is as
    likely to be among the k nearest, whatever the dimension; so

    .. math::
        E[\text{density}] = 1, \qquad
        E[\text{coverage}] = 1 - \prod_{i=1}^{k} \frac{n - i}{2n - i} .

    Note:
        In 1000 dimensions points near the origin lie in thousands of balls, and the density of one
        draw differs from the next by some .07 (standard deviation). Precision and recall have no
        such form: that they are not 1 is what the authors object to in them.

    References:
        Naeem et al., Reliable Fidelity and Diversity Metrics for Generative Models, 2020,
        arXiv:2002.09797, and its code ``clovaai/generative-evaluation-prdc``.

    Args:
        n: Points of each sample.
        dimension: Dimension.
        k: Neighbours that balls reach to.
    """

    def __init__(
        self, n: PositiveInt = 10_000, dimension: PositiveInt = 1_000, k: PositiveInt = 5
    ) -> None:
        self.n, self.dimension, self.k = n, dimension, k

    def __call__(self, data: Any, *, seed: int, progress: bool) -> list[Score]:
        """Draw two samples and compare them.

        Args:
            data: Not needed.
            seed: Seed of both samples.
            progress: Show a bar.

        Returns:
            ``precision``, ``recall``, ``density`` and ``coverage``.
        """
        generator = torch.Generator().manual_seed(seed)
        x, y = (torch.randn(self.n, self.dimension, generator=generator) for _ in range(2))
        with tqdm(total=3, desc="prdc", leave=False, disable=not progress) as bar:
            radii = {}
            for name, points in (("real_radius", x), ("fake_radius", y)):
                radii[name] = neighbourhood(points, self.k).radius
                bar.update()
            found = prdc(x, y, self.k, **radii)
            bar.update()
        how = Protocol(
            extractor=f"normal{self.dimension}d",
            extractor_sha256="",
            resize="",
            n_real=self.n,
            n_fake=self.n,
            split="",
            weights="raw",
            seed=seed,
            data_fingerprint="",
            options={"k": self.k},
        )
        return [Score(metric, value, how) for metric, value in found._asdict().items()]
