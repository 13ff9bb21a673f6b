r"""How much of an image is left, and how much noise is on it, from data to noise.

All are Gaussian paths :math:`x_t = \alpha_t x_0 + \sigma_t \epsilon`.
"""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

BetaSchedule = Literal["linear", "cosine"]


class Levels(NamedTuple):
    r"""Times with the factors of a Gaussian path, :math:`x_t = \alpha_t x_0 + \sigma_t \epsilon`.

    Each is (N,) for a batch, or (K + 1,) for the steps of a sampler, from noise to data.
    """

    t: Tensor
    alpha: Tensor
    sigma: Tensor

    def like(self, x: Tensor) -> "Levels":
        """The same, shaped to multiply x (N, ...)."""
        shape = (-1, *[1] * (x.ndim - 1))
        return Levels(*(part.view(shape) for part in self))


def alphas_bar(schedule: BetaSchedule, steps: int) -> Tensor:
    r"""Squares :math:`\bar\alpha_t = \prod_{s \le t} (1 - \beta_s)` of :math:`\alpha_t`.

    .. math:: \beta_t = 10^{-4} \dots 0.02 \text{ (linear)}, \qquad
              \bar\alpha_t = \frac{f(t)}{f(0)}, \
              f(t) = \cos^2 \frac{t / T + s}{1 + s} \frac{\pi}{2}, \ s = 0.008 \text{ (cosine)}

    with :math:`\beta_t` no more than 0.999. The linear one is scaled by 1000 / T for other T.

    References:
        Ho, Jain, Abbeel, Denoising Diffusion Probabilistic Models, 2020, arXiv:2006.11239.
        Nichol, Dhariwal, Improved Denoising Diffusion Probabilistic Models, 2021, arXiv:2102.09672.

    Args:
        schedule: "linear" or "cosine".
        steps: T.

    Returns:
        (T + 1,), from 1 at t = 0, in double precision.

    Example:
        >>> [round(alphas_bar(s, 1000)[500].item(), 4) for s in ("linear", "cosine")]
        [0.0786, 0.4938]
    """
    t = torch.arange(steps + 1, dtype=torch.float64)
    f = ((t / steps + 0.008) / 1.008 * math.pi / 2).cos().square()
    ends = (0.1 / steps, min(20 / steps, 0.999))
    beta = {
        "linear": torch.linspace(*ends, steps, dtype=torch.float64),
        "cosine": (1 - f[1:] / f[:-1]).clamp(max=0.999),
    }[schedule]
    return torch.cat([torch.ones(1, dtype=torch.float64), (1 - beta).cumprod(0)])


def vp_levels(t: Tensor, first: float = 0.1, last: float = 20.0) -> Levels:
    r"""The variance-preserving diffusion with a rate that rises linearly.

    .. math:: \alpha_t = e^{-\frac12 \int_0^t \beta}, \quad
              \beta(t) = \beta_0 + t (\beta_1 - \beta_0), \quad \sigma_t^2 = 1 - \alpha_t^2

    References:
        Song et al., Score-Based Generative Modeling through Stochastic Differential Equations,
        2020, arXiv:2011.13456, appendix C.

    Args:
        t: Times in [0, 1], any shape.
        first: :math:`\beta_0`.
        last: :math:`\beta_1`.

    Example:
        >>> vp_levels(torch.tensor([0.0, 1.0])).alpha
        tensor([1.0000, 0.0066])
    """
    integral = t * first + t.square() / 2 * (last - first)
    return Levels(t, (-integral / 2).exp(), (-torch.expm1(-integral)).sqrt())


def ve_levels(t: Tensor, first: float = 0.01, last: float = 50.0) -> Levels:
    r"""The variance-exploding diffusion, :math:`\sigma_t = \sigma_0 (\sigma_1 / \sigma_0)^t`.

    References:
        Song et al., Score-Based Generative Modeling through Stochastic Differential Equations,
        2020, arXiv:2011.13456, appendix C.

    Args:
        t: Times in [0, 1], any shape.
        first: :math:`\sigma_0`.
        last: :math:`\sigma_1`.

    Example:
        >>> ve_levels(torch.tensor([0.0, 1.0])).sigma
        tensor([1.0000e-02, 5.0000e+01])
    """
    return Levels(t, torch.ones_like(t), first * (last / first) ** t)


