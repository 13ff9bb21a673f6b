r"""From noise to data by a denoiser: functions that serve every diffusion model.

A denoiser gives :math:`\hat x_0 = E[x_0 | x_t]` of :math:`x_t = \alpha_t x_0 + \sigma_t \epsilon`
and of times (N,), so that :math:`\hat\epsilon = (x_t - \alpha_t \hat x_0) / \sigma_t`, and the
score :math:`\nabla \log p_t(x_t)` is :math:`-\hat\epsilon / \sigma_t`. A sampler takes the levels
of its K steps from noise to data; NFE is how often it calls the denoiser.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_gen.functional.draws import drawn
from lightning_gen.functional.noise_schedules import Levels

Denoiser = Callable[[Tensor, Tensor], Tensor]
Generator = torch.Generator | None


class Posterior(NamedTuple):
    """Mean and variance of a normal distribution."""

    mean: Tensor
    variance: Tensor


def posterior(x: Tensor, x_0: Tensor, now: Levels, then: Levels) -> Posterior:
    r"""The forward process between two times, given both its ends: :math:`q(x_s | x_t, x_0)`.

    .. math:: \mu = \frac{\alpha_t \sigma_s^2}{\alpha_s \sigma_t^2} x_t + \alpha_s (1 - r) x_0,
              \quad v = \sigma_s^2 (1 - r), \quad
              r = \frac{\alpha_t^2 \sigma_s^2}{\alpha_s^2 \sigma_t^2}

    References:
        Ho, Jain, Abbeel, Denoising Diffusion Probabilistic Models, 2020, arXiv:2006.11239,
        equations 6 and 7; Kingma et al., Variational Diffusion Models, 2021, arXiv:2107.00630.

    Args:
        x: :math:`x_t` (N, ...).
        x_0: The same shape.
        now: Level t, of shapes that broadcast.
        then: Level s < t.

    Example:
        >>> now, then = torch.tensor([[1.0, 0.6, 0.8], [0.5, 0.8, 0.6]])
        >>> now, then = Levels(*now), Levels(*then)
        >>> mean, variance = posterior(torch.tensor(1.0), torch.tensor(0.0), now, then)
        >>> round(mean.item(), 4), round(variance.item(), 4)
        (0.4219, 0.2461)
    """
    ratio = then.sigma.square() / now.sigma.square() * now.alpha / then.alpha
    left = 1 - ratio * now.alpha / then.alpha
    return Posterior(ratio * x + then.alpha * left * x_0, then.sigma.square() * left)


def steps_of(levels: Levels) -> list[tuple[Levels, Levels]]:
    """Neighbours among the levels (K + 1,) of K steps."""
    return list(pairwise(Levels(*parts) for parts in zip(*levels, strict=True)))


def ddim(
    denoise: Denoiser, x: Tensor, levels: Levels, *, eta: float = 0.0, generator: Generator = None
) -> Tensor:
    r"""Towards the denoised image, with as much of the noise as belongs there; NFE is K.

    .. math:: x_s = \alpha_s \hat x_0 + \sqrt{\sigma_s^2 - \eta^2 v} \hat\epsilon + \eta \sqrt v z

    where v is the variance of :func:`posterior`. With :math:`\eta = 0` nothing is drawn: it is
    Euler's method for the probability-flow equation in :math:`\sigma / \alpha`, and for straight
    paths, where :math:`\alpha = 1 - t` and :math:`\sigma = t`, Euler's method in t.

    References:
        Song, Meng, Ermon, Denoising Diffusion Implicit Models, 2020, arXiv:2010.02502,
        equations 12 and 16.

    Args:
        denoise: Of x (N, ...) and times (N,) to the denoised.
        x: Noise (N, ...) at the first level, scaled.
        levels: Of the steps (K + 1,).
        eta: Between 0 (deterministic) and 1 (ancestral).
        generator: Source of randomness.

    Example:
        >>> levels = Levels(*torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.5, 1.0], [1.0, 0.5, 0.0]]))
        >>> ddim(lambda x, t: torch.zeros_like(x) + 3, torch.ones(1, 1), levels)
        tensor([[3.]])
    """
    for now, then in steps_of(levels):
        x_0 = denoise(x, now.t.expand(len(x)))
        epsilon = (x - now.alpha * x_0) / now.sigma
        variance = eta**2 * posterior(x, x_0, now, then).variance
        x = then.alpha * x_0 + (then.sigma.square() - variance).clamp(min=0).sqrt() * epsilon
        if eta > 0:
            x = x + variance.sqrt() * drawn("randn", x.shape, x.device, generator)
    return x


def ancestral(
    denoise: Denoiser,
    x: Tensor,
    levels: Levels,
    *,
    large: bool = False,
    generator: Generator = None,
) -> Tensor:
    r"""Draw each :math:`x_s` from :math:`q(x_s | x_t, \hat x_0)`; NFE is K.

    The variance is that of :func:`posterior`, or the forward process's own,
    :math:`\sigma_t^2 - \sigma_s^2 \alpha_t^2 / \alpha_s^2` (the :math:`\beta_t` of single steps),
    which is right for data of one variance; the last step draws nothing.

    References:
        Ho, Jain, Abbeel, Denoising Diffusion Probabilistic Models, 2020, arXiv:2006.11239,
        algorithm 2.

    Args:
        denoise: Of x (N, ...) and times (N,) to the denoised.
        x: Noise (N, ...) at the first level, scaled.
        levels: Of the steps (K + 1,).
        large: Take the larger variance.
        generator: Source of randomness.

    Example:
        >>> levels = Levels(*torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]))
        >>> ancestral(lambda x, t: torch.zeros_like(x) + 3, torch.ones(1, 1), levels)
        tensor([[3.]])
    """
    for now, then in steps_of(levels):
        mean, variance = posterior(x, denoise(x, now.t.expand(len(x))), now, then)
        if large:
            variance = now.sigma.square() - (then.sigma * now.alpha / then.alpha).square()
        drawing = (then.sigma > 0).to(x)
        noise = drawn("randn", x.shape, x.device, generator)
        x = mean + drawing * variance.clamp(min=0).sqrt() * noise
    return x


def heun(
    denoise: Denoiser,
    x: Tensor,
    levels: Levels,
    *,
    churn: float = 0.0,
    churn_min: float = 0.0,
    churn_max: float = math.inf,
    churn_noise: float = 1.0,
    generator: Generator = None,
) -> Tensor:
    r"""Heun's method for :math:`dx / d\sigma = (x - D(x, \sigma)) / \sigma`; NFE is 2 K - 1.

    Each step first adds noise, to :math:`\hat\sigma = \sigma (1 + \gamma)`, where
    :math:`\gamma = \min(S_{churn} / K, \sqrt 2 - 1)`. The step to :math:`\sigma = 0` is Euler's.

    References:
        Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022,
        arXiv:2206.00364, algorithms 1 and 2.

    Args:
        denoise: Of x (N, ...) and times (N,), which are the noise levels, to the denoised.
        x: Noise (N, ...) at the first level, scaled.
        levels: Of the steps (K + 1,), with :math:`\alpha = 1` and :math:`t = \sigma`.
        churn: The paper's :math:`S_{churn}`; 0 draws nothing.
        churn_min: :math:`S_{tmin}`, the smallest level at which noise is added.
        churn_max: :math:`S_{tmax}`, the largest.
        churn_noise: :math:`S_{noise}`, standard deviation of what is added.
        generator: Source of randomness.

    Example:
        >>> sigma = torch.tensor([2.0, 1.0, 0.0])
        >>> exact = lambda x, sigma: x / (1 + sigma[:, None] ** 2)  # of standard normal data
        >>> heun(exact, torch.ones(1, 1), Levels(sigma, torch.ones(3), sigma))
        tensor([[0.3250]])
    """
    steps = steps_of(levels)
    for now, then in steps:
        sigma, gamma = now.sigma, min(churn / len(steps), math.sqrt(2) - 1)
        if gamma > 0 and churn_min <= float(sigma) <= churn_max:
            sigma = sigma * (1 + gamma)
            spread = churn_noise * (sigma.square() - now.sigma.square()).sqrt()
            x = x + spread * drawn("randn", x.shape, x.device, generator)
        slope = (x - denoise(x, sigma.expand(len(x)))) / sigma
        end = x + (then.sigma - sigma) * slope
        if then.sigma > 0:
            there = (end - denoise(end, then.sigma.expand(len(x)))) / then.sigma
            end = x + (then.sigma - sigma) * (slope + there) / 2
        x = end
    return x


def euler_maruyama(
    denoise: Denoiser, x: Tensor, levels: Levels, *, generator: Generator = None
) -> Tensor:
    r"""Euler's method for the reversed diffusion; NFE is K.

    .. math:: dx = (f(t) x - g(t)^2 \nabla \log p_t(x)) dt + g(t) d\bar w, \quad
              f = \frac{d \log \alpha}{dt}, \quad
              g^2 = \sigma^2 \frac{d}{dt} \log \frac{\sigma^2}{\alpha^2}

    over a step, :math:`f dt = \log (\alpha_s / \alpha_t)` and
    :math:`g^2 dt = \sigma_s^2 - \sigma_t^2 - 2 \sigma_t^2 f dt`; the last step draws nothing.

    References:
        Song et al., Score-Based Generative Modeling through Stochastic Differential Equations,
        2020, arXiv:2011.13456, equation 6 and appendix D.

    Args:
        denoise: Of x (N, ...) and times (N,) to the denoised.
        x: Noise (N, ...) at the first level, scaled.
        levels: Of the steps (K + 1,), all with noise.
        generator: Source of randomness.

    Example:
        >>> levels = Levels(*torch.tensor([[1.0, 0.5], [1.0, 1.0], [2.0, 1.0]]))
        >>> euler_maruyama(lambda x, t: torch.zeros_like(x), torch.ones(1, 1), levels)
        tensor([[0.2500]])
    """
    steps = steps_of(levels)
    for i, (now, then) in enumerate(steps):
        x, variance = _reversed(denoise, x, now, then)
        if i + 1 < len(steps):
            x = x + variance.sqrt() * drawn("randn", x.shape, x.device, generator)
    return x


def _score(denoise: Denoiser, x: Tensor, at: Levels) -> Tensor:
    """The score of x (N, ...) at a level."""
    return (at.alpha * denoise(x, at.t.expand(len(x))) - x) / at.sigma.square()


def _reversed(denoise: Denoiser, x: Tensor, now: Levels, then: Levels) -> Posterior:
    """One step of the reversed diffusion."""
    f_dt = (then.alpha / now.alpha).log()
    g2_dt = (now.sigma.square() * (1 + 2 * f_dt) - then.sigma.square()).clamp(min=0)
    return Posterior(x * (1 + f_dt) + g2_dt * _score(denoise, x, now), g2_dt)


def predictor_corrector(
    denoise: Denoiser, x: Tensor, levels: Levels, *, snr: float = 0.16, generator: Generator = None
) -> Tensor:
    r"""A step of the reversed diffusion, then one of Langevin dynamics; NFE is 2 K - 1.

    .. math:: x \leftarrow x + e \nabla \log p_s(x) + \sqrt{2 e} z, \quad
              e = 2 \Big( r \frac{\|z\|}{\|\nabla \log p_s(x)\|} \Big)^2

    with norms averaged over the batch; the last step has no corrector and draws nothing.

    References:
        Song et al., Score-Based Generative Modeling through Stochastic Differential Equations,
        2020, arXiv:2011.13456, algorithms 2 to 5.

    Note:
        Norms are the root mean squares of what they are expected to be, :math:`\sqrt d` of noise
        and :math:`\sqrt d / \sigma` of the score, so that :math:`e = 2 r^2 \sigma_s^2` and samples
        do not depend on the others of their batch; of VP the paper's has a factor
        :math:`\alpha_s^2 / \alpha_t^2` of neighbouring levels, about 1, beside it.

    Args:
        denoise: Of x (N, ...) and times (N,) to the denoised.
        x: Noise (N, ...) at the first level, scaled.
        levels: Of the steps (K + 1,), all with noise.
        snr: The paper's r.
        generator: Source of randomness.

    Example:
        >>> levels = Levels(*torch.tensor([[1.0, 0.5], [1.0, 1.0], [2.0, 1.0]]))
        >>> predictor_corrector(lambda x, t: torch.zeros_like(x), torch.ones(1, 1), levels)
        tensor([[0.2500]])
    """
    steps = steps_of(levels)
    for i, (now, then) in enumerate(steps):
        x, variance = _reversed(denoise, x, now, then)
        if i + 1 < len(steps):
            x = x + variance.sqrt() * drawn("randn", x.shape, x.device, generator)
            e = 2 * (snr * then.sigma).square()
            noise = drawn("randn", x.shape, x.device, generator)
            x = x + e * _score(denoise, x, then) + (2 * e).sqrt() * noise
    return x


def multistep(
    consistent: Denoiser, x: Tensor, levels: Levels, *, generator: Generator = None
) -> Tensor:
    r"""Jump to the data, add noise of the next level, and jump again; NFE is K.

    .. math:: x \leftarrow f(\alpha_t x + \sigma_t z, t)

    References:
        Song et al., Consistency Models, 2023, arXiv:2303.01469, algorithm 1.

    Args:
        consistent: Of x (N, ...) and times (N,) to the end of the path that leads through x.
        x: Noise (N, ...) at the first level, scaled.
        levels: Of the steps (K,).
        generator: Source of randomness.

    Example:
        >>> levels = Levels(*torch.tensor([[1.0], [0.0], [1.0]]))
        >>> multistep(lambda x, t: torch.zeros_like(x) + 3, torch.ones(1, 1), levels)
        tensor([[3.]])
    """
    for i, level in enumerate(Levels(*parts) for parts in zip(*levels, strict=True)):
        if i > 0:
            noise = drawn("randn", x.shape, x.device, generator)
            x = level.alpha * x + level.sigma * noise
        x = consistent(x, level.t.expand(len(x)))
    return x


def guided(conditional: Tensor, unconditional: Tensor, weight: float) -> Tensor:
    r"""Classifier-free guidance, :math:`(1 + w) \epsilon(x, c) - w \epsilon(x)`.

    It is the same for the denoised and for velocities, which are affine in the noise.

    References:
        Ho, Salimans, Classifier-Free Diffusion Guidance, 2022, arXiv:2207.12598, equation 6.

    Args:
        conditional: Of the class (N, ...).
        unconditional: Of none, the same shape.
        weight: The paper's w; 0 is no guidance.

    Example:
        >>> guided(torch.tensor([2.0]), torch.tensor([1.0]), 3.0)
        tensor([5.])
    """
    return conditional + weight * (conditional - unconditional)


def ode_slope(x: Tensor, x_0: Tensor, at: Levels, slopes: Levels) -> Tensor:
    r"""The probability-flow velocity, :math:`\dot\alpha \hat x_0 + \dot\sigma \hat\epsilon`.

    References:
        Song et al., Score-Based Generative Modeling through Stochastic Differential Equations,
        2020, arXiv:2011.13456, equation 13; Lipman et al., Flow Matching for Generative Modeling,
        2022, arXiv:2210.02747, theorem 3.

    Args:
        x: (N, ...).
        x_0: The denoised, the same shape.
        at: Level of x, of shapes that broadcast.
        slopes: Derivatives of its parts by t.

    Example:
        >>> at = Levels(*torch.tensor([0.5, 0.5, 0.5]))
        >>> straight = Levels(*torch.tensor([1.0, -1.0, 1.0]))  # alpha = 1 - t, sigma = t
        >>> ode_slope(torch.tensor(2.0), torch.tensor(1.0), at, straight)
        tensor(2.)
    """
    return slopes.alpha * x_0 + slopes.sigma * (x - at.alpha * x_0) / at.sigma
