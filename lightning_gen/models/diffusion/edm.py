"""Elucidating the Design Space of Diffusion-Based Generative Models.

Karras, Aittala, Aila, Laine. 2022, arXiv:2206.00364.
"""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from lightning_gen.functional.noise_schedules import Levels, karras_sigmas, preconditioning
from lightning_gen.functional.precision import at_least_float32 as full
from lightning_gen.functional.samplers import ddim, heun
from lightning_gen.models.diffusion.diffusion import DiffusionModule
from lightning_gen.types import NonNegativeFloat, PositiveFloat


class EDM(DiffusionModule):
    r"""A denoiser of data with noise of any standard deviation on them (equations 7 and 8).

    .. math:: D(x; \sigma) = c_{skip} x + c_{out} F(c_{in} x; c_{noise}), \qquad
              L = E_{\sigma, y, n} \lambda(\sigma) \|D(y + n; \sigma) - y\|^2

    with :math:`\ln \sigma \sim N(P_{mean}, P_{std}^2)`, :math:`n \sim N(0, \sigma^2 I)` and
    :math:`\lambda = 1 / c_{out}^2`. The time of the path is :math:`\sigma` itself.

    Note:
        The norm is a mean over pixels. There is no augmentation.

    References:
        Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022,
        arXiv:2206.00364.

    Args:
        sigma_data: Standard deviation of the data.
        sigma_min: Smallest level of the sampler.
        sigma_max: Largest, where it starts.
        rho: How much denser the small levels are.
        P_mean: Mean of the logarithm of the levels of training.
        P_std: Its standard deviation.
        sampler: "heun", of 2 ``steps`` - 1 evaluations, or "euler", of one a step.
        churn: Noise that Heun's method adds, the paper's :math:`S_{churn}`; 0 is none.
        churn_min: Smallest level at which it does.
        churn_max: Largest.
        churn_noise: Standard deviation of what is added, the paper's :math:`S_{noise}`.
        family: Arguments of :class:`DiffusionModule`.
    """

    sampling: ClassVar[tuple[str, ...]] = ("steps", "sampler", "churn")

    def __init__(
        self,
        *,
        sigma_data: PositiveFloat = 0.5,
        sigma_min: PositiveFloat = 0.002,
        sigma_max: PositiveFloat = 80.0,
        rho: PositiveFloat = 7.0,
        P_mean: float = -1.2,
        P_std: PositiveFloat = 1.2,
        sampler: Literal["heun", "euler"] = "heun",
        churn: NonNegativeFloat = 0.0,
        churn_min: NonNegativeFloat = 0.05,
        churn_max: PositiveFloat = 50.0,
        churn_noise: PositiveFloat = 1.003,
        **family: Any,
    ) -> None:
        super().__init__(**family)
        self.sigma_data, self.sigma_min, self.sigma_max = sigma_data, sigma_min, sigma_max
        self.rho, self.P_mean, self.P_std = rho, P_mean, P_std
        self.sampler, self.churn, self.churn_noise = sampler, churn, churn_noise
        self.churn_min, self.churn_max = churn_min, churn_max

    @property
    def nfe(self) -> int:
        """Two evaluations a step of Heun's method, but one in the last."""
        return {"heun": 2 * self.steps - 1, "euler": self.steps}[self.sampler]

    def levels(self, t: Tensor) -> Levels:
        """Factors of the path at noise levels (N,)."""
        return Levels(t, torch.ones_like(t), t)

    def times(self, n: int) -> Tensor:
        """Noise levels (n,), log-normal."""
        return (self.P_mean + self.P_std * self.randn(n)).exp()

    def denoise(
        self, network: nn.Module, x: Tensor, t: Tensor, labels: Tensor | None = None
    ) -> Tensor:
        """The denoiser D of x (N, ...) at noise levels (N,)."""
        c = preconditioning(t.view(-1, *[1] * (x.ndim - 1)), self.sigma_data)
        return c.skip * x + c.out * full(network(c.inside * x, c.noise.flatten(), labels))

    def loss(self, x: Tensor, t: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """The weighted error of the denoiser, which begins at one."""
        x_t, (sigma, *_) = self.at(x, t, noise)
        weight = preconditioning(sigma, self.sigma_data).out ** -2
        return (weight * (self.denoise(self.denoiser, x_t, t, labels) - x).square()).mean()

    def draw(
        self, noise: Tensor, labels: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """From the largest level to none."""
        sigma = karras_sigmas(self.steps, self.sigma_min, self.sigma_max, self.rho)
        levels = self.levels(sigma.to(noise))

        if self.sampler in {"euler"}:
            return ddim(self.expected, noise * self.sigma_max, levels)
        return heun(
            *(self.expected, noise * self.sigma_max, levels),
            churn=self.churn,
            churn_min=self.churn_min,
            churn_max=self.churn_max,
            churn_noise=self.churn_noise,
            generator=generator,
        )
