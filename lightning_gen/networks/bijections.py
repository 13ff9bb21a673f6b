"""One to one maps that know by how much they change volumes: the parts that flows are made of.

Dinh, Krueger, Bengio. 2014, arXiv:1410.8516; Dinh, Sohl-Dickstein, Bengio. 2016, arXiv:1605.08803;
Kingma, Dhariwal. 2018, arXiv:1807.03039.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from lightning_gen.functional.precision import at_least_float32
from lightning_gen.types import PositiveFloat, PositiveInt


class Bijection(nn.Module):
    """A map of data (N, ...) to latents, its log-determinants (N,), and the way back.

    Labels (N,) may be handed to either way; most take no notice of them.

    Example:
        >>> y = torch.randn(3, 2)
        >>> z, log_det = Scaling(2)(y)
        >>> torch.equal(Scaling(2).inverse(z), y), log_det
        (True, tensor([0., 0., 0.], grad_fn=<ExpandBackward0>))
    """

    def forward(self, y: Tensor, *of: Tensor) -> tuple[Tensor, Tensor]:
        """Map data to latents, with the logarithms of absolute determinants (N,)."""
        raise NotImplementedError

    def inverse(self, z: Tensor, *of: Tensor) -> Tensor:
        """Map latents to data."""
        raise NotImplementedError


class Chain(Bijection):
    """One map after another.

    Args:
        bijections: From the data to the latents.

    Example:
        >>> Chain(Reverse(), Scaling(2)).inverse(torch.tensor([[1.0, 2.0]]))
        tensor([[2., 1.]], grad_fn=<FlipBackward0>)
    """

    def __init__(self, *bijections: Bijection) -> None:
        super().__init__()
        self.bijections = nn.ModuleList(bijections)

    def forward(self, y: Tensor, *of: Tensor) -> tuple[Tensor, Tensor]:
        """Map data to latents, with log-determinants (N,)."""
        log_det = torch.zeros(len(y), dtype=y.dtype, device=y.device)
        for bijection in self.bijections:
            y, change = bijection(y, *of)
            log_det = log_det + change
        return y, log_det

    def inverse(self, z: Tensor, *of: Tensor) -> Tensor:
        """Map latents to data."""
        for bijection in reversed(self.bijections):
            z = bijection.inverse(z, *of)  # type: ignore[operator]
        return z


class Rearrangement(Bijection):
    """A map that only moves numbers, and changes no volume.

    Example:
        >>> Reverse()(torch.ones(1, 2))[1]
        tensor([0.])
    """

    def forward(self, y: Tensor, *of: Tensor) -> tuple[Tensor, Tensor]:
        """Map data to latents, with zeros (N,)."""
        return self.moved(y), torch.zeros(len(y), dtype=y.dtype, device=y.device)

    def moved(self, y: Tensor) -> Tensor:
        """Where the numbers are afterwards."""
        raise NotImplementedError


class Reverse(Rearrangement):
    """The last feature first.

    Example:
        >>> Reverse()(torch.tensor([[1.0, 2.0]]))[0]
        tensor([[2., 1.]])
    """

    def moved(self, y: Tensor) -> Tensor:
        """Features (N, d) from the last to the first."""
        return y.flip(1)

    def inverse(self, z: Tensor, *of: Tensor) -> Tensor:
        """Turn them round again."""
        return z.flip(1)


class View(Rearrangement):
    """The same numbers in another shape.

    Args:
        before: Of the data, without N.
        after: Of the latents, without N.

    Example:
        >>> View((2,), (2, 1, 1))(torch.ones(3, 2))[0].shape
        torch.Size([3, 2, 1, 1])
    """

    def __init__(self, before: Sequence[int], after: Sequence[int]) -> None:
        super().__init__()
        self.before, self.after = tuple(before), tuple(after)

    def moved(self, y: Tensor) -> Tensor:
        """Data (N, *before) as (N, *after)."""
        return y.reshape(len(y), *self.after)

    def inverse(self, z: Tensor, *of: Tensor) -> Tensor:
        """Latents (N, *after) as (N, *before)."""
        return z.reshape(len(z), *self.before)


class Squeeze(Rearrangement):
    """Squares of 2 x 2 pixels as four channels of one.

    Example:
        >>> Squeeze()(torch.ones(3, 1, 4, 4))[0].shape
        torch.Size([3, 4, 2, 2])
    """

    def moved(self, y: Tensor) -> Tensor:
        """Images (N, C, H, W) as (N, 4 C, H / 2, W / 2)."""
        return pixel_unshuffle(y, 2)

    def inverse(self, z: Tensor, *of: Tensor) -> Tensor:
        """Back to (N, C, H, W)."""
        return pixel_shuffle(z, 2)


class Split(Bijection):
    """Half of the channels go on, the others are latents already (figure 4b of RealNVP).

    Args:
        shape: (C, H, W) of what comes.
        rest: Maps what goes on, (C - C // 2, H, W), to flat latents.

    Example:
        >>> rest = View((1, 2, 2), (4,))
        >>> Split((2, 2, 2), rest)(torch.ones(3, 2, 2, 2))[0].shape
        torch.Size([3, 8])
    """

    def __init__(self, shape: Sequence[int], rest: Bijection) -> None:
        super().__init__()
        self.shape, self.rest = tuple(shape), rest
        self.leaving = shape[0] // 2

    def forward(self, y: Tensor, *of: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (N, C, H, W) to latents (N, C H W), with log-determinants (N,)."""
        on, out = y.split([self.shape[0] - self.leaving, self.leaving], 1)
        z, log_det = self.rest(on, *of)
        return torch.cat([out.flatten(1), z], 1), log_det

    def inverse(self, z: Tensor, *of: Tensor) -> Tensor:
        """Map latents (N, C H W) to images (N, C, H, W)."""
        here = self.leaving * math.prod(self.shape[1:])
        out = z[:, :here].reshape(len(z), self.leaving, *self.shape[1:])
        return torch.cat([self.rest.inverse(z[:, here:], *of), out], 1)


def along(features: Tensor, y: Tensor) -> Tensor:
    """Numbers (C,) of features in a shape that broadcasts with y (N, C, ...)."""
    return features.view(-1, *[1] * (y.dim() - 2))


def volume(log_scale: Tensor, y: Tensor) -> Tensor:
    """Log-determinants (N,) of scaling each feature (C,) of y (N, C, ...)."""
    return (log_scale.sum() * y[0, 0].numel()).expand(len(y))


def log_deviation(y: Tensor) -> Tensor:
    """Logarithms (C,) of the standard deviations of features of y (N, C, ...)."""
    return y.transpose(0, 1).flatten(1).std(1, correction=0).clamp(min=1e-6).log()


class Scaling(Bijection):
    """Each feature times a positive number of its own: at the start, over its deviation in data.

    Args:
        features: C.

    Attributes:
        starting: Whether the next data are what it starts from.

    Example:
        >>> Scaling(2)(torch.ones(1, 2))[0]
        tensor([[1., 1.]], grad_fn=<MulBackward0>)
    """

    def __init__(self, features: PositiveInt) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(features))
        self.starting = False

    def forward(self, y: Tensor, *of: Tensor) -> tuple[Tensor, Tensor]:
        """Map (N, C, ...) to as many, with log-determinants (N,)."""
        if self.starting:
            self.log_scale.data.copy_(-log_deviation(y))
        return y * along(self.log_scale.exp(), y), volume(self.log_scale, y)

    def inverse(self, z: Tensor, *of: Tensor) -> Tensor:
        """Divide by the scales."""
        return z * along((-self.log_scale).exp(), z)


