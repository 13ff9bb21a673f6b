"""The likelihood of a Gaussian in logit space."""

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lightning_gen.functional.pixels import grey_levels
from lightning_gen.metrics.protocol import Protocol, Score
from lightning_gen.types import PositiveInt

ALPHA = 1e-6


def logits(levels: Tensor, u: Tensor) -> Tensor:
    r"""Bytes with noise, taken to the whole line.

    .. math:: y = \text{logit}(\alpha + (1 - 2 \alpha) x), \qquad x = (k + u) / 256

    Args:
        levels: k, whole numbers 0 to 255, any shape.
        u: Noise in [0, 1), the same shape.

    Example:
        >>> logits(torch.tensor([0.0, 127.0, 255.0]), torch.tensor([0.0, 1.0, 1.0]).double())
        tensor([-13.8155,   0.0000,  13.8155], dtype=torch.float64)
    """
    return (ALPHA + (1 - 2 * ALPHA) * (levels + u) / 256).logit()


def bits_per_dim(log_likelihood: Tensor, y: Tensor) -> Tensor:
    r"""Bits a dimension that a density of logits spends on the bytes they came from.

    A byte's probability is at least the mean of the density of :math:`256 x` over its unit of
    noise, and with :math:`s = \alpha + (1 - 2 \alpha) x` the change of variables is
    :math:`dy/dx = (1 - 2 \alpha) / (s (1 - s))`; so

    .. math::
        -\frac{1}{d \ln 2} \Big( \log p(y) + \sum_j \log \frac{1 - 2 \alpha}{s_j (1 - s_j)} \Big)
        + 8 .

    Args:
        log_likelihood: :math:`\log p(y)` in nats (N,).
        y: Logits (N, d).

    Returns:
        Bits a dimension (N,).

    Example:
        Logits of uniform noise are logistic, and 256 equally likely levels take 8 bits.

        >>> x = torch.rand(5, 784, dtype=torch.float64)
        >>> y = logits(torch.zeros_like(x), 256 * x)
        >>> logistic = -y - 2 * torch.nn.functional.softplus(-y)
        >>> bits_per_dim(logistic.sum(1), y)
        tensor([8.0000, 8.0000, 8.0000, 8.0000, 8.0000], dtype=torch.float64)
    """
    s = y.sigmoid()
    jacobian = math.log1p(-2 * ALPHA) - (s * (1 - s)).log()
    return 8 - (log_likelihood + jacobian.sum(1)) / (y.shape[1] * math.log(2))


def gaussian_log_likelihood(y: Tensor, train: Tensor) -> Tensor:
    r"""Log-density of points under the Gaussian that is most likely for others.

    .. math::
        \log \mathcal{N}(y; \mu, \Sigma), \qquad \mu = \frac1N \sum_i t_i, \qquad
        \Sigma = \frac1N \sum_i (t_i - \mu) (t_i - \mu)^T

    Args:
        y: Points (M, d).
        train: The others t (N, d), N > d.

    Returns:
        Nats (M,).

    Example:
        >>> train = torch.tensor([[-1.0], [1.0]])  # mean 0, variance 1
        >>> gaussian_log_likelihood(torch.zeros(1, 1), train)
        tensor([-0.9189])
    """
    mean = train.mean(0)
    centred = train - mean
    factor = torch.linalg.cholesky(centred.T @ centred / len(train))
    white = torch.linalg.solve_triangular(factor, (y - mean).T, upper=False)  # (d, M)
    log_det = factor.diagonal().log().sum()
    return -white.square().sum(0) / 2 - log_det - y.shape[1] / 2 * math.log(2 * math.pi)


class GaussianInLogitSpace:
    """Mean log-likelihood of dequantised test images under one Gaussian in logit space.

    Note:
        Noise is a whole grey level: x = (k + u) / 256 is in [0, 1). Adding u / 256 to k / 255, as
        images are read today, leaves [0, 1] in nine images of ten, and logit has no value there.

    References:
        Papamakarios et al., Masked autoregressive flow for density estimation, 2017,
        arXiv:1705.07057, and ``datasets/mnist.py`` of its code ``gpapamak/maf``.

    Args:
        n_train: Training images, the first; the paper holds the last 10,000 out.
    """

    def __init__(self, n_train: PositiveInt = 50_000) -> None:
        self.n_train = n_train

    def __call__(self, data: Any, *, seed: int, progress: bool) -> list[Score]:
        """Fit and score.

        Args:
            data: A data module of images that is set up.
            seed: Seed of the noise.
            progress: It takes seconds.

        Returns:
            ``log_likelihood`` in nats in logit space and ``bits_per_dim``, with two standard errors
            over test images.
        """
        generator = torch.Generator().manual_seed(seed)
        y = {}
        for split, n in (("train", self.n_train), ("test", data.size("test"))):
            levels = grey_levels(data.real(split, torch.arange(n)).image).flatten(1)
            noise = torch.rand(levels.shape, generator=generator, dtype=torch.float64)
            y[split] = logits(levels, noise)
        found = gaussian_log_likelihood(y["test"], y["train"])
        how = Protocol(
            extractor="pixels",
            extractor_sha256="",
            resize="",
            n_real=len(found),
            n_fake=0,
            split="test",
            weights="raw",
            seed=seed,
            data_fingerprint=data.fingerprint,
            options={
                "kind": "exact",
                "dequantisation": "(k + u) / 256",
                "ci": "two standard errors over test points",
            },
        )
        nats = replace(how, options={**how.options, "space": f"logit, alpha {ALPHA:g}"})
        bits = bits_per_dim(found, y["test"])
        return [
            Score("log_likelihood", float(found.mean()), nats, ci=two_standard_errors(found)),
            Score("bits_per_dim", float(bits.mean()), how, ci=two_standard_errors(bits)),
        ]


def two_standard_errors(x: Tensor) -> float:
    """Two standard errors of the mean of values (N,)."""
    return 2 * float(x.std()) / math.sqrt(len(x))
