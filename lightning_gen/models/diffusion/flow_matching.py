"""Flow Matching for Generative Modeling.

Lipman, Chen, Ben-Hamu, Nickel, Le. 2022, arXiv:2210.02747.
"""

import math
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from lightning_gen.functional.dequantise import dequantise, quantise
from lightning_gen.functional.draws import drawn
from lightning_gen.functional.noise_schedules import Levels
from lightning_gen.functional.ode import METHODS, odeint
from lightning_gen.functional.ode_likelihood import ode_log_density
from lightning_gen.functional.precision import at_least_float32 as full
from lightning_gen.models.diffusion.diffusion import DiffusionModule
from lightning_gen.networks.modes import evaluating
from lightning_gen.types import HalfOpenFraction, PositiveFloat


class FlowMatching(DiffusionModule):
    r"""A network tells the velocity with which noise flows straight to data (equation 23).

    .. math:: L = E_{t, x_0, x_1} \|v_\theta(\psi_t, t) - (x_1 - (1 - \sigma_{min}) x_0) \|^2,
              \quad \psi_t = (1 - (1 - \sigma_{min}) t) x_0 + t x_1

    As in the paper t rises from noise :math:`x_0` to data :math:`x_1`. Samples and densities
    follow from :math:`dx / dt = v_\theta(x, t)`.

    Note:
        The norm is a mean over pixels. The data are images with uniform noise within their bytes,
        whose density is that of ``unit`` pixels; samples are rounded to bytes. Of images the
        divergence is estimated with one probe (Hutchinson), of points it is exact.

    References:
        Lipman et al., Flow Matching for Generative Modeling, 2022, arXiv:2210.02747.

    Args:
        sigma_min: Standard deviation that is left at t = 1.
        sampler: "euler", "midpoint", "heun", "rk4" (1, 2, 2, 4 evaluations a step), or the
            adaptive "dopri5", which ``steps`` mean nothing to.
        tolerance: Error of a step of dopri5, in samples and likelihoods.
        family: Arguments of :class:`DiffusionModule`.
    """

    sampling: ClassVar[tuple[str, ...]] = ("steps", "sampler", "tolerance")

    def __init__(
        self,
        *,
        sigma_min: HalfOpenFraction = 0.0,
        sampler: Literal["euler", "midpoint", "heun", "rk4", "dopri5"] = "dopri5",
        tolerance: PositiveFloat = 1e-5,
        **family: Any,
    ) -> None:
        super().__init__(**family)
        self.sigma_min, self.sampler, self.tolerance = sigma_min, sampler, tolerance
        self.likelihood_space = "unit" if self.of_images else "points"
        self.likelihood_kind = "estimate" if self.of_images else "exact"

    @property
    def nfe(self) -> int | None:
        """One evaluation a stage of the method; dopri5 decides for itself."""
        method = METHODS[self.sampler]
        return None if method.error else self.steps * (1 + len(method.stages))

    def levels(self, t: Tensor) -> Levels:
        """Factors of the path at times (N,): of data and of noise."""
        return Levels(t, t, 1 - (1 - self.sigma_min) * t)

    def continuous(self, x: Tensor, u: Tensor) -> Tensor:
        """Images with noise u in [0, 1) within their bytes; points as they are."""
        return 2 * dequantise(x, u) - 1 if self.of_images else x

    def pairs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Data that are real numbers, and noise."""
        return self.continuous(x, self.rand(*x.shape)), self.randn(*x.shape)

    def told(self, network: nn.Module, x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        """The velocity that the network sees in x (N, ...)."""
        return full(network(x, t, labels))

    def loss(self, x: Tensor, t: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """The error of the velocity."""
        x_t, _ = self.at(x, t, noise)
        velocity = x - (1 - self.sigma_min) * noise
        return mse_loss(self.told(self.denoiser, x_t, t, labels), velocity)

    def denoise(
        self, network: nn.Module, x: Tensor, t: Tensor, labels: Tensor | None = None
    ) -> Tensor:
        """The data expected of x (N, ...): where the velocity leads."""
        sigma = self.levels(t).like(x).sigma
        return (1 - self.sigma_min) * x + sigma * self.told(network, x, t, labels)

    def flow(
        self, network: nn.Module, noise: Tensor, steps: int, labels: Tensor | None = None
    ) -> Tensor:
        """Lead noise (N, ...) to data by a network's velocities, in so many even steps."""
        times = torch.linspace(0, 1, steps + 1, device=noise.device)

        def velocity(t: Tensor, x: Tensor) -> Tensor:
            return self.told(network, x, t.expand(len(x)), labels)

        return odeint(velocity, noise, times, self.sampler, self.tolerance)

    def draw(
        self, noise: Tensor, labels: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """From t = 0 to 1."""
        return self.flow(self.network, noise, self.steps, labels)

    def picture(self, x: Tensor) -> Tensor:
        """Images of bytes in [-1, 1]; points as they are."""
        return quantise((x + 1) / 2) if self.of_images else x

    def log_likelihood(
        self, x: Tensor, *, samples: int | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Log density (N,) by the equation from data to noise, with the generator's probe."""
        probe, d = None, x[0].numel() if self.of_images else 0
        if self.of_images:
            x = self.continuous(x, drawn("rand", x.shape, x.device, generator))
            probe = drawn("rand", x.shape, x.device, generator).sub(0.5).sign()
        with evaluating(self):
            log_p = ode_log_density(
                *(lambda x, t: self.told(self.network, x, t, None), x, x.new_tensor([1.0, 0.0])),
                probe=probe,
                tolerance=self.tolerance,
            )
        return log_p + d * math.log(2)
