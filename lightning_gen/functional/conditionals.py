"""What the numbers a network gives for a pixel say of it, given the pixels before it."""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid

from lightning_gen.functional.pixels import grey_levels
from lightning_gen.functional.precision import at_least_float32


class Conditional(Protocol):
    """A distribution of single pixels in [-1, 1], of any shape."""

    @property
    def parameters(self) -> int:
        """Numbers a pixel."""

    @property
    def space(self) -> str:
        """What it is a distribution of, as ``GenerativeModule.likelihood_space``."""

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """Log probabilities (N, ...) of pixels (N, ...), of parameters (N, P, ...)."""

    def draw(self, parameters: Tensor, u: Tensor, temperature: float = 1.0) -> Tensor:
        """Pixels (N, ...) at quantiles u (N, ...) in [0, 1), of parameters (N, P, ...)."""


@dataclass(frozen=True)
class BinaryPixel:
    r"""Pixels -1 and 1, given the logit of 1; of grey pixels, the negative cross-entropy.

    .. math:: \log p(x) = x \log \sigma(l) + (1 - x) \log \sigma(-l), \quad x \in \{0, 1\}

    Example:
        >>> pixel, l = BinaryPixel(), torch.zeros(3, 1)
        >>> pixel.log_prob(torch.tensor([-1.0, 0.0, 1.0]), l)
        tensor([-0.6931, -0.6931, -0.6931])
        >>> pixel.draw(l, torch.tensor([0.1, 0.4, 0.6]))
        tensor([ 1.,  1., -1.])
    """

    parameters: ClassVar[int] = 1
    space: ClassVar[str] = "binary"

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """Log probabilities (N, ...) of pixels (N, ...), of logits (N, 1, ...)."""
        logit = at_least_float32(parameters).squeeze(1)
        return logsigmoid(logit) - (1 - x) / 2 * logit

    def draw(self, parameters: Tensor, u: Tensor, temperature: float = 1.0) -> Tensor:
        """Pixels (N, ...): 1 where u (N, ...) is less than the probability of it."""
        p = (at_least_float32(parameters).squeeze(1) / temperature).sigmoid()
        return torch.where(u < p, 1.0, -1.0)


@dataclass(frozen=True)
class CategoricalPixel:
    """Bytes: the 256 levels of [-1, 1], given a logit of each.

    Example:
        >>> pixel = CategoricalPixel()
        >>> pixel.log_prob(torch.tensor([1.0]), torch.zeros(1, 256)).exp() * 256
        tensor([1.])
        >>> pixel.draw(torch.zeros(3, 256), torch.tensor([0.0, 0.6, 0.999]))
        tensor([-1.0000,  0.2000,  1.0000])
    """

    parameters: ClassVar[int] = 256
    space: ClassVar[str] = "bytes"

    def log_prob(self, x: Tensor, parameters: Tensor) -> Tensor:
        """Log probabilities (N, ...) of pixels (N, ...), of logits (N, 256, ...)."""
        return -cross_entropy(at_least_float32(parameters), grey_levels(x).long(), reduction="none")

    def draw(self, parameters: Tensor, u: Tensor, temperature: float = 1.0) -> Tensor:
        """Pixels (N, ...): the first level whose cumulated probability exceeds u (N, ...)."""
        below = (at_least_float32(parameters) / temperature).softmax(1).cumsum(1)[:, :-1]
        return (below <= u[:, None]).sum(1) / 127.5 - 1


CONDITIONALS: dict[str, Conditional] = {
    "bernoulli": BinaryPixel(),
    "categorical": CategoricalPixel(),
}
