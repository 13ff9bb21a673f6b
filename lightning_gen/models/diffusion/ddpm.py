"""Denoising Diffusion Probabilistic Models.

Ho, Jain, Abbeel. 2020, arXiv:2006.11239.
"""

from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from lightning_gen.functional import diffusion_bound as terms
from lightning_gen.functional.draws import drawn
from lightning_gen.functional.likelihoods import log_normal
from lightning_gen.functional.noise_schedules import Levels, alphas_bar
from lightning_gen.functional.precision import at_least_float32 as full
from lightning_gen.functional.samplers import ancestral, ddim
from lightning_gen.models.diffusion.diffusion import DiffusionModule
from lightning_gen.networks.modes import evaluating
from lightning_gen.types import Fraction, PositiveInt


class DDPM(DiffusionModule):
    r"""A network tells the noise that was put on an image (equations 14 and 5).

    .. math:: L_{simple} = E_{t, x_0, \epsilon} \| \epsilon - \epsilon_\theta(
              \sqrt{\bar\alpha_t} x_0 + \sqrt{1 - \bar\alpha_t} \epsilon, t) \|^2, \qquad
              -\log p(x_0) \le L_T + \sum_{t > 1} L_{t - 1} + L_0

    where :math:`L_{t - 1} = \tfrac12 (\text{SNR}_{t - 1} - \text{SNR}_t) \|x_0 - \hat x_0\|^2`,
    with the variances of the posterior, and :math:`L_0` is of bytes (of points, a density).

    Note:
        The norm is a mean over pixels. The bound is estimated without bias, with some of its terms.

    References:
        Ho, Jain, Abbeel, Denoising Diffusion Probabilistic Models, 2020, arXiv:2006.11239.
        Nichol, Dhariwal, 2021, arXiv:2102.09672 (cosine schedule); Salimans, Ho, 2022,
        arXiv:2202.00512 (target v); Song, Meng, Ermon, 2020, arXiv:2010.02502 (DDIM).

    Args:
        timesteps: The paper's T.
        schedule: "linear" or "cosine".
        target: What the network tells: "epsilon", "x0", or "v", which is alpha eps - sigma x0.
        sampler: "ancestral" or "ddim", in any number of ``steps`` up to T.
        eta: Noise of DDIM, 0 is none.
        importance_samples: Terms of the bound that are drawn for an image.
        family: Arguments of :class:`DiffusionModule`.
    """

    sampling: ClassVar[tuple[str, ...]] = ("steps", "sampler", "eta")
    likelihood_kind = "lower bound"
    alpha: Tensor
    sigma: Tensor

    def __init__(
        self,
        *,
        timesteps: PositiveInt = 1000,
        schedule: Literal["linear", "cosine"] = "linear",
        target: Literal["epsilon", "x0", "v"] = "epsilon",
        sampler: Literal["ancestral", "ddim"] = "ancestral",
        eta: Fraction = 0.0,
        importance_samples: PositiveInt = 20,
        **family: Any,
    ) -> None:
        super().__init__(**family)
        squares = alphas_bar(schedule, timesteps)
        self.register_buffer("alpha", squares.sqrt().float(), persistent=False)
        self.register_buffer("sigma", (1 - squares).sqrt().float(), persistent=False)
        self.timesteps, self.target = timesteps, target
        self.sampler, self.eta, self.importance_samples = sampler, eta, importance_samples
        self.likelihood_space = "bytes" if self.of_images else "points"

    @property
    def nfe(self) -> int:
        """One evaluation a step, of which there are at most T."""
        return min(self.steps, self.timesteps)

    def levels(self, t: Tensor) -> Levels:
        """Factors of the path at times (N,), whole numbers from 0 to T."""
        return Levels(t, self.alpha[t.long()], self.sigma[t.long()])

    def times(self, n: int) -> Tensor:
        """Times 1 to T, each as likely as the others."""
        return 1 + self.randint(self.timesteps, n)

    def told(
        self, network: nn.Module, x: Tensor, t: Tensor, labels: Tensor | None = None
    ) -> Tensor:
        """What the network makes of x (N, ...)."""
        return full(network(x, t / self.timesteps, labels))

    def loss(self, x: Tensor, t: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """L_simple of the target."""
        x_t, (_, alpha, sigma) = self.at(x, t, noise)
        targets = {"epsilon": noise, "x0": x, "v": alpha * noise - sigma * x}
        return mse_loss(self.told(self.denoiser, x_t, t, labels), targets[self.target])

    def data_of(self, told: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """The data expected of x (N, ...) by what a network tells; images are within [-1, 1]."""
        _, alpha, sigma = self.levels(t).like(x)
        if self.target in {"epsilon"}:
            told = (x - sigma * told) / alpha
        elif self.target in {"v"}:
            told = alpha * x - sigma * told
        return told.clamp(-1, 1) if self.of_images else told

    def denoise(
        self, network: nn.Module, x: Tensor, t: Tensor, labels: Tensor | None = None
    ) -> Tensor:
        """The data expected of x (N, ...)."""
        return self.data_of(self.told(network, x, t, labels), x, t)

    def draw(
        self, noise: Tensor, labels: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """From T to 0 by the sampler, in even steps."""
        steps = min(self.steps, self.timesteps)
        t = torch.linspace(self.timesteps, 0, steps + 1, device=noise.device).round()
        sampler: Any = {"ancestral": ancestral, "ddim": partial(ddim, eta=self.eta)}[self.sampler]
        return sampler(
            lambda x, t: self.expected(x, t, labels), noise, self.levels(t), generator=generator
        )

    @torch.no_grad()
    def log_likelihood(
        self,
        x: Tensor,
        labels: Tensor | None = None,
        *,
        samples: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """A lower bound (N,) in nats, by so many terms that the generator draws, and the ends."""
        labels, k = labels if self.requires_labels else None, samples or self.importance_samples
        u = drawn("rand", (k, len(x)), x.device, generator)
        times, weights = terms.drawn_terms(self.alpha, self.sigma, u)

        def guess(t: Tensor) -> Tensor:
            x_t, _ = self.at(x, t, drawn("randn", x.shape, x.device, generator))
            return self.denoise(self.network, x_t, t, labels)

        with evaluating(self):
            bound = -terms.last_term(x, self.alpha[-1])
            for t, weight in zip(times, weights, strict=True):
                bound -= weight * (x - guess(t)).square().flatten(1).sum(1)
            log_p = terms.log_bytes_normal if self.of_images else log_normal
            return bound + log_p(x, guess(torch.ones_like(u[0])), 2 * self.sigma[1].log())