def karras_sigmas(
    steps: int, smallest: float = 0.002, largest: float = 80.0, rho: float = 7.0
) -> Tensor:
    r"""Noise levels that are dense where they are small.

    .. math:: \sigma_i = \Big( \sigma_{\max}^{1 / \rho} + \frac{i}{N - 1}
              (\sigma_{\min}^{1 / \rho} - \sigma_{\max}^{1 / \rho}) \Big)^\rho, \quad \sigma_N = 0

    References:
        Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022,
        arXiv:2206.00364, equation 5.

    Args:
        steps: N.
        smallest: :math:`\sigma_{\min}`.
        largest: :math:`\sigma_{\max}`.
        rho: 1 spaces them evenly.

    Returns:
        (N + 1,), falling, to 0.

    Example:
        >>> karras_sigmas(3, smallest=1.0, largest=3.0, rho=1.0)
        tensor([3., 2., 1., 0.])
    """
    ends = largest ** (1 / rho), smallest ** (1 / rho)
    return torch.cat([torch.linspace(*ends, steps) ** rho, torch.zeros(1)])


class Preconditioning(NamedTuple):
    r"""Factors that make a denoiser of a network, :math:`D(x) = c_{skip} x + c_{out} F(c_{in} x)`.

    For data of standard deviation :math:`\sigma_d` the network's input and target have unit
    variance at every noise level.
    """

    skip: Tensor
    out: Tensor
    inside: Tensor
    noise: Tensor


def preconditioning(sigma: Tensor, sigma_data: float, smallest: float = 0.0) -> Preconditioning:
    r"""EDM's factors of a noise level, or those of a consistency model.

    .. math:: c_{skip} = \frac{\sigma_d^2}{(\sigma - \epsilon)^2 + \sigma_d^2}, \quad
              c_{out} = \frac{(\sigma - \epsilon) \sigma_d}{\sqrt{\sigma^2 + \sigma_d^2}}, \quad
              c_{in} = \frac{1}{\sqrt{\sigma^2 + \sigma_d^2}}, \quad
              c_{noise} = \tfrac14 \ln \sigma

    References:
        Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022,
        arXiv:2206.00364, table 1.
        Song et al., Consistency Models, 2023, arXiv:2303.01469, appendix C.

    Args:
        sigma: Noise levels, any shape.
        sigma_data: Standard deviation of the data.
        smallest: :math:`\epsilon`, 0 for EDM; at this level a consistency model gives x itself.

    Example:
        >>> [round(c.item(), 4) for c in preconditioning(torch.tensor(0.5), 0.5)]
        [0.5, 0.3536, 1.4142, -0.1733]
    """
    total, above = (sigma.square() + sigma_data**2).rsqrt(), sigma - smallest
    skip = sigma_data**2 / (above.square() + sigma_data**2)
    return Preconditioning(skip, above * sigma_data * total, total, sigma.log() / 4)


def noise_beyond_normal(told: Tensor, x: Tensor, at: Levels) -> Tensor:
    r"""The noise in x, of a network that tells only what it is beyond that in normal data.

    .. math:: \hat\epsilon = \frac{\sigma_t}{s_t^2} x_t + \frac{\alpha_t}{s_t} F(x_t / s_t), \quad
              s_t^2 = \alpha_t^2 + \sigma_t^2

    The first term is :math:`E[\epsilon | x_t]` of standard normal data. Where all is noise it is
    right whatever the network does, and there an error of :math:`\hat\epsilon` is divided by
    :math:`\alpha_t`. Of variance-preserving paths F is the target v.

    References:
        Salimans, Ho, Progressive Distillation, 2022, arXiv:2202.00512, appendix D.
        Karras et al., 2022, arXiv:2206.00364, section 5 (why a network should not tell all of it).

    Args:
        told: F (N, ...), of x divided by s.
        x: The same shape.
        at: Level of x, of shapes that broadcast.

    Example:
        >>> at = Levels(*torch.tensor([1.0, 0.6, 0.8]))
        >>> noise_beyond_normal(torch.tensor(0.0), torch.tensor(2.0), at)
        tensor(1.6000)
    """
    inverse = (at.alpha.square() + at.sigma.square()).rsqrt()
    return at.sigma * inverse.square() * x + at.alpha * inverse * told
