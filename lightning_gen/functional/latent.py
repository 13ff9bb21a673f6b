"""Ways between latent vectors."""

import torch
from torch import Tensor


def lerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    r"""The straight line from a to b.

    .. math:: (1 - t) a + t b

    Args:
        a: Vectors (..., d) at t = 0.
        b: Vectors (..., d) at t = 1; the ends are exact.
        t: Shares of the way (...), of a shape that broadcasts with theirs without d.

    Returns:
        Vectors (..., d).

    Example:
        >>> lerp(torch.tensor([0.0, 2.0]), torch.tensor([4.0, 2.0]), torch.tensor([0.0, 0.25, 1.0]))
        tensor([[0., 2.],
                [1., 2.],
                [4., 2.]])
    """
    t = t[..., None]
    return (1 - t) * a + t * b


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    r"""The arc from a to b: the direction turns evenly, the norm changes linearly.

    .. math:: ((1 - t) |a| + t |b|) \left( \frac{\sin (1 - t) \omega}{\sin \omega} \frac{a}{|a|}
              + \frac{\sin t \omega}{\sin \omega} \frac{b}{|b|} \right)

    with the angle :math:`\omega` between a and b. A straight line between two normal vectors passes
    norms that such vectors do not have; the arc does not. Where there is no unique arc (a and b
    parallel, opposite or zero) it is the straight line.

    References:
        Shoemake, Animating rotation with quaternion curves, 1985, doi:10.1145/325165.325242; White,
        Sampling Generative Networks, 2016, arXiv:1609.04468.

    Args:
        a: Vectors (..., d) at t = 0.
        b: Vectors (..., d) at t = 1; the ends are exact.
        t: Shares of the way (...), of a shape that broadcasts with theirs without d.

    Returns:
        Vectors (..., d).

    Example:
        >>> slerp(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 3.0]), torch.tensor([0.0, 0.5, 1.0]))
        tensor([[1.0000, 0.0000],
                [1.4142, 1.4142],
                [0.0000, 3.0000]])
    """
    line, t = lerp(a, b, t), t[..., None]
    norm_a, norm_b = (v.norm(dim=-1, keepdim=True) for v in (a, b))
    unit_a, unit_b = a / norm_a, b / norm_b
    # Exact also for small angles, where the arc cosine of the inner product is not.
    apart, together = ((unit_a + s * unit_b).norm(dim=-1, keepdim=True) for s in (-1, 1))
    omega = 2 * torch.atan2(apart, together)
    norm = (1 - t) * norm_a + t * norm_b
    share_a = torch.sin((1 - t) * omega) / torch.sin(omega) * (norm / norm_a)
    share_b = torch.sin(t * omega) / torch.sin(omega) * (norm / norm_b)
    # At smaller angles arc and line are the same to rounding; near opposite ends the arc is lost
    # in it. Not a number, of a zero vector, is no arc either.
    has_arc = torch.sin(omega) > torch.finfo(omega.dtype).eps ** 0.5
    return torch.where(has_arc, share_a * a + share_b * b, line)
