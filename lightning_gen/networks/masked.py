"""Autoregressive maps of real numbers: each feature is mapped by what those before it say.

Germain, Gregor, Murray, Larochelle. 2015, arXiv:1502.03509; Papamakarios, Pavlakou, Murray. 2017,
arXiv:1705.07057.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, one_hot, relu
from torch.special import log_ndtr, ndtri

from lightning_gen.functional.likelihoods import LOG_TWO_PI
from lightning_gen.functional.precision import at_least_float32
from lightning_gen.networks.bijections import Bijection
from lightning_gen.types import NonNegativeInt, PositiveInt


class MaskedLinear(nn.Linear):
    """A linear layer, some of whose weights are zero for ever.

    Args:
        mask: (outputs, inputs), true where there is a weight.

    Example:
        >>> MaskedLinear(torch.tensor([[True, False]])).masked.shape
        torch.Size([1, 2])
    """

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask, persistent=False)

    @property
    def masked(self) -> Tensor:
        """The weights (outputs, inputs) that there are."""
        return self.weight * self.mask

    def forward(self, x: Tensor) -> Tensor:
        """Map features (N, inputs) to (N, outputs)."""
        return linear(x, self.masked, self.bias)


class AutoregressiveDense(nn.Module):
    """Hidden layers such that what comes out for a feature depends on those before it alone.

    A hidden unit of degree m sees the first m features and units of at most that degree; units are
    in the order of their degrees, so the features can be found one after another at the price of
    one pass (:meth:`unrolled`).

    Args:
        features: d.
        outputs: Numbers that come out for each feature.
        units: Units of each hidden layer.
        num_classes: Classes, if labels are seen by all units.

    Example:
        >>> network = AutoregressiveDense(3, 2, units=[16])
        >>> x = torch.randn(3, requires_grad=True)
        >>> torch.autograd.grad(network(x[None])[0, 1].sum(), x)[0] != 0
        tensor([ True, False, False])
    """

    def __init__(
        self,
        features: PositiveInt,
        outputs: PositiveInt,
        units: Sequence[PositiveInt] = (1024, 1024),
        num_classes: NonNegativeInt = 0,
    ) -> None:
        super().__init__()
        least = 0 if num_classes else min(1, features - 1)
        self.outputs, self.num_classes = outputs, num_classes
        degrees = [torch.arange(1, features + 1)]
        degrees += [(torch.arange(u) % (features - least) + least).sort().values for u in units]
        self.degrees = degrees
        self.hidden = nn.ModuleList(
            MaskedLinear(inner <= outer[:, None]) for inner, outer in pairwise(degrees)
        )
        before = degrees[-1] < degrees[0].repeat_interleave(outputs)[:, None]
        self.last = MaskedLinear(before)
        self.of = nn.Linear(num_classes, units[0], bias=False) if num_classes else None

    def forward(self, x: Tensor, *of: Tensor) -> Tensor:
        """Map features (N, d), and labels (N,) of a conditional network, to (N, d, outputs)."""
        for i, layer in enumerate(self.hidden):
            h = layer(x)
            x = relu(h + self.told(h, *of) if i == 0 else h)
        return at_least_float32(self.last(x).unflatten(1, (-1, self.outputs)))

    def told(self, h: Tensor, *of: Tensor) -> Tensor:
        """What labels (N,) add to the first layer (N, units[0]); zeros without classes."""
        if self.of is None:
            return torch.zeros_like(h)
        return self.of(one_hot(of[0], self.num_classes).to(h.dtype))

    @torch.no_grad()
    def unrolled(self, n: int, found: Callable[[int, Tensor], Tensor], *of: Tensor) -> Tensor:
        """Features (n, d), one after another.

        Args:
            n: How many rows.
            found: Says what feature i is (n,), of its outputs (n, outputs).
            of: Labels (n,), of a conditional network.
        """
        kind = self.last.weight
        values = [torch.zeros(n, len(degree)).to(kind) for degree in self.degrees]
        hidden: list[Any] = list(self.hidden)
        layers = [(layer.masked, layer.bias) for layer in hidden]
        out, bias = self.last.masked, self.last.bias
        told = self.told(values[1], *of)
        for i in range(values[0].shape[1]):
            # How many units of each layer have a degree below i, and of at most i.
            start, end = ([int((d <= m).sum()) for d in self.degrees] for m in (i - 1, i))
            for k, (weight, offset) in enumerate(layers):
                new = slice(start[k + 1], end[k + 1])
                h = linear(values[k][:, : end[k]], weight[new, : end[k]], offset[new])
                values[k + 1][:, new] = relu(h + told[:, new] if k == 0 else h)
            rows = slice(i * self.outputs, (i + 1) * self.outputs)
            theta = linear(values[-1][:, : end[-1]], out[rows, : end[-1]], bias[rows])
            values[0][:, i] = found(i, at_least_float32(theta))
        return values[0]


class Autoregressive(Bijection):
    r"""Each feature standardised by a mean and a scale that those before it say (equation 4).

    .. math:: z_i = (y_i - \mu_i) e^{-\alpha_i}, \quad (\mu_i, \alpha_i) = f_i(y_{1:i-1}), \qquad
              \log |\det| = -\sum_i \alpha_i

    Args:
        features: d.
        units: Units of each hidden layer.
        num_classes: Classes, if it is conditional on labels.

    Example:
        >>> layer, y = Autoregressive(3, [16]), torch.randn(5, 3)
        >>> torch.allclose(layer.inverse(layer(y)[0]), y, atol=1e-5)
        True
    """

    def __init__(
        self,
        features: PositiveInt,
        units: Sequence[PositiveInt] = (1024, 1024),
        num_classes: NonNegativeInt = 0,
    ) -> None:
        super().__init__()
        self.network = AutoregressiveDense(features, 2, units, num_classes)

    def forward(self, y: Tensor, *of: Tensor) -> tuple[Tensor, Tensor]:
        """Map (N, d) to as many, with log-determinants (N,)."""
        mean, alpha = self.network(y, *of).unbind(2)
        return (y - mean) * (-alpha).exp(), -alpha.sum(1)

    def inverse(self, z: Tensor, *of: Tensor) -> Tensor:
        """Map (N, d) back, feature by feature."""
        return self.network.unrolled(
            len(z), lambda i, theta: z[:, i] * theta[:, 1].exp() + theta[:, 0], *of
        )


class AutoregressiveMixture(Bijection):
    r"""Each feature from a mixture of Gaussians that those before it say, made standard normal.

    .. math:: p(y_i | y_{1:i-1}) = \sum_k \pi_{ik} N(y_i; \mu_{ik}, \sigma_{ik}^2), \qquad
              z_i = \Phi^{-1}\Big(\sum_k \pi_{ik} \Phi((y_i - \mu_{ik}) / \sigma_{ik})\Big)

    Args:
        features: d.
        components: K.
        units: Units of each hidden layer.
        num_classes: Classes, if it is conditional on labels.

    Example:
        >>> layer, y = AutoregressiveMixture(3, 4, [16]), torch.randn(5, 3)
        >>> torch.allclose(layer.inverse(layer(y)[0]), y, atol=1e-4)
        True
    """

    def __init__(
        self,
        features: PositiveInt,
        components: PositiveInt,
        units: Sequence[PositiveInt] = (1024, 1024),
        num_classes: NonNegativeInt = 0,
    ) -> None:
        super().__init__()
        self.network = AutoregressiveDense(features, 3 * components, units, num_classes)

    def log_prob(self, y: Tensor, *of: Tensor) -> Tensor:
        """Log density (N,) of features (N, d), which the other way would only round."""
        log_weights, _, log_std, white = self.placed(y, self.network(y, *of))
        normal = -(white.square() + LOG_TWO_PI) / 2 - log_std
        return (log_weights + normal).logsumexp(2).sum(1)

    def placed(self, y: Tensor, theta: Tensor) -> tuple[Tensor, ...]:
        """Log weights, means and log deviations (..., K), and y (...) in terms of them."""
        logits, mean, log_std = theta.chunk(3, -1)
        white = (y[..., None] - mean) * (-log_std).exp()
        return logits.log_softmax(-1), mean, log_std, white

    def forward(self, y: Tensor, *of: Tensor) -> tuple[Tensor, Tensor]:
        """Map (N, d) to as many, with log-determinants (N,)."""
        log_weights, _, _, white = self.placed(y.double(), self.network(y, *of).double())
        # The nearer tail keeps its digits.
        below, above = ((log_weights + log_ndtr(s * white)).logsumexp(2) for s in (1, -1))
        tail = torch.minimum(below, above).clamp(min=-700).exp()
        z = (torch.where(below < above, 1.0, -1.0) * ndtri(tail)).to(y)
        log_normal = -(z.square() + LOG_TWO_PI).sum(1) / 2
        return z, self.log_prob(y, *of) - log_normal

    def inverse(self, z: Tensor, *of: Tensor) -> Tensor:
        """Map (N, d) back, feature by feature."""

        def found(i: int, theta: Tensor) -> Tensor:
            log_weights, mean, log_std, _ = self.placed(z[:, i], theta)
            return quantile(z[:, i], log_weights, mean, log_std.exp())

        return self.network.unrolled(len(z), found, *of)


def quantile(
    z: Tensor, log_weights: Tensor, mean: Tensor, std: Tensor, halvings: int = 40
) -> Tensor:
    """Where mixtures of Gaussians (N, K) have as much below as a standard normal below z (N,).

    It lies between the places where their Gaussians have as much, and is found by bisection, in a
    mirror for z > 0: the lower tail has more digits.
    """
    side = torch.where(z > 0, -1.0, 1.0).to(z)
    mean, z = side[:, None] * mean, side * z
    each = mean + std * z[:, None]
    low, high = each.amin(1), each.amax(1)
    wanted, weights = torch.erfc(-z / math.sqrt(2)), log_weights.exp()
    slope = -1 / (std * math.sqrt(2))
    for _ in range(halvings):
        middle = (low + high) / 2
        below = (weights * torch.erfc((middle[:, None] - mean) * slope)).sum(1) < wanted
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return side * (low + high) / 2
