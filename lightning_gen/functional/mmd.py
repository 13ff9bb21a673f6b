"""The maximum mean discrepancy between two sets of vectors."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Kernel = Callable[[Tensor, Tensor], Tensor]


def inverse_multiquadratics(
    variance: float = 1.0, scales: Sequence[float] = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
) -> Kernel:
    r"""The kernel of heavy tails, summed over scales s.

    .. math:: k(x, y) = \sum_s \frac{s C}{s C + \|x - y\|^2}, \qquad C = 2 d \sigma^2

    C is what :math:`\|x - y\|^2` is on average, for normal vectors of that variance.

    References:
        Tolstikhin et al., Wasserstein Auto-Encoders, 2017, arXiv:1711.01558, section 4, and the
        scales of the authors' code.

    Args:
        variance: :math:`\sigma^2` of each component.
        scales: Of the distances at which the kernel falls.

    Returns:
        A function of vectors (N, d) and (M, d) that gives (N, M).

    Example:
        >>> x = torch.tensor([[0.0], [2.0]])
        >>> inverse_multiquadratics(scales=(1.0,))(x, x)
        tensor([[1.0000, 0.3333],
                [0.3333, 1.0000]])
    """

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        # Not by the expanded square, which loses small distances, nor by norms, whose slope at
        # zero is none.
        square = (x[:, None] - y).square().sum(-1)
        widths = [s * 2 * x.shape[1] * variance for s in scales]
        return torch.stack([c / (c + square) for c in widths]).sum(0)

    return kernel


def squared_mmd(x: Tensor, y: Tensor, kernel: Kernel) -> Tensor:
    r"""An unbiased estimate of the squared discrepancy, which may be negative.

    .. math:: \frac{1}{n (n - 1)} \sum_{i \ne j} k(x_i, x_j)
              + \frac{1}{m (m - 1)} \sum_{i \ne j} k(y_i, y_j)
              - \frac{2}{n m} \sum_{i, j} k(x_i, y_j)

    References:
        Gretton et al., A Kernel Two-Sample Test, 2012, JMLR 13, lemma 6.

    Args:
        x: Vectors (n, d), n > 1.
        y: Vectors (m, d), m > 1.
        kernel: Of two sets of vectors, as :func:`inverse_multiquadratics` gives.

    Raises:
        ValueError: There are fewer than two vectors on a side.

    Example:
        >>> x, y = torch.tensor([[0.0], [2.0]]), torch.tensor([[4.0], [6.0]])
        >>> squared_mmd(x, y, inverse_multiquadratics(scales=(1.0,)))
        tensor(0.3626)
    """
    n, m = len(x), len(y)
    if min(n, m) < 2:
        raise ValueError(f"an unbiased discrepancy needs two vectors on each side, got {n} and {m}")
    within = [
        (k.sum() - k.diagonal().sum()) / (len(k) * (len(k) - 1))
        for k in (kernel(x, x), kernel(y, y))
    ]
    return within[0] + within[1] - 2 * kernel(x, y).mean()
