"""The error of the nearest neighbour among real images."""

from typing import Any

import torch

from lightning_gen.errors import MetricError
from lightning_gen.functional.pixels import grey_levels
from lightning_gen.metrics.nearest_neighbour import nearest_neighbour_error
from lightning_gen.metrics.protocol import Protocol, Score
from lightning_gen.types import PositiveInt


class NearestNeighbourError:
    """Share of test images whose nearest training image is of another class.

    The distance is Euclidean between raw pixels. Models are measured by the same number with their
    labelled samples in place of the training images (DCGAN, table 3); this is its reference row.

    References:
        LeCun, Cortes & Burges, The MNIST database of handwritten digits, 1998: the table of test
        errors, K-nearest-neighbors without preprocessing, Kenneth Wilder.
        Radford et al., Unsupervised representation learning with deep convolutional generative
        adversarial networks, 2016, arXiv:1511.06434.

    Args:
        n_train: Training images, the first; None takes all.
        n_test: Test images, the first; None takes all.
        rows: Test images at a time; a block takes at most 8 x rows x 16,384 bytes.
    """

    def __init__(
        self,
        n_train: PositiveInt | None = None,
        n_test: PositiveInt | None = None,
        rows: PositiveInt = 500,
    ) -> None:
        self.n_train, self.n_test, self.rows = n_train, n_test, rows

    def __call__(self, data: Any, *, seed: int, progress: bool) -> list[Score]:
        """Look for the neighbours.

        Args:
            data: A data module of labelled images that is set up.
            seed: Nothing is random here.
            progress: Show a bar.

        Returns:
            ``nearest_neighbour_error``, 0 to 1.

        Raises:
            MetricError: The data have no labels.
        """
        sets, labels = {}, {}
        for split, n in (("train", self.n_train), ("test", self.n_test)):
            image, label = data.real(
                split, torch.arange(min(n or data.size(split), data.size(split)))
            )
            if label is None:
                raise MetricError("there is no class to get wrong without labels", where=data.name)
            # Squares and products of whole numbers are exact in float64: no rounding decides.
            sets[split], labels[split] = grey_levels(image).flatten(1).double(), label
        error = nearest_neighbour_error(
            sets["test"],
            labels["test"],
            sets["train"],
            labels["train"],
            rows=self.rows,
            progress=progress,
        )
        how = Protocol(
            extractor="pixels",
            extractor_sha256="",
            resize="",
            n_real=len(sets["test"]),
            n_fake=len(sets["train"]),
            split="test",
            weights="raw",
            seed=seed,
            data_fingerprint=data.fingerprint,
            options={"neighbours": 1, "distance": "Euclidean"},
        )
        return [Score("nearest_neighbour_error", error, how)]
