"""Likelihoods of images given the numbers that a decoder makes of each pixel."""

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from lightning_gen.functional.draws import drawn
from lightning_gen.functional.pixels import grey_levels, unit_range
from lightning_gen.functional.precision import at_least_float32

LOG_TWO_PI = math.log(2 * math.pi)
PIXELS = (-3, -2, -1)
LOG_FINEST = math.log(1 / 256 / math.sqrt(12))  # standard deviation of what dequantising adds


def kl_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    r"""Kullback-Leibler divergence from a diagonal Gaussian to the standard normal.

    .. math:: KL(N(\mu, \sigma^2) \| N(0, I))
              = \tfrac12 \sum_j \mu_j^2 + \sigma_j^2 - \log \sigma_j^2 - 1

    References:
        Kingma and Welling, Auto-Encoding Variational Bayes, 2013, arXiv:1312.6114, appendix B.

    Args:
        mean: (..., d).
        log_variance: (..., d).

    Returns:
        (...), in nats.

    Example:
        >>> kl_standard_normal(torch.tensor([0.0, 2.0]), torch.zeros(2))
        tensor(2.)
    """
    mean, log_variance = at_least_float32(mean), at_least_float32(log_variance)
    return (mean.square() + log_variance.exp() - log_variance - 1).sum(-1) / 2


def log_normal(z: Tensor, mean: Tensor | float = 0.0, log_variance: Tensor | None = None) -> Tensor:
    r"""Log density of a diagonal Gaussian.

    .. math:: \log N(z; \mu, \sigma^2)
              = -\tfrac12 \sum_j (z_j - \mu_j)^2 / \sigma_j^2 + \log \sigma_j^2 + \log 2 \pi

    Args:
        z: (..., d).
        mean: Broadcasts with z.
        log_variance: Broadcasts with z; None is zero.

    Returns:
        (...), in nats.

    Example:
        >>> log_normal(torch.zeros(2))
        tensor(-1.8379)
    """
    log_variance = torch.zeros_like(z) if log_variance is None else log_variance
    square = (z - mean).square() * (-log_variance).exp()
    return -(square + log_variance + LOG_TWO_PI).sum(-1) / 2


