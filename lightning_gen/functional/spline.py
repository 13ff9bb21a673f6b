"""Monotonic splines, one to one maps of the line that have closed inverses."""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad, softplus

SMALLEST = 1e-3  # share of a bin, and slope at a knot


def knots(logits: Tensor, bound: float) -> Tensor:
    """Knots (..., K + 1) from -bound to bound, whose distances are shares of logits (..., K)."""
    share = SMALLEST + (1 - SMALLEST * logits.shape[-1]) * logits.softmax(-1)
    inner = pad(share.cumsum(-1)[..., :-1], (1, 0))
    return pad(2 * bound * inner - bound, (0, 1), value=bound)


def rational_quadratic(
    x: Tensor, parameters: Tensor, bound: float, inverse: bool = False
) -> tuple[Tensor, Tensor]:
    r"""A spline of K bins in [-bound, bound], the identity outside, and its log-slope.

    With :math:`\xi \in [0, 1]` the place in a bin whose sides have the slope s, and knots'
    derivatives :math:`\delta_k`,

    .. math:: y = y_k + \frac{(y_{k+1} - y_k) (s \xi^2 + \delta_k \xi (1 - \xi))}
              {s + (\delta_{k+1} + \delta_k - 2 s) \xi (1 - \xi)}

    References:
        Durkan, Bekasov, Murray, Papamakarios, Neural Spline Flows, 2019, arXiv:1906.04032,
        equations 4 to 8.

    Args:
        x: Numbers (...).
        parameters: (..., 3 K - 1): of widths, heights, and derivatives at the inner knots.
        bound: Half the side of the square in which it bends.
        inverse: Whether x is what is to be mapped back.

    Returns:
        What x is mapped to, and the logarithm of the slope there, both (...).

    Example:
        >>> x, parameters = torch.tensor([-5.0, 0.3]), torch.randn(2, 11)
        >>> y, slope = rational_quadratic(x, parameters, bound=3)
        >>> back, minus = rational_quadratic(y, parameters, bound=3, inverse=True)
        >>> torch.allclose(x, back, atol=1e-5), torch.allclose(slope, -minus, atol=1e-5)
        (True, True)
    """
    K = (parameters.shape[-1] + 1) // 3
    across, up = (knots(part, bound) for part in parameters[..., : 2 * K].split(K, -1))
    # Slopes of zeros are 1, as those of the identity outside.
    start = math.log(math.expm1(1 - SMALLEST))
    derivatives = pad(SMALLEST + softplus(parameters[..., 2 * K :] + start), (1, 1), value=1.0)
    inside = x.abs() < bound
    place = torch.where(inside, x, torch.zeros_like(x))[..., None]
    k = torch.searchsorted((up if inverse else across)[..., 1:-1].contiguous(), place, right=True)
    x_0, x_1, y_0, y_1, d_0, d_1 = (
        table.gather(-1, k + step)[..., 0] for table in (across, up, derivatives) for step in (0, 1)
    )
    width, height, place = x_1 - x_0, y_1 - y_0, place[..., 0]
    s, bend = height / width, d_0 + d_1 - 2 * height / width
    if inverse:
        offset = place - y_0
        a = height * (s - d_0) + offset * bend
        b = height * d_0 - offset * bend
        c = -s * offset
        xi = 2 * c / (-b - (b.square() - 4 * a * c).clamp(min=0).sqrt())
        mapped = x_0 + xi * width
    else:
        xi = (place - x_0) / width
        below = s + bend * xi * (1 - xi)
        mapped = y_0 + height * (s * xi.square() + d_0 * xi * (1 - xi)) / below
    steep = d_1 * xi.square() + 2 * s * xi * (1 - xi) + d_0 * (1 - xi).square()
    log_slope = 2 * s.log() + steep.log() - 2 * (s + bend * xi * (1 - xi)).log()
    log_slope = -log_slope if inverse else log_slope
    return torch.where(inside, mapped, x), torch.where(inside, log_slope, torch.zeros_like(x))
