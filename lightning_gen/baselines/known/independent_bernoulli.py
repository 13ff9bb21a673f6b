"""The likelihood of independent pixels on binarised images."""

import math
from typing import Any

import torch

from lightning_gen.functional.pixels import unit_range
from lightning_gen.metrics.protocol import Protocol, Score


class IndependentBernoulli:
    r"""Negative log-likelihood of test images under a coin for each pixel: the floor of all models.

    With dynamic binarisation pixel j of image i is 1 with probability :math:`x_{ij}`, its grey
    value, so the mean over binarisations needs no drawing:

    .. math::
        -\frac1N \sum_{ij} x_{ij} \log p_j + (1 - x_{ij}) \log (1 - p_j), \qquad
        p_j = \frac{1 + \sum_i t_{ij}}{2 + M}

    over M training images t. One image more of either colour keeps p off 0 at the rim, where a few
    test images have ink and no training image does.

    References:
        Salakhutdinov & Murray, On the quantitative analysis of deep belief networks, 2008,
        doi:10.1145/1390156.1390266: images binarised at random by their grey values.
    """

    def __call__(self, data: Any, *, seed: int, progress: bool) -> list[Score]:
        """Take the means of the training images and score the test images.

        Args:
            data: A data module of images that is set up.
            seed: Nothing is random here.
            progress: It takes a second.

        Returns:
            ``nll`` in nats with its standard error over test images.
        """
        train, test = (unit_range(data.real(s).image).flatten(1) for s in ("train", "test"))
        p = (1 + train.sum(0, dtype=torch.float64)) / (2 + len(train))
        nll = -(test @ p.log().float() + (1 - test) @ (-p).log1p().float())
        how = Protocol(
            extractor="pixels",
            extractor_sha256="",
            resize="",
            n_real=len(test),
            n_fake=0,
            split="test",
            weights="raw",
            seed=seed,
            data_fingerprint=data.fingerprint,
            options={
                "kind": "exact",
                "binarisation": "dynamic, mean",
                "ci": "standard error over test points",
            },
        )
        se = float(nll.std()) / math.sqrt(len(nll))
        return [Score("nll", float(nll.double().mean()), how, ci=se)]