class ActNorm(Bijection):
    """Features are moved and scaled: at the start so that those of the first data are standard.

    Args:
        features: C.

    Attributes:
        starting: Whether the next data are what it starts from.

    Example:
        >>> norm = ActNorm(2)
        >>> norm.starting = True
        >>> norm(torch.tensor([[3.0, 1.0], [5.0, 1.5]]))[0].round(decimals=4)
        tensor([[-1., -1.],
                [ 1.,  1.]], grad_fn=<RoundBackward1>)
    """

    def __init__(self, features: PositiveInt) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(features))
        self.log_scale = nn.Parameter(torch.zeros(features))
        self.starting = False

    def forward(self, y: Tensor, *of: Tensor) -> tuple[Tensor, Tensor]:
        """Map (N, C, ...) to as many, with log-determinants (N,)."""
        if self.starting:
            self.start(y)
        z = (y - along(self.mean, y)) * along(self.log_scale.exp(), y)
        return z, volume(self.log_scale, y)

    def inverse(self, z: Tensor, *of: Tensor) -> Tensor:
        """Scale and move back."""
        return z * along((-self.log_scale).exp(), z) + along(self.mean, z)

    @torch.no_grad()
    def start(self, y: Tensor) -> None:
        """Make these data's features have mean 0 and variance 1."""
        self.mean.copy_(y.transpose(0, 1).flatten(1).mean(1))
        self.log_scale.copy_(-log_deviation(y))


