"""Score-Based Generative Modeling through Stochastic Differential Equations.

Song, Sohl-Dickstein, Kingma, Kumar, Ermon, Poole. 2020, arXiv:2011.13456.
"""

import math
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.func import jvp
from torch.nn.functional import mse_loss

from lightning_gen.functional import noise_schedules as schedules
from lightning_gen.functional.dequantise import dequantise
from lightning_gen.functional.draws import drawn
from lightning_gen.functional.noise_schedules import Levels
from lightning_gen.functional.ode_likelihood import ode_log_density
from lightning_gen.functional.precision import at_least_float32 as full
from lightning_gen.functional.samplers import (
    ddim,
    euler_maruyama,
    ode_slope,
    predictor_corrector,
)
from lightning_gen.models.diffusion.diffusion import DiffusionModule
from lightning_gen.networks.modes import evaluating
from lightning_gen.types import Fraction, PositiveFloat


class ScoreSDE(DiffusionModule):
    r"""The score of data that diffuse continuously, and the diffusion reversed (equations 6, 7).

    .. math:: L = E_t \lambda(t) E \|s_\theta(x_t, t) - \nabla \log p(x_t | x_0)\|^2
              = E \|\epsilon_\theta(x_t, t) - \epsilon\|^2, \quad \lambda = \sigma_t^2

    where :math:`s_\theta = -\epsilon_\theta / \sigma_t`. The diffusion preserves variance (VP) or
    makes it explode (VE); the same marginals follow an ordinary equation, which gives densities.

    Note:
        The norm is a mean over pixels, and pixels are in [-1, 1] under VE too. The network sees
        about unit variance, and tells only what the noise is beyond that in normal data: a short
        training then does not have to learn it. Likelihoods are of pixels with uniform noise.

    References:
        Song et al., Score-Based Generative Modeling through Stochastic Differential Equations,
        2020, arXiv:2011.13456.

    Args:
        sde: "vp" or "ve".
        smallest_time: Where the diffusion is cut: of training, and of likelihoods.
        last_time: Where samplers end.
        sampler: "euler_maruyama", "predictor_corrector" (two evaluations a step, but one in the
            last), or "probability_flow", which draws nothing.
        snr: Of the corrector, the paper's r.
        tolerance: Of the solver of likelihoods.
        family: Arguments of :class:`DiffusionModule`.
    """

    sampling: ClassVar[tuple[str, ...]] = ("steps", "sampler", "snr")

    def __init__(
        self,
        *,
        sde: Literal["vp", "ve"] = "vp",
        smallest_time: Fraction = 1e-5,
        last_time: Fraction = 1e-3,
        sampler: Literal[
            "euler_maruyama", "predictor_corrector", "probability_flow"
        ] = "predictor_corrector",
        snr: PositiveFloat = 0.16,
        tolerance: PositiveFloat = 1e-5,
        **family: Any,
    ) -> None:
        super().__init__(**family)
        self.levels_of = {"vp": schedules.vp_levels, "ve": schedules.ve_levels}[sde]
        self.smallest_time, self.last_time = smallest_time, last_time
        self.sampler, self.snr, self.tolerance = sampler, snr, tolerance
        self.likelihood_space = "unit" if self.of_images else "points"
        self.likelihood_kind = "estimate" if self.of_images else "exact"

    @property
    def nfe(self) -> int:
        """Two evaluations a step with a corrector, which the last has not."""
        return 2 * self.steps - 1 if self.sampler in {"predictor_corrector"} else self.steps

    def levels(self, t: Tensor) -> Levels:
        """Factors of the path at times (N,) in [0, 1]."""
        return self.levels_of(t)

    def times(self, n: int) -> Tensor:
        """Times (n,), all as likely, but none too near the data."""
        return self.smallest_time + (1 - self.smallest_time) * self.rand(n)

    def told(self, network: nn.Module, x: Tensor, t: Tensor, labels: Tensor | None) -> Tensor:
        """The noise that the network sees in x (N, ...)."""
        at = self.levels(t).like(x)
        scaled = x * (at.alpha**2 + at.sigma**2).rsqrt()
        return schedules.noise_beyond_normal(full(network(scaled, t, labels)), x, at)

    def loss(self, x: Tensor, t: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """The error of the score, times sigma."""
        x_t, _ = self.at(x, t, noise)
        return mse_loss(self.told(self.denoiser, x_t, t, labels), noise)

    def denoise(
        self, network: nn.Module, x: Tensor, t: Tensor, labels: Tensor | None = None
    ) -> Tensor:
        """The data expected of x (N, ...)."""
        _, alpha, sigma = self.levels(t).like(x)
        return (x - sigma * self.told(network, x, t, labels)) / alpha

    def draw(
        self, noise: Tensor, labels: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """From t = 1 almost to 0, evenly, by the sampler."""
        t = torch.linspace(1, self.last_time, self.steps + 1, device=noise.device)
        levels = self.levels(t)
        sampler: Any = {
            "euler_maruyama": euler_maruyama,
            "predictor_corrector": partial(predictor_corrector, snr=self.snr),
            "probability_flow": ddim,
        }[self.sampler]
        return sampler(*(self.expected, levels.sigma[0] * noise, levels), generator=generator)

    def velocity(self, x: Tensor, t: Tensor) -> Tensor:
        """The probability-flow velocity (equation 13) of x (N, ...) at times (N,)."""
        t = t.contiguous()  # where one time is expanded over a batch, jvp refuses it
        levels, slopes, *_ = jvp(self.levels, (t,), (torch.ones_like(t),))
        return ode_slope(x, self.expected(x, t), levels.like(x), slopes.like(x))

    def log_likelihood(
        self, x: Tensor, *, samples: int | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Log density (N,) by the ordinary equation, with a trace that is exact for points."""
        probe, d = None, x[0].numel() if self.of_images else 0
        if self.of_images:
            x = 2 * dequantise(x, drawn("rand", x.shape, x.device, generator)) - 1
            probe = drawn("rand", x.shape, x.device, generator).sub(0.5).sign()
        t = x.new_tensor([self.smallest_time, 1.0])
        std = float(self.levels(t).sigma[1])
        with evaluating(self):
            log_p = ode_log_density(
                *(self.velocity, x, t), std=std, probe=probe, tolerance=self.tolerance
            )
        return log_p + d * math.log(2)
