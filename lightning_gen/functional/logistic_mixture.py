"""Bytes as mixtures of logistic distributions that are cut into 256 levels, colour by colour.

Salimans, Karpathy, Chen, Kingma. 2017, arXiv:1701.05517, sections 2.1 and 2.2.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lightning_gen.functional.likelihoods import log_level
from lightning_gen.functional.precision import at_least_float32

LEAST_LOG_SCALE = -7.0


@dataclass(frozen=True)
class LogisticMixturePixel:
    r"""A byte, given logits of weights, means and logarithms of scales of a mixture's components.

    .. math:: P(x) = \sum_k w_k P(x; \mu_k, s_k)

    Args:
        components: Of the mixture.

    Example:
        >>> pixel, levels = LogisticMixturePixel(2), torch.arange(256.0) / 127.5 - 1
        >>> of = torch.tensor([0.0, 1.0, -0.5, 0.5, -3.0, -9.0]).expand(256, 6)
        >>> round(pixel.log_prob(levels, of).exp().sum().item(), 4)
        1.0
    """

    components: int = 10
    space: ClassVar[str] = "bytes"

    @property
    def parameters(self) -> int:
        """Numbers a pixel."""
        return 3 * self.components

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """Log probabilities (N, ...) of pixels (N, ...), of parameters (N, 3 K, ...)."""
        logits, mean, log_scale = at_least_float32(parameters).chunk(3, 1)
        log_p = log_level(x[:, None], mean, log_scale.clamp(min=LEAST_LOG_SCALE))
        return (logits.log_softmax(1) + log_p).logsumexp(1)

    def draw(self, parameters: Tensor, u: Tensor, temperature: float = 1.0) -> Tensor:
        """Pixels (N, ...): the first level whose cumulated probability exceeds u (N, ...).

        A temperature divides the logits of the weights and multiplies the scales.
        """
        logits, mean, log_scale = at_least_float32(parameters)[..., None].chunk(3, 1)
        scale = log_scale.clamp(min=LEAST_LOG_SCALE).exp() * temperature
        edges = (torch.arange(255, device=u.device) + 0.5) / 127.5 - 1
        below = (logits / temperature).softmax(1) * ((edges - mean) / scale).sigmoid()
        return (below.sum(1) <= u[..., None]).sum(-1) / 127.5 - 1


def numbers(channels: int, components: int) -> int:
    """How many numbers a place of an image has, for :func:`by_colour`.

    Example:
        >>> numbers(1, 10), numbers(3, 10)
        (30, 100)
    """
    return components * (1 + 2 * channels + math.comb(channels, 2))


def by_colour(x: Tensor, numbers_: Tensor) -> Tensor:
    r"""Mixtures of every colour of a place, given its colours before.

    All colours are of one component of the mixture, and its means are moved by the colours before
    (equation 3): given these, :math:`w_k` is multiplied by what component k says of them.

    .. math:: \mu_{G} = \mu_G' + \alpha R, \qquad \mu_B = \mu_B' + \beta R + \gamma G

    Args:
        x: Images (N, C, H, W) in [-1, 1].
        numbers_: Of places (N, K (1 + 2 C + C (C - 1) / 2), H, W): logits of weights, then means
            and logarithms of scales of each colour, then the coefficients, before their tanh.

    Returns:
        (N, 3 K, C, H, W), parameters of :class:`LogisticMixturePixel`.

    Example:
        >>> by_colour(torch.zeros(2, 3, 4, 4), torch.zeros(2, 100, 4, 4)).shape
        torch.Size([2, 30, 3, 4, 4])
    """
    C = x.shape[1]
    of = at_least_float32(numbers_).unflatten(1, (numbers(C, 1), -1)).unbind(1)
    weights, means, log_scales = of[0].log_softmax(1), of[1 : C + 1], of[C + 1 : 2 * C + 1]
    coefficients, made = iter(of[2 * C + 1 :]), []
    for c in range(C):
        before = [next(coefficients).tanh() * x[:, b : b + 1] for b in range(c)]
        mean, log_scale = sum(before, means[c]), log_scales[c]
        made.append(torch.cat([weights, mean, log_scale], 1))
        log_p = log_level(x[:, c : c + 1], mean, log_scale.clamp(min=LEAST_LOG_SCALE))
        weights = weights + log_p
    return torch.stack(made, 2)
