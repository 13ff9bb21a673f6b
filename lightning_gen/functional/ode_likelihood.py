"""The density of what a differential equation carries from data to noise."""

from collections.abc import Callable

import torch
from torch import Tensor

from lightning_gen.functional.likelihoods import log_normal
from lightning_gen.functional.ode import OdeMethod, odeint

Velocity = Callable[[Tensor, Tensor], Tensor]


def divergence(f: Callable[[Tensor], Tensor], x: Tensor, probe: Tensor | None) -> Tensor:
    r"""The slope of a field and its divergence, exact or estimated.

    .. math:: \nabla \cdot f = \sum_i \frac{\partial f_i}{\partial x_i}
              = E_v v^T \frac{\partial f}{\partial x} v, \quad E v v^T = I

    References:
        Grathwohl et al., FFJORD, 2018, arXiv:1810.01367, section 3.1.

    Args:
        f: Of x, row by row, to the same shape.
        x: (N, ...).
        probe: v, the shape of x; None is exact, and takes as many backward passes as x has
            components.

    Returns:
        (N,).

    Example:
        >>> divergence(lambda x: x**2, torch.tensor([[1.0, 2.0]]), None)
        tensor([6.])
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        y = f(x)
        if probe is not None:
            (slope,) = torch.autograd.grad((y * probe).sum(), x)
            return (slope * probe).flatten(1).sum(1)
        columns = [
            torch.autograd.grad(y_i.sum(), x, retain_graph=True)[0].flatten(1)[:, i]
            for i, y_i in enumerate(y.flatten(1).unbind(1))
        ]
        return torch.stack(columns).sum(0)


@torch.no_grad()
def ode_log_density(
    velocity: Velocity,
    x: Tensor,
    t: Tensor,
    *,
    std: float = 1.0,
    probe: Tensor | None = None,
    method: OdeMethod = "dopri5",
    tolerance: float = 1e-5,
) -> Tensor:
    r"""Log density of data that are carried to normal noise.

    .. math:: \log p(x) = \log N(x_1; 0, s^2 I) + \int \nabla \cdot v(x_t, t) dt

    along the path from the data at the first time to the noise at the last.

    References:
        Chen et al., Neural Ordinary Differential Equations, 2018, arXiv:1806.07366, theorem 1;
        Song et al., 2020, arXiv:2011.13456, equation 39.

    Args:
        velocity: Of x (N, ...) and times (N,), dx / dt.
        x: Data (N, ...).
        t: Times (K + 1,) of the solver, from data to noise, rising or falling.
        std: s.
        probe: Of :func:`divergence`.
        method: Of the solver.
        tolerance: Of dopri5.

    Returns:
        (N,), in nats.

    Example:
        >>> t = torch.linspace(0, 1, 9)  # x shrinks by e, so the density at 0 grows by e^2
        >>> x = torch.zeros(1, 2)
        >>> ode_log_density(lambda x, t: -x, x, t, method="rk4")
        tensor([-3.8379])
    """

    def slopes(t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        y, times = state[0], t.expand(len(x))
        return velocity(y, times), divergence(lambda y: velocity(y, times), y, probe)

    end, integral = odeint(slopes, (x, x.new_zeros(len(x))), t, method, tolerance)
    d = x[0].numel()
    noise = log_normal((end / std).flatten(1)) - d * torch.tensor(std).log().to(x)
    return noise + integral
