"""The reconstruction error of principal components."""

from typing import Any

import torch

from lightning_gen.functional.pixels import unit_range
from lightning_gen.metrics.protocol import Protocol, Score
from lightning_gen.types import PositiveInt


class PCAReconstruction:
    r"""Mean squared error of images rebuilt from their first principal components.

    .. math::
        \frac1N \sum_i \| x_i - \mu - V V^T (x_i - \mu) \|^2

    with the mean :math:`\mu` of the training images and the leading eigenvectors V of their
    covariance. The error is summed over pixels, which are in [0, 1].

    References:
        Hinton & Salakhutdinov, Reducing the dimensionality of data with neural networks, 2006,
        doi:10.1126/science.1127647.

    Args:
        components: Columns of V.
    """

    def __init__(self, components: PositiveInt = 30) -> None:
        self.components = components

    def __call__(self, data: Any, *, seed: int, progress: bool) -> list[Score]:
        """Fit on the training images and rebuild both splits.

        Args:
            data: A data module of images that is set up.
            seed: Nothing is random here.
            progress: It takes seconds.

        Returns:
            ``reconstruction_error`` on the test and on the training images.
        """
        x = {split: unit_range(data.real(split).image).flatten(1) for split in ("train", "test")}
        train = x["train"]
        mean = train.mean(0, dtype=torch.float64)
        covariance = torch.zeros(train.shape[1], train.shape[1], dtype=torch.float64)
        for block in train.split(4096):  # in float64 the whole would take 400 MB more
            covariance += (block - mean).T @ (block - mean) / len(train)
        V = torch.linalg.eigh(covariance).eigenvectors[:, -self.components :]

        def error(split: str) -> Score:
            total = 0.0
            for block in x[split].split(4096):
                centred = block - mean
                total += float((centred - centred @ V @ V.T).square().sum())
            how = Protocol(
                extractor="pixels",
                extractor_sha256="",
                resize="",
                n_real=len(x[split]),
                n_fake=0,
                split=split,
                weights="raw",
                seed=seed,
                data_fingerprint=data.fingerprint,
                options={"components": self.components, "error": "sum over pixels"},
            )
            return Score("reconstruction_error", total / len(x[split]), how)

        return [error("test"), error("train")]
