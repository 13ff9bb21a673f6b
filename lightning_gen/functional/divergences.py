"""Divergences in nats: of histograms (counts are normalised, 0 log 0 is 0) and of Gaussians."""

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


def kl_normals(mean_p: Tensor, std_p: Tensor, mean_q: Tensor, std_q: Tensor) -> Tensor:
    r"""Kullback-Leibler divergence between normal variables, element by element.

    .. math:: KL(p \| q) = \log \frac{\sigma_q}{\sigma_p}
              + \frac{\sigma_p^2 + (\mu_p - \mu_q)^2}{2 \sigma_q^2} - \frac12

    Between Gaussians with diagonal covariance it is the sum over dimensions.

    Args:
        mean_p: Means of p, any shape.
        std_p: Its standard deviations, positive.
        mean_q: The same of q, of shapes that broadcast.
        std_q: Its standard deviations, positive.

    Example:
        >>> zero, one = torch.zeros(2), torch.ones(2)
        >>> kl_normals(torch.tensor([1.0, 0.0]), one, zero, torch.tensor([1.0, 2.0]))
        tensor([0.5000, 0.3181])
    """
    ratio, shift = std_p / std_q, (mean_p - mean_q) / std_q
    return (ratio.square() + shift.square() - 1) / 2 - ratio.log()


def kl_gaussians(
    mean_p: Tensor, covariance_p: Tensor, mean_q: Tensor, covariance_q: Tensor
) -> Tensor:
    r"""Kullback-Leibler divergence between two Gaussians of d dimensions.

    .. math:: KL(p \| q) = \tfrac12 \Big( \text{tr}(\Sigma_q^{-1} \Sigma_p)
              + (\mu_q - \mu_p)^T \Sigma_q^{-1} (\mu_q - \mu_p) - d
              + \log \frac{|\Sigma_q|}{|\Sigma_p|} \Big)

    Args:
        mean_p: Mean of p (d,).
        covariance_p: Its covariance (d, d), positive definite.
        mean_q: The same of q.
        covariance_q: Its covariance (d, d), positive definite.

    Returns:
        Nats.

    Example:
        >>> kl_gaussians(torch.ones(3), torch.eye(3), torch.zeros(3), 4 * torch.eye(3))
        tensor(1.3294)
        >>> 3 * kl_normals(*torch.tensor([1.0, 1.0, 0.0, 2.0]))
        tensor(1.3294)
    """
    factor_p, factor_q = torch.linalg.cholesky(covariance_p), torch.linalg.cholesky(covariance_q)
    together = torch.cat([factor_p, (mean_q - mean_p)[:, None]], 1)
    white = torch.linalg.solve_triangular(factor_q, together, upper=False)
    log_ratio = factor_q.diagonal().log().sum() - factor_p.diagonal().log().sum()
    return (white.square().sum() - len(mean_p)) / 2 + log_ratio
