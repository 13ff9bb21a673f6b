"""Number of different bins of real images: held out, from other writers, and with a mode gone."""

from typing import Any

import torch
from torch import Tensor

from lightning_gen.errors import MetricError
from lightning_gen.functional.pixels import unit_range
from lightning_gen.metrics.ndb import compare, fit_bins
from lightning_gen.metrics.protocol import Protocol, Score
from lightning_gen.types import NonNegativeInt, PositiveFloat, PositiveInt


class NDBOfRealImages:
    r"""Different bins and Jensen-Shannon divergence of three sets of real images.

    The cells are made of a random part of the training images; the rest of them is a second sample
    of the same distribution ("val"), the test images are by other writers ("test"), and the rest
    without one class stands for a model that lost a mode ("val without 9"). See
    :mod:`lightning_gen.metrics.ndb` for the formulae.

    References:
        Richardson & Weiss, On GANs and GMMs, 2018, arXiv:1805.12462, and ``ndb_mnist_demo.py`` of
        its code ``eitanrich/gans-n-gmms``.

    Args:
        bins: Cells.
        n_train: Training images that the cells are made of.
        n_query: Images of each set, fewer where it has fewer.
        lost: Class that the third set lacks.
        z: Difference in standard errors beyond which a cell is different.
        max_iter: Most steps of k-means.
    """

    def __init__(
        self,
        bins: PositiveInt = 100,
        n_train: PositiveInt = 45_000,
        n_query: PositiveInt = 10_000,
        lost: NonNegativeInt = 9,
        z: PositiveFloat = 3.0,
        max_iter: PositiveInt = 100,
    ) -> None:
        self.bins, self.n_train, self.n_query = bins, n_train, n_query
        self.lost, self.z, self.max_iter = lost, z, max_iter

    def __call__(self, data: Any, *, seed: int, progress: bool) -> list[Score]:
        """Make the cells and compare the three sets.

        Args:
            data: A data module of labelled images that is set up.
            seed: Seed of the division, of the choice of images and of k-means.
            progress: k-means has no bar; it takes half a minute.

        Returns:
            ``bin_js`` and ``ndb`` of each set, which is named by the split.

        Raises:
            MetricError: The data have no labels.
        """
        labels = data.labels("train")
        if labels is None:
            raise MetricError("a class cannot be left out of data without labels", where=data.name)
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(labels), generator=generator)
        train, val = order[: self.n_train], order[self.n_train :]
        bins = fit_bins(pixels(data, "train", train), self.bins, seed=seed, max_iter=self.max_iter)
        rows = {
            "val": ("train", val),
            "test": ("test", torch.randperm(data.size("test"), generator=generator)),
            f"val without {self.lost}": ("train", val[labels[val] != self.lost]),
        }
        scores = []
        for name, (split, order) in rows.items():
            query = pixels(data, split, order[: self.n_query])
            found = compare(bins, query, self.z)
            how = Protocol(
                extractor="pixels",
                extractor_sha256="",
                resize="",
                n_real=len(train),
                n_fake=len(query),
                split=name,
                weights="raw",
                seed=seed,
                data_fingerprint=data.fingerprint,
                options={"bins": self.bins, "z": self.z},
            )
            scores += [Score("bin_js", found.js, how), Score("ndb", found.different, how)]
        return scores


def pixels(data: Any, split: str, rows: Tensor) -> Tensor:
    """Some images (N, d) with pixels in [0, 1]."""
    return unit_range(data.real(split, rows).image).flatten(1)
