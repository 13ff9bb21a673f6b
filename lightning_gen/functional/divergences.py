"""Divergences between histograms, in nats; counts are normalised and 0 log 0 is 0."""

import torch
from torch import Tensor


def kl_divergence(p: Tensor, q: Tensor | None = None) -> Tensor:
    r"""Kullback-Leibler divergence between two histograms.

    .. math:: KL(p \| q) = \sum_k p_k \log (p_k / q_k)

    With p the model's histogram and q uniform this is what the mode-collapse papers report as
    (reverse) KL.

    Args:
        p: Counts or probabilities (K,), not all zero.
        q: The same of the reference; None is uniform. Infinite where q is 0 and p is not.

    Example:
        >>> kl_divergence(torch.tensor([5, 5, 0, 0])), kl_divergence(torch.ones(3))
        (tensor(0.6931, dtype=torch.float64), tensor(0., dtype=torch.float64))
    """
    p = p.double() / p.sum()
    q = torch.ones_like(p) / len(p) if q is None else q.double() / q.sum()
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum().clamp(min=0)


def js_divergence(p: Tensor, q: Tensor) -> Tensor:
    r"""Jensen-Shannon divergence between two histograms, at most log 2.

    .. math:: JS(p, q) = \tfrac12 KL(p \| m) + \tfrac12 KL(q \| m), \quad m = (p + q) / 2

    Args:
        p: Counts or probabilities (K,), not all zero.
        q: The same.

    Example:
        >>> js_divergence(torch.tensor([1, 0]), torch.tensor([0, 3]))
        tensor(0.6931, dtype=torch.float64)
    """
    p, q = p.double() / p.sum(), q.double() / q.sum()
    m = (p + q) / 2
    return (kl_divergence(p, m) + kl_divergence(q, m)) / 2
