r"""Ordinary differential equations :math:`dy/dt = f(t, y)`, solved by explicit Runge-Kutta methods.

Dormand, Prince, A family of embedded Runge-Kutta formulae, 1980, doi:10.1016/0771-050X(80)90013-3;
Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, 1993, ISBN 978-3-540-56670-0.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from lightning_gen.errors import DivergedError

OdeMethod = Literal["euler", "midpoint", "heun", "rk4", "dopri5"]
State = tuple[Tensor, ...]
Field = Callable[[Tensor, Any], Any]


class Tableau(NamedTuple):
    """Butcher's: how each stage combines those before it, their weights, and those of the error."""

    stages: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    error: tuple[float, ...] = ()


DOPRI5 = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
FOURTH = (5179 / 57600, 0, 7571 / 16695, 393 / 640, -92097 / 339200, 187 / 2100, 1 / 40)
FIFTH = (*DOPRI5[-1], 0)
METHODS = {
    "euler": Tableau((), (1,)),
    "midpoint": Tableau(((1 / 2,),), (0, 1)),
    "heun": Tableau(((1,),), (1 / 2, 1 / 2)),
    "rk4": Tableau(((1 / 2,), (0, 1 / 2), (0, 0, 1)), (1 / 6, 1 / 3, 1 / 3, 1 / 6)),
    "dopri5": Tableau(DOPRI5, FIFTH, tuple(a - b for a, b in zip(FIFTH, FOURTH, strict=True))),
}


def odeint(f: Field, y0: Any, t: Tensor, method: OdeMethod = "rk4", tolerance: float = 1e-5) -> Any:
    r"""Solve :math:`dy/dt = f(t, y)` from the first of the times to the last.

    Args:
        f: Of a time (a scalar tensor) and a state like ``y0``, to the slope of the state. It is
            called once a stage: 1, 2, 2, 4 times a step, in the order of the methods below.
        y0: State at t[0]: a tensor (N, ...), or a tuple of them.
        t: Times (T,), rising or falling. Fixed steps lead from each to the next; dopri5 chooses
            its own steps between the first and the last.
        method: "euler", "midpoint", "heun", "rk4", or the adaptive "dopri5".
        tolerance: Absolute and relative error of a step of dopri5, as the root mean square of a
            row; it holds for each row, so steps depend on all rows that are solved together.

    Returns:
        State at t[-1], through which gradients flow.

    Raises:
        DivergedError: If no step of dopri5 is small enough.

    Example:
        >>> import math
        >>> t = torch.linspace(0, 1, 11)
        >>> odeint(lambda t, y: y, torch.ones(1), t, "rk4") - math.e < 1e-5
        tensor([True])
        >>> y, area = odeint(lambda t, s: (-s[0], s[0]), (torch.ones(1), torch.zeros(1)), t, "heun")
        >>> y + area
        tensor([1.])
    """
    if not torch.is_tensor(y0):
        return _solve(f, tuple(y0), t, METHODS[method], tolerance)
    return _solve(lambda s, y: (f(s, y[0]),), (y0,), t, METHODS[method], tolerance)[0]


def _solve(f: Field, y: State, t: Tensor, tableau: Tableau, tolerance: float) -> State:
    if tableau.error:
        return _adaptive(f, y, t, tableau, tolerance)
    for start, end in pairwise(t):
        k = _slopes(f, start, y, end - start, tableau)
        y = _along(y, end - start, tableau.weights, k)
    return y


def _slopes(
    f: Field, t: Tensor, y: State, h: Tensor, tableau: Tableau, first: State | None = None
) -> list[State]:
    """Slopes of the stages of a step h, of which the first may be known."""
    k = [f(t, y) if first is None else first]
    for row in tableau.stages:
        k.append(f(t + sum(row) * h, _along(y, h, row, k)))
    return k


def _along(y: State, h: Tensor, weights: Sequence[float], k: Sequence[State]) -> State:
    """State at the end of a step h with slopes k in these weights."""
    return tuple(
        part + h * sum(w * slope[i] for w, slope in zip(weights, k, strict=True) if w)
        for i, part in enumerate(y)
    )


def _adaptive(f: Field, y: State, t: Tensor, tableau: Tableau, tolerance: float) -> State:
    """Steps as large as the error allows; the last slope of one is the first of the next."""
    now, end = t[0], t[-1]
    h, smallest = (end - now) / 10, 1e-6 * (end - now).abs()
    first = f(now, y)
    while now != end:
        h = torch.where((now + h - end) * h.sign() > 0, end - now, h)
        k = _slopes(f, now, y, h, tableau, first)
        new = _along(y, h, tableau.weights, k)
        with torch.no_grad():
            wrong = _along(tuple(torch.zeros_like(part) for part in y), h, tableau.error, k)
            error = torch.stack([_relative(*p, tolerance) for p in zip(wrong, y, new, strict=True)])
            factor = (0.9 * error.max() ** -0.2).nan_to_num(0.2).clamp(0.2, 5)
        if error.max() <= 1:
            now, y, first = torch.where(h == end - now, end, now + h), new, k[-1]
        elif h.abs() < smallest:
            raise DivergedError(
                f"a differential equation needs steps below {smallest:.1e} at t = {now:.4f}",
                where="functional/ode.py, dopri5",
                fix="train with a lower learning rate, or use fixed steps",
            )
        h = h * factor
    return y


def _relative(error: Tensor, y: Tensor, new: Tensor, tolerance: float) -> Tensor:
    """Largest error of a row, in parts of what is tolerated."""
    allowed = tolerance * (1 + torch.maximum(y.abs(), new.abs()))
    return (error / allowed).view(len(y), -1).square().mean(1).sqrt().max()
