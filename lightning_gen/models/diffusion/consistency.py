"""Consistency Models, trained on data alone.

Song, Dhariwal, Chen, Sutskever. 2023, arXiv:2303.01469; Song, Dhariwal. Improved Techniques for
Training Consistency Models, 2023, arXiv:2310.14189.
"""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lightning_gen.functional.noise_schedules import Levels, karras_sigmas, preconditioning
from lightning_gen.functional.precision import at_least_float32 as full
from lightning_gen.functional.samplers import multistep
from lightning_gen.models.diffusion.diffusion import DiffusionModule
from lightning_gen.types import PositiveFloat, PositiveInt


class Consistency(DiffusionModule):
    r"""A function that is the same along a path from data to noise, so noise tells data at once.

    .. math:: L = E \lambda_n d(f_\theta(x + \sigma_{n + 1} z, \sigma_{n + 1}),
              f_{\theta^-}(x + \sigma_n z, \sigma_n)), \quad f(x, \epsilon) = x

    with the same x and z on both sides, no gradient on the second, the distance
    :math:`d = \sqrt{\|a - b\|^2 + c^2} - c`, :math:`c = 0.00054 \sqrt d`, and
    :math:`\lambda_n = 1 / (\sigma_{n + 1} - \sigma_n)`. Levels grow denser in training.

    Note:
        As in the later paper :math:`\theta^- = \theta`, and n is drawn log-normal. The number of
        levels doubles every ``doubling_images`` images, in the paper eight times in a run.

    References:
        Song et al., Consistency Models, 2023, arXiv:2303.01469, algorithms 1 and 3.
        Song, Dhariwal, Improved Techniques for Training Consistency Models, 2023,
        arXiv:2310.14189, table 1.

    Args:
        sigma_data: Standard deviation of the data.
        sigma_min: Smallest level, where f is the identity.
        sigma_max: Largest, where samples start.
        first_levels: The paper's :math:`s_0`: intervals between levels at first.
        last_levels: :math:`s_1`: intervals at most.
        doubling_images: Images after which there are twice as many.
        P_mean: Mean of the logarithm of the levels of training.
        P_std: Its standard deviation.
        middle: Level of the second of two ``steps``; of more, those between are spaced evenly in
            the logarithm, down to it.
        family: Arguments of :class:`DiffusionModule`.
    """

    sampling: ClassVar[tuple[str, ...]] = ("steps", "middle")

    def __init__(
        self,
        *,
        sigma_data: PositiveFloat = 0.5,
        sigma_min: PositiveFloat = 0.002,
        sigma_max: PositiveFloat = 80.0,
        first_levels: PositiveInt = 10,
        last_levels: PositiveInt = 1280,
        doubling_images: PositiveInt = 51_200_000,
        P_mean: float = -1.1,
        P_std: PositiveFloat = 2.0,
        middle: PositiveFloat = 0.821,
        **family: Any,
    ) -> None:
        super().__init__(**family)
        self.sigma_data, self.sigma_min, self.sigma_max = sigma_data, sigma_min, sigma_max
        self.first_levels, self.last_levels = first_levels, last_levels
        self.doubling_images = doubling_images
        self.P_mean, self.P_std, self.middle = P_mean, P_std, middle

    @property
    def grid(self) -> Tensor:
        """The levels of the moment, rising."""
        doublings = min(self.images_before // self.doubling_images, 30)
        intervals = min(self.first_levels * 2**doublings, self.last_levels)
        sigmas = karras_sigmas(intervals + 1, self.sigma_min, self.sigma_max)
        return sigmas[:-1].flip(0).to(self.device)

    def times(self, n: int) -> Tensor:
        """Which intervals (n,) of the levels, each as likely as a log-normal level is in it."""
        z = (self.grid.log() - self.P_mean) / self.P_std / math.sqrt(2)
        below = torch.erf(z)
        share = (below - below[0]) / (below[-1] - below[0])
        return torch.searchsorted(share, self.rand(n), right=True).clamp(1, len(share) - 1) - 1

    def levels(self, t: Tensor) -> Levels:
        """Factors of the path at noise levels (N,)."""
        return Levels(t, torch.ones_like(t), t)

    def denoise(
        self, network: nn.Module, x: Tensor, t: Tensor, labels: Tensor | None = None
    ) -> Tensor:
        """The function f of x (N, ...) at noise levels (N,): the start of the path through x."""
        sigma = t.view(-1, *[1] * (x.ndim - 1))
        c = preconditioning(sigma, self.sigma_data, self.sigma_min)
        return c.skip * x + c.out * full(network(c.inside * x, c.noise.flatten(), labels))

    def loss(self, x: Tensor, t: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """The weighted distance between both ends of the intervals t."""
        near, far = self.grid[t], self.grid[t + 1]
        there = self.denoise(self.denoiser, self.at(x, far, noise)[0], far, labels)
        with torch.no_grad():
            here = self.denoise(self.denoiser, self.at(x, near, noise)[0], near, labels)
        c = 0.00054 * math.sqrt(x[0].numel())
        distance = ((there - here).square().flatten(1).sum(1) + c**2).sqrt() - c
        return (distance / (far - near)).mean()

    def draw(
        self, noise: Tensor, labels: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """From the largest level in one step or some."""
        ends = math.log(self.sigma_max), math.log(self.middle)
        sigma = torch.linspace(*ends, max(self.steps, 2), device=noise.device).exp()[: self.steps]
        levels = self.levels(sigma)
        return multistep(self.expected, noise * sigma[0], levels, generator=generator)
