"""Annealed importance sampling of the partition function of a restricted Boltzmann machine."""

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear, softplus


class LogPartition(NamedTuple):
    """An estimate of log Z and its standard error (of the delta method), both in nats."""

    value: float
    standard_error: float


def ais_temperatures(n: int) -> Tensor:
    r"""Inverse temperatures 0 to 1, denser towards 1.

    Of n, one part in 29 lies below 0.5, eight between 0.5 and 0.9 and twenty above 0.9; with
    n = 14,500 they are the 500, 4,000 and 10,000 of Salakhutdinov & Murray.

    Args:
        n: How many steps there are between 0 and 1, at least 29.

    Returns:
        (n + 1,), in double precision.

    Example:
        >>> betas = ais_temperatures(29)
        >>> betas[[0, 1, 2, 9, 29]]
        tensor([0.0000, 0.5000, 0.5500, 0.9000, 1.0000], dtype=torch.float64)
    """
    if n < 29:
        raise ValueError(f"n must be at least 29 for steps in all three parts, got {n}")
    first, second = n // 29, 8 * n // 29
    parts = ((0.0, 0.5, first), (0.5, 0.9, second), (0.9, 1.0, n - first - second))
    steps = [torch.linspace(a, b, k + 1, dtype=torch.float64)[1:] for a, b, k in parts]
    return torch.cat([torch.zeros(1, dtype=torch.float64), *steps])


@torch.no_grad()
def ais_log_partition(
    weight: Tensor,
    visible_bias: Tensor,
    hidden_bias: Tensor,
    base_bias: Tensor,
    *,
    betas: Tensor,
    runs: int,
    generator: torch.Generator,
) -> LogPartition:
    r"""Estimate log Z by annealing from independent visible units to the machine.

    .. math::
        \log p^*_\beta(v) = ((1 - \beta) b_0 + \beta b)^T v
            + \sum_j \log(1 + e^{\beta (W v + c)_j}), \qquad
        \hat Z = Z_0 \frac1M \sum_{m=1}^M \prod_k
            \frac{p^*_{\beta_k}(v^{(m)}_k)}{p^*_{\beta_{k-1}}(v^{(m)}_k)}

    with :math:`\log Z_0 = H \log 2 + \sum_i \log(1 + e^{b_{0,i}})`; one sweep of block Gibbs
    sampling that leaves :math:`p_{\beta_k}` as it is leads from :math:`v_k` to :math:`v_{k+1}`.
    Z is unbiased, so log Z errs downwards, and likelihoods upwards, when the temperatures are few.

    References:
        Salakhutdinov & Murray, On the quantitative analysis of deep belief networks, 2008,
        doi:10.1145/1390156.1390266; Neal, Annealed importance sampling, 2001,
        arXiv:physics/9803008.

    Args:
        weight: W (H, V).
        visible_bias: b (V,).
        hidden_bias: c (H,).
        base_bias: :math:`b_0` (V,): the log odds of the data's pixels make annealing short.
        betas: Inverse temperatures, ascending from 0 to 1.
        runs: M, all advanced at once.
        generator: Of the runs; a CPU generator gives the same estimate everywhere.

    Returns:
        log Z and its standard error.

    Example:
        Without weights the units are independent, and nothing is left to chance.

        >>> W, b, c = torch.zeros(3, 4), torch.zeros(4), torch.zeros(3)
        >>> given = {"betas": ais_temperatures(29), "runs": 2, "generator": torch.Generator()}
        >>> ais_log_partition(W, b, c, b, **given).value / math.log(2)
        7.0
    """

    def draw(logits: Tensor) -> Tensor:
        u = torch.rand(logits.shape, generator=generator, device=generator.device)
        return (u.to(logits.device) < logits.sigmoid()).to(weight.dtype)

    v = draw(base_bias.expand(runs, -1))
    log_w = torch.zeros(runs, dtype=torch.float64, device=weight.device)
    for before, beta in pairwise(betas.tolist()):
        given = linear(v, weight, hidden_bias)
        ratio = softplus(beta * given) - softplus(before * given)
        log_w += ratio.sum(1, dtype=torch.float64)
        log_w += (beta - before) * (v @ (visible_bias - base_bias)).double()
        h = draw(beta * given)
        v = draw((1 - beta) * base_bias + beta * linear(h, weight.T, visible_bias))
    log_z0 = len(hidden_bias) * math.log(2) + softplus(base_bias.double()).sum()
    w = (log_w - log_w.max()).exp()
    error = w.std() / w.mean() / math.sqrt(runs) if runs > 1 else math.nan
    return LogPartition(float(log_z0 + log_w.max() + w.mean().log()), float(error))
