"""Couplings: some features stay and say how the others are mapped, by any network.

Dinh, Krueger, Bengio. 2014, arXiv:1410.8516; Dinh, Sohl-Dickstein, Bengio. 2016, arXiv:1605.08803;
Kingma, Dhariwal. 2018, arXiv:1807.03039; Durkan et al. 2019, arXiv:1906.04032.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, relu
from torch.nn.utils.parametrizations import weight_norm

from lightning_gen.functional.precision import at_least_float32
from lightning_gen.functional.spline import rational_quadratic
from lightning_gen.networks.bijections import Bijection
from lightning_gen.networks.vae import dense
from lightning_gen.types import NonNegativeInt, PositiveFloat, PositiveInt

Conditioner = Callable[..., nn.Module]
"""Makes a network of the numbers of features in and out."""


class Additive(nn.Module):
    """Numbers are moved.

    Example:
        >>> Additive()(torch.ones(1), torch.ones(1, 1))
        (tensor([2.]), tensor([0.]))
    """

    parameters_each = 1

    def forward(self, y: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Map numbers (...) by parameters (..., 1), with log-slopes (...)."""
        return y + theta[..., 0], torch.zeros_like(y)

    def inverse(self, z: Tensor, theta: Tensor) -> Tensor:
        """Map numbers (...) back."""
        return z - theta[..., 0]