class BatchNorm(Bijection):
    r"""Features are standardised by the batch's moments, and by running ones in evaluation.

    .. math:: z = e^\gamma \frac{y - m}{\sqrt{v + \epsilon}} + \beta

    Moments are of the global batch, over all devices, and gradients flow through them.

    Args:
        features: C.
        momentum: Share of a batch in the running moments.
        eps: Epsilon.

    Example:
        >>> norm = BatchNorm(2)
        >>> norm(torch.tensor([[3.0, 1.0], [5.0, 2.0]]))[0].round(decimals=4)
        tensor([[-1., -1.],
                [ 1.,  1.]], grad_fn=<RoundBackward1>)
    """

    mean: Tensor
    variance: Tensor

    def __init__(
        self, features: PositiveInt, momentum: PositiveFloat = 0.1, eps: PositiveFloat = 1e-5
    ) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.log_scale = nn.Parameter(torch.zeros(features))
        self.bias = nn.Parameter(torch.zeros(features))
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("variance", torch.ones(features))

    def forward(self, y: Tensor, *of: Tensor) -> tuple[Tensor, Tensor]:
        """Map (N, C, ...) to as many, with log-determinants (N,)."""
        mean, variance = self.moments(y) if self.training else (self.mean, self.variance)
        log_scale = self.log_scale - (variance + self.eps).log() / 2
        z = (y - along(mean, y)) * along(log_scale.exp(), y) + along(self.bias, y)
        return z, volume(log_scale, y)

    def inverse(self, z: Tensor, *of: Tensor) -> Tensor:
        """Go back by the running moments."""
        log_scale = self.log_scale - (self.variance + self.eps).log() / 2
        return (z - along(self.bias, z)) * along((-log_scale).exp(), z) + along(self.mean, z)

    def moments(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Means and variances (C,) of a batch, which the running ones follow."""
        rows = y.transpose(0, 1).flatten(1)
        mean = over_devices(rows.mean(1))
        variance = over_devices((rows - mean[:, None]).square().mean(1))
        with torch.no_grad():
            self.mean.lerp_(mean, self.momentum)
            self.variance.lerp_(variance, self.momentum)
        return mean, variance


class DeviceMean(torch.autograd.Function):
    """The mean of as many tensors as there are devices, and of their gradients on the way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Mean over the devices."""
        x = x.clone()
        dist.all_reduce(x)
        return x / dist.get_world_size()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Mean over the devices of what each of their losses says."""
        return DeviceMean.apply(*gradients)


def over_devices(x: Tensor) -> Tensor:
    """The mean over all devices, through which gradients flow."""
    several = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
    return DeviceMean.apply(x) if several else x


class InvertibleLinear(Bijection):
    r"""A matrix on the features of each place, an invertible 1 x 1 convolution (equation 10).

    .. math:: W = P L (U + \text{diag}(s)), \qquad \log |\det W| = \sum \log |s|

    with a permutation P that stays, triangular L and U, and the signs of s, which stay too. It
    starts at a rotation. It is computed in full precision.

    Args:
        features: C.

    Example:
        >>> y, turn = torch.randn(3, 4, 2, 2), InvertibleLinear(4)
        >>> z, log_det = turn(y)
        >>> torch.allclose(turn.inverse(z), y, atol=1e-5), log_det.abs().max() < 1e-5
        (True, tensor(True))
    """

    permutation: Tensor
    sign: Tensor

    def __init__(self, features: PositiveInt) -> None:
        super().__init__()
        P, L, U = torch.linalg.lu(torch.linalg.qr(torch.randn(features, features)).Q)
        s = U.diagonal()
        self.register_buffer("permutation", P)
        self.register_buffer("sign", s.sign())
        self.lower, self.upper = nn.Parameter(L.tril(-1)), nn.Parameter(U.triu(1))
        self.log_s = nn.Parameter(s.abs().log())

    def factors(self) -> tuple[Tensor, Tensor]:
        """L and U + diag(s), both (C, C)."""
        L = self.lower.tril(-1) + torch.eye(len(self.lower)).to(self.lower)
        return L, self.upper.triu(1) + torch.diag(self.sign * self.log_s.exp())

    def forward(self, y: Tensor, *of: Tensor) -> tuple[Tensor, Tensor]:
        """Map (N, C, ...) to as many, with log-determinants (N,)."""
        with torch.autocast(y.device.type, enabled=False):
            rows = at_least_float32(y).transpose(0, 1)
            # In the cheapest order, be there more features or more places.
            z = torch.linalg.multi_dot([self.permutation, *self.factors(), rows.flatten(1)])
        return z.view_as(rows).transpose(0, 1), volume(self.log_s, y)

    def inverse(self, z: Tensor, *of: Tensor) -> Tensor:
        """Solve for what W made z of."""
        with torch.autocast(z.device.type, enabled=False):
            rows, (L, U) = at_least_float32(z).transpose(0, 1), self.factors()
            y = self.permutation.T @ rows.flatten(1)
            y = torch.linalg.solve_triangular(L, y, upper=False, unitriangular=True)
            y = torch.linalg.solve_triangular(U, y, upper=True)
        return y.view_as(rows).transpose(0, 1)
