"""The variational bound of a diffusion model, term by term."""

import torch
from torch import Tensor
from torch.special import log_ndtr

from lightning_gen.functional.likelihoods import kl_standard_normal


def log_bytes_normal(x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    r"""Log probability of bytes under a normal density, cut into 256 levels, the outer two open.

    .. math:: P(x) = \Phi\left(\frac{x + 1/255 - \mu}{\sigma}\right)
              - \Phi\left(\frac{x - 1/255 - \mu}{\sigma}\right), \quad x \in [-1, 1]

    References:
        Ho, Jain, Abbeel, Denoising Diffusion Probabilistic Models, 2020, arXiv:2006.11239,
        equation 13.

    Args:
        x: Images (N, ...) in [-1, 1] that were bytes.
        mean: The same shape.
        log_variance: Of a shape that broadcasts.

    Returns:
        (N,), in nats.

    Example:
        >>> x = torch.arange(256.0)[:, None] / 127.5 - 1
        >>> log_p = log_bytes_normal(x, torch.tensor(0.3), torch.tensor(-4.6))
        >>> round(log_p.exp().sum().item(), 4)
        1.0
    """
    inverse = (-log_variance / 2).exp()
    above, below = (((x + side / 255 - mean) * inverse).double() for side in (1, -1))
    # On the side where both tails are small, so that their difference keeps its digits.
    upper, lower = torch.where(below > 0, -below, above), torch.where(below > 0, -above, below)
    inside = log_ndtr(upper) + (-torch.expm1(log_ndtr(lower) - log_ndtr(upper))).log()
    log_p = torch.where(x < -1 + 1 / 255, log_ndtr(above), inside)
    return torch.where(x > 1 - 1 / 255, log_ndtr(-below), log_p).flatten(1).sum(1).to(x)


def drawn_terms(alpha: Tensor, sigma: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    r"""Some of the terms :math:`L_{t - 1}`, t = 2 ... T, of each image, and their weights.

    .. math:: L_{t - 1} = \tfrac12 (\text{SNR}_{t - 1} - \text{SNR}_t) \|x_0 - \hat x_0\|^2, \quad
              \text{SNR}_t = \alpha_t^2 / \sigma_t^2

    One is drawn from each of k strata of log SNR, so the weighted sum has no bias.

    References:
        Kingma et al., Variational Diffusion Models, 2021, arXiv:2107.00630, section 4.1 and
        appendix I; Nichol, Dhariwal, 2021, arXiv:2102.09672, section 3.3 (terms by importance).

    Args:
        alpha: Of a path (T + 1,), from t = 0.
        sigma: The same.
        u: In [0, 1), (k, N).

    Returns:
        Times (k, N), and what to multiply :math:`\|x_0 - \hat x_0\|^2` by.

    Example:
        >>> alpha = torch.tensor([1.0, 0.8, 0.6, 0.0]).clamp(min=0.1)
        >>> t, weight = drawn_terms(alpha, (1 - alpha**2).sqrt(), torch.rand(2, 1000))
        >>> t.unique()
        tensor([2, 3])
    """
    k = len(u)
    log_snr = 2 * (alpha.log() - sigma.log())[1:]
    share = -log_snr.diff() / (log_snr[0] - log_snr[-1])
    place = (torch.arange(k, device=u.device)[:, None] + u) / k
    i = torch.searchsorted(share.cumsum(0), place, right=True).clamp(max=len(share) - 1)
    return i + 2, (-log_snr.exp().diff() / 2 / share)[i] / k


def last_term(x: Tensor, alpha: Tensor) -> Tensor:
    r"""The term :math:`L_T = KL(N(\alpha_T x_0, \sigma_T^2 I) \| N(0, I))` of (N, ...).

    Args:
        x: Data (N, ...).
        alpha: :math:`\alpha_T`; the path preserves variance.

    Returns:
        (N,), in nats.

    Example:
        >>> last_term(torch.ones(2, 3), torch.tensor(0.0))
        tensor([0., 0.])
    """
    x = x.flatten(1)
    return kl_standard_normal(alpha * x, torch.log1p(-alpha.square()).expand_as(x))
