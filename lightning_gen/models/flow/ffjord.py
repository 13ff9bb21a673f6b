"""FFJORD: Free-form Continuous Dynamics for Scalable Reversible Generative Models.

Grathwohl, Chen, Bettencourt, Sutskever, Duvenaud. 2018, arXiv:1810.01367.
"""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from lightning_gen.functional.draws import drawn
from lightning_gen.functional.ode import OdeMethod, odeint
from lightning_gen.models.flow.flow import FlowModule
from lightning_gen.networks.bijections import Bijection, Chain, Squeeze, View
from lightning_gen.networks.couplings import Conditioner
from lightning_gen.networks.modes import evaluating
from lightning_gen.types import Fraction, PositiveFloat, PositiveInt


class FFJORD(FlowModule):
    r"""Data flow to latents along the velocities that a network gives (equation 4).

    .. math:: \frac{dy}{dt} = f(y, t), \qquad
              \log |\det| = \int_0^1 \text{tr} \frac{\partial f}{\partial y} dt
              = E_\epsilon \int_0^1 \epsilon^T \frac{\partial f}{\partial y} \epsilon dt

    The trace is exact for points, and for images estimated with one normal :math:`\epsilon` for
    the whole way (Hutchinson's estimator), also in likelihoods, of which the mean is right.

    Note:
        Gradients flow through fixed steps of the solver, where the paper has adaptive ones
        (``method=dopri5``) and the adjoint equation. Images are squeezed once and have one scale.
        All is computed in full precision.

    References:
        Grathwohl et al., FFJORD, 2018, arXiv:1810.01367.

    Args:
        network: Makes f of a number of channels and a ``kernel``.
        method: Of the solver.
        steps: Of the solver, if its steps are fixed.
        tolerance: Error of a step, if they are not.
        trace: "exact" or "hutchinson"; "auto" is exact for points.
        space: Of images; see :class:`ContinuousDensityModule`.
        alpha: How far pixels stay from 0 and 1.
        family: Arguments of :class:`FlowModule`.
    """

    sampling: ClassVar[tuple[str, ...]] = ("method", "steps")

    def __init__(
        self,
        *,
        network: Conditioner,
        method: Literal["euler", "midpoint", "heun", "rk4", "dopri5"] = "rk4",
        steps: PositiveInt = 8,
        tolerance: PositiveFloat = 1e-5,
        trace: Literal["auto", "exact", "hutchinson"] = "auto",
        space: Literal["unit", "logit"] = "logit",
        alpha: Fraction = 0.05,
        **family: Any,
    ) -> None:
        super().__init__(space=space, alpha=alpha, **family)
        self.method, self.steps, self.tolerance = method, steps, tolerance
        points = self.likelihood_space in {"points"}
        self.exact = {"auto": points, "exact": True, "hutchinson": False}[trace]
        self.likelihood_kind = "exact" if self.exact else "estimate"
        C, H, W = (2, 1, 1) if points else (4 * self.shape[0], *(s // 2 for s in self.shape[1:]))
        into: Bijection = View((2,), (C, H, W)) if points else Squeeze()
        self.flow = Chain(into)  # what surrounds the equation
        self.flat = View((C, H, W), (self.latent_dim,))
        self.f: nn.Module = network(C, kernel=1 if points else 3)

    def transform(self, y: Tensor, *of: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (N, d) and log-determinants (N,) of data and epsilon (N, *shape), if it is."""
        epsilon = of[0] if of else self.epsilon(y)
        (y, _), (epsilon, _) = self.flow(y), self.flow(epsilon)

        def slope(t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            return self.velocity(t, state[0], epsilon)

        with torch.autocast(y.device.type, enabled=False):
            z, log_det = odeint(slope, (y, y.new_zeros(len(y))), self.times(y), *self.how)
        return self.flat(z)[0], log_det

    def invert(self, z: Tensor, *of: Tensor) -> Tensor:
        """Data (N, *shape) of latents (N, d)."""
        y = self.flat.inverse(z)
        with torch.autocast(y.device.type, enabled=False):
            return self.flow.inverse(odeint(self.f, y, self.times(y).flip(0), *self.how))

    def times(self, y: Tensor) -> Tensor:
        """Ends of the solver's steps, on the way to the latents."""
        return torch.linspace(0, 1, self.steps + 1).to(y)

    @property
    def how(self) -> tuple[OdeMethod, float]:
        """Method and tolerance of the solver."""
        return self.method, self.tolerance

    def epsilon(self, y: Tensor) -> Tensor:
        """Normal noise like y; in training that of the global batch."""
        return self.randn(*y.shape) if self.training else torch.randn_like(y)

    def velocity(self, t: Tensor, y: Tensor, epsilon: Tensor) -> tuple[Tensor, Tensor]:
        """Velocities of y (N, C, H, W), and traces of their Jacobians (N,) or estimates of them."""
        graph = torch.is_grad_enabled()
        with torch.enable_grad():
            y = y if y.requires_grad else y.detach().requires_grad_()
            f = self.f(t, y)
            probes = [epsilon]
            if self.exact:
                probes = [
                    e.expand_as(y) for e in torch.eye(y[0].numel()).to(y).view(-1, *y[0].shape)
                ]
            trace = torch.zeros(len(y)).to(y)
            for e in probes:
                (back,) = torch.autograd.grad(f, y, e, create_graph=graph, retain_graph=True)
                trace = trace + (back * e).flatten(1).sum(1)
        return (f, trace) if graph else (f.detach(), trace.detach())

    @torch.no_grad()
    def log_likelihood(
        self,
        x: Tensor,
        labels: Tensor | None = None,
        *,
        samples: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Log density (N,) in nats of images in [-1, 1], with noise that the generator draws."""
        u, epsilon = (drawn(draw, x.shape, x.device, generator) for draw in ("rand", "randn"))
        with evaluating(self):
            z, log_det = self.transform(self.continuous(x, u), epsilon)
            return self.log_base(z) + log_det

    def compile_networks(self) -> None:
        """Compile nothing: gradients of gradients are not."""