def log_level(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    r"""Log probability of a level of [-1, 1] by a logistic distribution, its outer bins open.

    .. math:: P(x) = \sigma\left(\frac{x + 1/255 - \mu}{s}\right)
              - \sigma\left(\frac{x - 1/255 - \mu}{s}\right)

    Args:
        x: Levels, any shape; the others broadcast.
        mean: In [-1, 1].
        log_scale: Logarithm of s.

    Example:
        >>> levels = torch.arange(256.0) / 127.5 - 1
        >>> p = log_level(levels, torch.tensor(0.2), torch.tensor(-3.0)).exp()
        >>> round(p.sum().item(), 4)
        1.0
    """
    inverse = (-log_scale).exp()
    upper, lower = ((x + side / 255 - mean) * inverse for side in (1, -1))
    inside = logsigmoid(upper) + logsigmoid(-lower) + (-torch.expm1(lower - upper)).log()
    log_p = torch.where(x < -1 + 1 / 255, logsigmoid(upper), inside)
    return torch.where(x > 1 - 1 / 255, logsigmoid(-lower), log_p)


class Likelihood(Protocol):
    """What a decoder's numbers mean."""

    @property
    def parameters(self) -> int:
        """Numbers a pixel that a decoder makes, as so many times the channels."""

    @property
    def space(self) -> str:
        """What the density is of, as ``GenerativeModule.likelihood_space``."""

    @property
    def continuous(self) -> bool:
        """Whether it is a density, of which images of bytes have to be dequantised."""

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """Log probability (...) of images (..., C, H, W) in [-1, 1], summed over pixels."""

    def mean(self, parameters: Tensor) -> Tensor:
        """Mean images (..., C, H, W) in [-1, 1]."""

    def draw(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Images (..., C, H, W) in [-1, 1], drawn."""

    def start(self, mean: Tensor) -> Tensor:
        """Parameters (parameters * C, H, W) whose mean is a mean image (C, H, W)."""


@dataclass(frozen=True)
class Bernoulli:
    r"""Pixels -1 and 1, given the logit of each; of grey pixels, the negative cross-entropy.

    .. math:: \log p(x) = \sum_i x_i l_i - \log(1 + e^{l_i}), \quad x_i \in \{0, 1\}

    Example:
        >>> round(Bernoulli().log_prob(torch.ones(1, 1, 2), torch.zeros(1, 1, 2)).item(), 4)
        -1.3863
    """

    parameters: ClassVar[int] = 1
    space: ClassVar[str] = "binary"
    continuous: ClassVar[bool] = False

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """Log probability (...) of images (..., C, H, W), summed over pixels."""
        logits, target = at_least_float32(parameters), unit_range(x)
        return (logits * target).sum(PIXELS) - softplus(logits).sum(PIXELS)

    def mean(self, parameters: Tensor) -> Tensor:
        """Mean images (..., C, H, W) in [-1, 1]: their probabilities, scaled."""
        return 2 * at_least_float32(parameters).sigmoid() - 1

    def draw(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Images (..., C, H, W) of -1 and 1."""
        p = at_least_float32(parameters).sigmoid()
        return torch.where(drawn("rand", p.shape, p.device, generator) < p, 1.0, -1.0)

    def start(self, mean: Tensor) -> Tensor:
        """Logits of a mean image (C, H, W) in [-1, 1]."""
        return unit_range(mean).clamp(1e-3, 1 - 1e-3).logit()


@dataclass(frozen=True)
class Gaussian:
    r"""Dequantised pixels in [0, 1] as normal variables of given means and variances.

    .. math:: \log p(x) = \sum_i \log N(x_i; \mu_i, \sigma_i^2), \quad x_i \in [0, 1]

    Args:
        std: The standard deviation; None for one of each pixel, whose logarithm the decoder gives.
        continuous: Whether images have to be dequantised; without that a density that learns its
            variances has no bound.

    Example:
        >>> round(Gaussian(std=1.0).log_prob(torch.zeros(1, 1, 2), torch.zeros(1, 1, 2)).item(), 4)
        -2.0879
    """

    space: ClassVar[str] = "unit"
    std: float | None = None
    continuous: bool = True

    @property
    def parameters(self) -> int:
        """Numbers a pixel: a mean, and a logarithm of the standard deviation if it is learnt."""
        return 1 if self.std is not None else 2

    def split(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Means, and logarithms of standard deviations no less than that of dequantisation."""
        parameters = at_least_float32(parameters)
        if self.std is not None:
            return parameters, parameters.new_tensor(math.log(self.std))
        mean, log_std = parameters.chunk(2, -3)
        return mean, LOG_FINEST + softplus(log_std - LOG_FINEST)

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """Log density (...) of images (..., C, H, W), summed over pixels."""
        mean, log_std = self.split(parameters)
        square = ((unit_range(x) - mean) * (-log_std).exp()).square()
        return -(square / 2 + log_std + LOG_TWO_PI / 2).sum(PIXELS)

    def mean(self, parameters: Tensor) -> Tensor:
        """Mean images (..., C, H, W), scaled, those out of [-1, 1] at its ends."""
        return (2 * self.split(parameters)[0] - 1).clamp(-1, 1)

    def draw(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Images (..., C, H, W) of continuous pixels, those out of [-1, 1] at its ends."""
        mean, log_std = self.split(parameters)
        noise = drawn("randn", mean.shape, mean.device, generator)
        return (2 * (mean + log_std.exp() * noise) - 1).clamp(-1, 1)

    def start(self, mean: Tensor) -> Tensor:
        """Parameters of a mean image (C, H, W) in [-1, 1], with a standard deviation of e^-1."""
        spread = [] if self.std is not None else [torch.full_like(mean, -1.0)]
        return torch.cat([unit_range(mean), *spread])


@dataclass(frozen=True)
class DiscretisedLogistic:
    r"""Bytes: a logistic distribution over the line, cut into 256 levels, the outer two open.

    .. math:: P(x) = \sigma\left(\frac{x + 1/255 - \mu}{s}\right)
              - \sigma\left(\frac{x - 1/255 - \mu}{s}\right), \quad x \in [-1, 1]

    References:
        Kingma et al., Improving Variational Inference with Inverse Autoregressive Flow, 2016,
        arXiv:1606.04934, appendix A.3; Salimans et al., PixelCNN++, 2017, arXiv:1701.05517.

    Note:
        The logarithm of the difference is taken exactly, as :math:`\sigma(a) - \sigma(b)
        = \sigma(a) \sigma(-b) (1 - e^{b - a})`, not by PixelCNN++'s cases.

    Example:
        >>> likelihood, levels = DiscretisedLogistic(), torch.arange(256.0) / 127.5 - 1
        >>> parameters = torch.tensor([0.2, -3.0])[:, None, None]
        >>> log_p = likelihood.log_prob(levels[:, None, None, None], parameters)
        >>> round(log_p.exp().sum().item(), 4)
        1.0
    """

    parameters: ClassVar[int] = 2
    space: ClassVar[str] = "bytes"
    continuous: ClassVar[bool] = False

    def split(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Means in [-1, 1] and logarithms of scales, no less than e^-7 (of PixelCNN++)."""
        mean, log_scale = at_least_float32(parameters).chunk(2, -3)
        return mean, log_scale.clamp(min=-7)

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """Log probability (...) of images (..., C, H, W), summed over pixels."""
        mean, log_scale = self.split(parameters)
        return log_level(x, mean, log_scale).sum(PIXELS)

    def mean(self, parameters: Tensor) -> Tensor:
        """Images (..., C, H, W) in [-1, 1] in the middle of the logistics before they are cut."""
        return self.split(parameters)[0].clamp(-1, 1)

    def draw(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Images (..., C, H, W) of 256 levels in [-1, 1]."""
        mean, log_scale = self.split(parameters)
        u = drawn("rand", mean.shape, mean.device, generator).clamp(1e-6, 1 - 1e-6)
        return grey_levels((mean + log_scale.exp() * u.logit()).clamp(-1, 1)) / 127.5 - 1

    def start(self, mean: Tensor) -> Tensor:
        """Parameters of a mean image (C, H, W) in [-1, 1], with a scale of e^-1."""
        return torch.cat([mean, torch.full_like(mean, -1.0)])


LIKELIHOODS: dict[str, Likelihood] = {
    "bernoulli": Bernoulli(),
    "gaussian": Gaussian(),
    "fixed_gaussian": Gaussian(std=0.1),
    "logistic": DiscretisedLogistic(),
}
