"""Planar and radial layers, with parameters of their own or of each row.

Rezende, Mohamed. 2015, arXiv:1505.05770.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from lightning_gen.functional.pixels import unit_range
from lightning_gen.networks.bijections import Bijection
from lightning_gen.networks.vae import dense
from lightning_gen.types import NonNegativeInt, PositiveInt

LIMIT = 0.999  # of -w^T u


def planar(z: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    r"""Vectors stretched along planes, and log-determinants (equations 10 to 12).

    .. math:: z + \hat u \tanh(w^T z + b), \qquad \log |1 + \hat u^T w (1 - \tanh^2(w^T z + b))|

    Args:
        z: (..., d).
        theta: w, u and b side by side (..., 2 d + 1); of u the part :math:`\hat u` is taken with
            :math:`w^T \hat u > -1`.

    Example:
        >>> planar(torch.ones(1, 2), torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0]))[1] < 0
        tensor([True])
    """
    w, u, b = planar_parts(theta)
    h = torch.tanh((w * z).sum(-1, keepdim=True) + b)
    return z + u * h, torch.log1p((w * u).sum(-1) * (1 - h.square()).squeeze(-1))


def planar_parts(theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r"""Vectors w (..., d), :math:`\hat u` (..., d), and b (..., 1).

    The part of u along w is changed so that :math:`w^T \hat u > -0.999`; where it is 0 it stays, so
    that zeros are the identity.
    """
    d = theta.shape[-1] // 2
    w, u, b = theta.split([d, d, 1], -1)
    along = (w * u).sum(-1, keepdim=True)
    allowed = softplus(along + math.log(math.expm1(LIMIT))) - LIMIT
    return w, u + (allowed - along) * w / w.square().sum(-1, keepdim=True).clamp(min=1e-12), b


def planar_inverse(y: Tensor, theta: Tensor, halvings: int = 60) -> Tensor:
    r"""Vectors that :func:`planar` makes y of.

    All that is to be found is :math:`x = w^T z` with :math:`x + w^T \hat u \tanh(x + b) = w^T y`;
    the left side rises, so bisection finds it.
    """
    w, u, b = planar_parts(theta)
    slope, target = (w * u).sum(-1, keepdim=True), (w * y).sum(-1, keepdim=True)
    low, high = target - slope.abs(), target + slope.abs()
    for _ in range(halvings):
        x = (low + high) / 2
        below = x + slope * torch.tanh(x + b) < target
        low, high = torch.where(below, x, low), torch.where(below, high, x)
    return y - u * torch.tanh((low + high) / 2 + b)


def radial(z: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    r"""Vectors pulled to or pushed from points, and log-determinants (equation 14).

    .. math:: z + \beta h (z - z_0), \qquad
              (d - 1) \log(1 + \beta h) + \log(1 + \beta h - \beta h^2 r), \qquad
              h = \frac1{\alpha + r}, \quad r = |z - z_0|

    Args:
        z: (..., d).
        theta: z_0 and what :math:`\alpha > 0` and :math:`\beta > -\alpha` are made of, side by side
            (..., d + 2).

    Example:
        >>> radial(torch.ones(1, 2), torch.zeros(4))[0] < 1.5
        tensor([[True, True]])
    """
    z_0, alpha, beta = radial_parts(theta)
    offset = z - z_0
    r = offset.norm(dim=-1, keepdim=True)
    h = 1 / (alpha + r)
    grow = torch.log1p(beta * h)
    log_det = (z.shape[-1] - 1) * grow + torch.log1p(beta * alpha * h.square())
    return z + beta * h * offset, log_det.squeeze(-1)


def radial_parts(theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """z_0 (..., d), alpha and beta (..., 1)."""
    z_0, alpha, beta = theta.split([theta.shape[-1] - 2, 1, 1], -1)
    alpha = softplus(alpha)
    return z_0, alpha, softplus(beta) - alpha


def radial_inverse(y: Tensor, theta: Tensor) -> Tensor:
    """Vectors that :func:`radial` makes y of: their distance solves a quadratic equation."""
    z_0, alpha, beta = radial_parts(theta)
    offset = y - z_0
    R = offset.norm(dim=-1, keepdim=True)
    half = (alpha + beta - R) / 2
    r = (half.square() + R * alpha).sqrt() - half
    return z_0 + offset / (1 + beta / (alpha + r))


LAYERS = {"planar": (planar, planar_inverse), "radial": (radial, radial_inverse)}


def count(layer: str, d: int) -> int:
    """Parameters of a layer of vectors of d numbers."""
    return {"planar": 2 * d + 1, "radial": d + 2}[layer]


class Bend(Bijection):
    """One planar or radial layer with parameters of its own.

    Args:
        features: d.
        layer: "planar" or "radial".

    Example:
        >>> bend, y = Bend(2, "radial"), torch.randn(5, 2)
        >>> torch.allclose(bend.inverse(bend(y)[0]), y, atol=1e-5)
        True
    """

    def __init__(self, features: PositiveInt, layer: str) -> None:
        super().__init__()
        self.bend, self.unbend = LAYERS[layer]
        size = count(layer, features)
        self.theta = nn.Parameter(torch.randn(size) / math.sqrt(features))

    def forward(self, y: Tensor, *of: Tensor) -> tuple[Tensor, Tensor]:
        """Map (N, d) to as many, with log-determinants (N,)."""
        return self.bend(y, self.theta)

    def inverse(self, z: Tensor, *of: Tensor) -> Tensor:
        """Map (N, d) back."""
        return self.unbend(z, self.theta)


class AmortisedEncoder(nn.Module):
    """An image to the mean and the log variance of a Gaussian, and what bends its draws.

    Args:
        latent_dim: d, the dimension of a code.
        channels: Image channels.
        resolution: Image side in pixels.
        layers: Layers of the flow, whose parameters come beside.
        layer: Their kind.
        units: Units of each hidden layer.
        activation: Of the hidden layers.

    Example:
        >>> encoder = AmortisedEncoder(latent_dim=3, channels=1, resolution=4, layers=1)
        >>> encoder(torch.zeros(2, 1, 4, 4)).shape
        torch.Size([2, 13])
    """

    def __init__(
        self,
        *,
        latent_dim: PositiveInt,
        channels: PositiveInt,
        resolution: PositiveInt,
        layers: NonNegativeInt,
        layer: Literal["planar", "radial"] = "planar",
        units: Sequence[PositiveInt] = (400,),
        activation: Literal["relu", "tanh", "softplus", "gated"] = "relu",
    ) -> None:
        super().__init__()
        outputs = 2 * latent_dim + layers * count(layer, latent_dim)
        self.layers = dense([channels * resolution**2, *units, outputs], activation)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) in [-1, 1] to (N, 2 * latent_dim + ...)."""
        return self.layers(unit_range(x).flatten(1))