class Affine(nn.Module):
    r"""Numbers are scaled and moved.

    .. math:: z = y e^{s \tanh h} + t \quad \text{("tanh", with a learnt s)}, \qquad
              z = (y + t) \sigma(h + 2) \quad \text{("sigmoid")}

    Args:
        scale: How a scale is made of h; that of RealNVP or of Glow's code.

    Example:
        >>> Affine("tanh")(torch.ones(1), torch.zeros(1, 2))[0]
        tensor([1.], grad_fn=<AddBackward0>)
    """

    parameters_each = 2

    def __init__(self, scale: Literal["tanh", "sigmoid"] = "tanh") -> None:
        super().__init__()
        self.s = nn.Parameter(torch.ones(())) if scale in {"tanh"} else None

    def forward(self, y: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Map numbers (...) by parameters (..., 2), with log-slopes (...)."""
        h, t = theta.unbind(-1)
        log_s = self.log_scale(h)
        return (y * log_s.exp() + t if self.s is not None else (y + t) * log_s.exp()), log_s

    def inverse(self, z: Tensor, theta: Tensor) -> Tensor:
        """Map numbers (...) back."""
        h, t = theta.unbind(-1)
        over = (-self.log_scale(h)).exp()
        return (z - t) * over if self.s is not None else z * over - t

    def log_scale(self, h: Tensor) -> Tensor:
        """Logarithms of scales (...)."""
        return logsigmoid(h + 2) if self.s is None else self.s * torch.tanh(h)


class Spline(nn.Module):
    """Numbers go through a monotonic rational-quadratic spline.

    Args:
        bins: Its bins.
        bound: It is the identity beyond -bound and bound.

    Example:
        >>> Spline(4, 3.0)(torch.ones(1), torch.zeros(1, 11))[0].round(decimals=5)
        tensor([1.])
    """

    def __init__(self, bins: PositiveInt, bound: PositiveFloat) -> None:
        super().__init__()
        self.parameters_each, self.bound = 3 * bins - 1, bound

    def forward(self, y: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Map numbers (...) by parameters (..., 3 * bins - 1), with log-slopes (...)."""
        return rational_quadratic(y, theta, self.bound)

    def inverse(self, z: Tensor, theta: Tensor) -> Tensor:
        """Map numbers (...) back."""
        return rational_quadratic(z, theta, self.bound, inverse=True)[0]


class Coupling(Bijection):
    r"""Some features stay, the others are mapped by what a network makes of those that stay.

    .. math:: z_a = y_a, \quad z_b = g(y_b; m(y_a)), \qquad
              \log |\det| = \sum_b \log |\partial g / \partial y_b|

    Args:
        features: C.
        network: Makes m of the numbers of its features in and out.
        g: What maps a number: :class:`Additive`, :class:`Affine` or :class:`Spline`.
        parity: Which of two parts is mapped: the second (0) or the first (1).
        halves: Whether parts are halves, or every second feature.

    Example:
        >>> layer = Coupling(3, DenseConditioner, Affine())
        >>> y = torch.randn(5, 3)
        >>> torch.allclose(layer.inverse(layer(y)[0]), y, atol=1e-6)
        True
    """

    stays: Tensor
    moves: Tensor
    back: Tensor

    def __init__(
        self,
        features: PositiveInt,
        network: Conditioner,
        g: Additive | Affine | Spline,
        parity: NonNegativeInt = 0,
        halves: bool = False,
    ) -> None:
        super().__init__()
        i = torch.arange(features)
        second = (i >= (features + 1) // 2) if halves else (i % 2 > 0)
        moves = second != bool(parity)
        self.register_buffer("stays", i[~moves], persistent=False)
        self.register_buffer("moves", i[moves], persistent=False)
        order = torch.cat([i[~moves], i[moves]])
        self.register_buffer("back", order.argsort(), persistent=False)
        self.g = g
        self.network = network(len(self.stays), g.parameters_each * len(self.moves))

    def theta(self, a: Tensor) -> Tensor:
        """Parameters (N, C_b, ..., P) for the features that are mapped."""
        theta = at_least_float32(self.network(a))
        return theta.unflatten(1, (len(self.moves), -1)).movedim(2, -1)

    def forward(self, y: Tensor, *of: Tensor) -> tuple[Tensor, Tensor]:
        """Map (N, C, ...) to as many, with log-determinants (N,)."""
        a, b = y.index_select(1, self.stays), y.index_select(1, self.moves)
        b, log_slope = self.g(b, self.theta(a))
        return torch.cat([a, b], 1).index_select(1, self.back), log_slope.flatten(1).sum(1)

    def inverse(self, z: Tensor, *of: Tensor) -> Tensor:
        """Map (N, C, ...) back."""
        a, b = z.index_select(1, self.stays), z.index_select(1, self.moves)
        b = self.g.inverse(b, self.theta(a))
        return torch.cat([a, b], 1).index_select(1, self.back)


class CheckerboardCoupling(Bijection):
    """A coupling in which pixels of one colour of a checkerboard stay.

    Args:
        features: C.
        network: Makes a network of the numbers of its features in and out; it sees zeros instead
            of the pixels that are mapped.
        g: What maps a number.
        parity: Which colour is mapped.

    Example:
        >>> network = lambda a, b: torch.nn.Conv2d(a, b, 3, padding=1)
        >>> y = torch.randn(2, 1, 4, 4)
        >>> z, _ = CheckerboardCoupling(1, network, Additive())(y)
        >>> (z == y).sum().item()
        16
    """

    def __init__(
        self,
        features: PositiveInt,
        network: Conditioner,
        g: Additive | Affine | Spline,
        parity: NonNegativeInt = 0,
    ) -> None:
        super().__init__()
        self.features, self.g, self.parity = features, g, parity
        self.network = network(features, g.parameters_each * features)

    def moves(self, y: Tensor) -> Tensor:
        """Which pixels (H, W) are mapped."""
        i, j = (torch.arange(side, device=y.device) for side in y.shape[2:])
        return (i[:, None] + j + self.parity) % 2 > 0

    def theta(self, y: Tensor, moves: Tensor) -> Tensor:
        """Parameters (N, C, H, W, P), of which those of pixels that stay are not used."""
        theta = at_least_float32(self.network(torch.where(moves, 0.0, y)))
        return theta.unflatten(1, (self.features, -1)).movedim(2, -1)

    def forward(self, y: Tensor, *of: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (N, C, H, W) to as many, with log-determinants (N,)."""
        moves = self.moves(y)
        z, log_slope = self.g(y, self.theta(y, moves))
        return torch.where(moves, z, y), torch.where(moves, log_slope, 0.0).flatten(1).sum(1)

    def inverse(self, z: Tensor, *of: Tensor) -> Tensor:
        """Map images (N, C, H, W) back."""
        moves = self.moves(z)
        return torch.where(moves, self.g.inverse(z, self.theta(z, moves)), z)


class DenseConditioner(nn.Module):
    """Fully connected layers, the last of which begins at zeros.

    Args:
        inputs: Features in.
        outputs: Features out.
        units: Units of each hidden layer.
        activation: Of the hidden layers.

    Example:
        >>> DenseConditioner(2, 6)(torch.ones(1, 2)).shape
        torch.Size([1, 6])
    """

    def __init__(
        self,
        inputs: PositiveInt,
        outputs: PositiveInt,
        units: Sequence[PositiveInt] = (64, 64),
        activation: Literal["relu", "tanh", "softplus", "gated"] = "relu",
    ) -> None:
        super().__init__()
        self.layers = dense([inputs, *units, outputs], activation)
        nn.init.zeros_(self.layers[-1].get_parameter("weight"))

    def forward(self, a: Tensor) -> Tensor:
        """Map features (N, inputs) to (N, outputs)."""
        return self.layers(a)


class ConvConditioner(nn.Module):
    """Glow's three convolutions, with kernels of 3, 1 and 3; the last begins at zeros.

    Args:
        inputs: Features in.
        outputs: Features out.
        width: Channels between.
        kernel: Sides of the first and the last kernel; 1 for what has no neighbours.

    Example:
        >>> ConvConditioner(2, 6, width=8)(torch.ones(1, 2, 4, 4)).shape
        torch.Size([1, 6, 4, 4])
    """

    def __init__(
        self,
        inputs: PositiveInt,
        outputs: PositiveInt,
        width: PositiveInt = 512,
        kernel: PositiveInt = 3,
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, width, kernel, padding="same"),
            nn.ReLU(),
            nn.Conv2d(width, width, 1),
            nn.ReLU(),
            zeros(nn.Conv2d(width, outputs, kernel, padding="same")),
        )

    def forward(self, a: Tensor) -> Tensor:
        """Map features (N, inputs, H, W) to (N, outputs, H, W)."""
        return self.layers(a)


class ResidualConditioner(nn.Module):
    """RealNVP's residual network, with weights in polar coordinates; the last begins at zeros.

    Args:
        inputs: Features in.
        outputs: Features out.
        width: Channels between.
        blocks: Residual blocks of two convolutions.
        kernel: Sides of the kernels; 1 for what has no neighbours.

    Example:
        >>> ResidualConditioner(2, 6, width=8, blocks=2)(torch.ones(1, 2, 4, 4)).shape
        torch.Size([1, 6, 4, 4])
    """

    def __init__(
        self,
        inputs: PositiveInt,
        outputs: PositiveInt,
        width: PositiveInt = 64,
        blocks: PositiveInt = 8,
        kernel: PositiveInt = 3,
    ) -> None:
        super().__init__()

        def convolution(inner: int, outer: int) -> nn.Module:
            return weight_norm(nn.Conv2d(inner, outer, kernel, padding="same"))

        self.first = convolution(inputs, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.ReLU(), convolution(width, width), nn.ReLU(), convolution(width, width)
            )
            for _ in range(blocks)
        )
        self.last = zeros(nn.Conv2d(width, outputs, 1))

    def forward(self, a: Tensor) -> Tensor:
        """Map features (N, inputs, H, W) to (N, outputs, H, W)."""
        h = self.first(a)
        for block in self.blocks:
            h = h + block(h)
        return self.last(relu(h))


def zeros(layer: nn.Conv2d) -> nn.Conv2d:
    """A layer whose weights and biases are zeros."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
