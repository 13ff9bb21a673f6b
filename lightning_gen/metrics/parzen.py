r"""Log-likelihood of test data under a Parzen window over samples, in nats.

.. math::
    \log p(x) = \log \frac1M \sum_j \mathcal{N}(x; y_j, \sigma^2 I)

References:
    Goodfellow et al., *Generative Adversarial Networks*, 2014 (arXiv:1406.2661), and its code
    ``parzen_ll.py``; Theis et al., *A note on the evaluation of generative models*, 2015
    (arXiv:1511.01844): why the number does not rank models, and 243 for real MNIST digits.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from lightning_gen.errors import MetricError
from lightning_gen.functional.distances import distance_blocks

SIGMAS = tuple(torch.logspace(-1, 0, 10, dtype=torch.float64).tolist())


class Parzen(NamedTuple):
    """The mean log-likelihood in nats, the standard error over test points, and the bandwidth."""

    mean: float
    se: float
    sigma: float


def parzen_log_likelihood(
    x: Tensor, samples: Tensor, sigmas: Sequence[float], *, progress: bool = False
) -> Tensor:
    """Log-density of points under Gaussian windows over samples, for several bandwidths at once.

    Args:
        x: Points (N, d).
        samples: Centres (M, d) of the windows.
        sigmas: Bandwidths, S of them.
        progress: Show a bar.

    Returns:
        Log-densities (S, N) in nats, float64.

    Example:
        >>> parzen_log_likelihood(torch.zeros(1, 2), torch.zeros(3, 2), [1.0])
        tensor([[-1.8379]], dtype=torch.float64)
    """
    m, d = samples.shape
    rows = 500
    rest = [math.log(m) + d / 2 * math.log(2 * math.pi * s**2) for s in sigmas]
    blocks = tqdm(
        distance_blocks(x, samples, rows),
        "parzen",
        total=math.ceil(len(x) / rows),
        leave=False,
        disable=not progress,
    )
    out = []
    for _, distance in blocks:
        energy = distance.square().neg().div(2)
        out.append(torch.stack([(energy / s**2).logsumexp(1) for s in sigmas]))
    return torch.cat(out, dim=1) - torch.tensor(rest, dtype=torch.float64, device=x.device)[:, None]


def parzen(
    samples: Tensor,
    valid: Tensor,
    test: Tensor,
    sigmas: Sequence[float] = SIGMAS,
    *,
    progress: bool = False,
) -> Parzen:
    """Choose the bandwidth on validation points and score the test points.

    The number depends on the protocol: pixels in [0, 1], 10,000 samples, the ten bandwidths of
    [.1, 1], 1000 validation and 10,000 test points.

    Args:
        samples: Generated samples (M, ...), flattened here.
        valid: Validation points (V, ...).
        test: Test points (N, ...).
        sigmas: Bandwidths to choose from.
        progress: Show a bar.

    Raises:
        MetricError: A value is not finite or outside of [0, 1].
    """
    for name, points in (("samples", samples), ("valid", valid), ("test", test)):
        if not ((points >= 0) & (points <= 1)).all():
            raise MetricError(f"Parzen: {name} must be finite and in [0, 1]", fix="(x + 1) / 2")
    samples, valid, test = samples.flatten(1), valid.flatten(1), test.flatten(1)
    best = int(parzen_log_likelihood(valid, samples, sigmas).mean(1).argmax())
    score = parzen_log_likelihood(test, samples, [sigmas[best]], progress=progress)[0]
    return Parzen(float(score.mean()), float(score.std()) / math.sqrt(len(test)), sigmas[best])
