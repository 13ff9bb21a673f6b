"""Glow: Generative Flow with Invertible 1x1 Convolutions.

Kingma, Dhariwal. 2018, arXiv:1807.03039.
"""

from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from lightning_gen.models.flow.flow import FlowModule
from lightning_gen.networks.bijections import (
    ActNorm,
    Bijection,
    Chain,
    InvertibleLinear,
    Split,
    Squeeze,
    View,
)
from lightning_gen.networks.couplings import Affine, Conditioner, Coupling
from lightning_gen.types import Fraction, NonNegativeFloat, NonNegativeInt, PositiveInt


class Glow(FlowModule):
    r"""Steps of scaling, of mixing the channels by a matrix, and of coupling, at several scales.

    .. math:: y \to s \odot (y - b), \qquad y \to W y, \qquad
              z_a = y_a, \quad z_b = (y_b + t(y_a)) \odot \sigma(h(y_a) + 2)

    A scale squeezes 2 x 2 pixels to channels and takes K steps; then half of the channels leave,
    standardised by what those that go on say of them: the paper's learnt prior. The first images
    have mean 0 and variance 1 after each scaling.

    Note:
        28 pixels are squeezed to 14 and to 7, without padding, where the paper has L = 3 for 32
        pixels. Points are images of one pixel and two channels. The last channels have a standard
        normal prior. Layers of zeros have no scale of their own.

    References:
        Kingma and Dhariwal, Glow: Generative Flow with Invertible 1x1 Convolutions, 2018,
        arXiv:1807.03039.

    Args:
        network: Makes h and t of the numbers of channels in and out, and a ``kernel``.
        blocks: K; the paper has 32.
        levels: L, the squeezes.
        temperature: Standard deviation of the latents of samples; the paper has 0.7 for pictures.
        space: Of images; see :class:`ContinuousDensityModule`.
        alpha: How far pixels stay from 0 and 1, in logit space.
        family: Arguments of :class:`FlowModule`.
    """

    sampling: ClassVar[tuple[str, ...]] = ("temperature",)

    def __init__(
        self,
        *,
        network: Conditioner,
        blocks: PositiveInt = 32,
        levels: NonNegativeInt = 2,
        temperature: NonNegativeFloat = 1.0,
        space: Literal["unit", "logit"] = "logit",
        alpha: Fraction = 0.05,
        **family: Any,
    ) -> None:
        super().__init__(space=space, alpha=alpha, **family)
        self.temperature, self.K = temperature, blocks
        points = self.likelihood_space in {"points"}
        self.network: Conditioner = partial(network, kernel=1) if points else network
        if points:
            whole = View((2, 1, 1), (2,))
            self.flow = Chain(View((2,), (2, 1, 1)), *self.steps_of(2), whole)
            return
        C, side = self.shape[0], self.shape[-1]
        if side % 2**levels or not levels:
            raise ValueError(f"resolution {side} must be divisible by 2^levels = {2**levels} > 1")
        self.flow = self.scale(C, side, levels)

    def scale(self, C: int, side: int, levels: int) -> Bijection:
        """Images (C, side, side) to latents, by so many scales."""
        C, side = 4 * C, side // 2
        steps = [Squeeze(), *self.steps_of(C)]
        if levels == 1:
            return Chain(*steps, View((C, side, side), (C * side**2,)))
        prior = Coupling(C, self.network, Affine("sigmoid"), halves=True)
        return Chain(*steps, prior, Split((C, side, side), self.scale(C // 2, side, levels - 1)))

    def steps_of(self, C: int) -> list[Bijection]:
        """K steps on C channels."""
        couple = partial(Coupling, C, self.network, Affine("sigmoid"), halves=True)
        return [part for _ in range(self.K) for part in (ActNorm(C), InvertibleLinear(C), couple())]

    def latents(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Latents (n, d) of this temperature; a CPU generator gives the same everywhere."""
        return self.temperature * super().latents(n, generator)
