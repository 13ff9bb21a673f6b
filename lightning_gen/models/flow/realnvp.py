"""Density Estimation Using Real NVP.

Dinh, Sohl-Dickstein, Bengio. 2016, arXiv:1605.08803.
"""

from functools import partial
from typing import Any, Literal

from lightning_gen.models.flow.flow import FlowModule
from lightning_gen.networks.bijections import BatchNorm, Bijection, Chain, Split, Squeeze, View
from lightning_gen.networks.couplings import Affine, CheckerboardCoupling, Conditioner, Coupling
from lightning_gen.types import Fraction, NonNegativeInt


class RealNVP(FlowModule):
    r"""Pixels are scaled and moved by what a network makes of others, at several scales.

    .. math:: z_a = y_a, \qquad z_b = y_b \odot e^{s(y_a)} + t(y_a), \qquad
              \log |\det| = \sum_b s(y_a)_b

    A scale is three couplings between the colours of a checkerboard, a squeeze of 2 x 2 pixels to
    channels, and three between halves of the channels; then half of the channels leave. The last
    scale has four couplings of a checkerboard. Each is followed by batch normalisation.

    Note:
        Points are images of one pixel and two channels, which only halves of channels couple.
        In training, batches are normalised by their own moments, not by running ones. Networks
        of couplings have no batch normalisation inside. 28 pixels are squeezed to 14 and to 7.

    References:
        Dinh et al., Density Estimation Using Real NVP, 2016, arXiv:1605.08803.

    Args:
        network: Makes s and t of the numbers of channels in and out, and a ``kernel``.
        levels: Squeezes.
        space: Of images; see :class:`ContinuousDensityModule`.
        alpha: How far pixels stay from 0 and 1.
        family: Arguments of :class:`FlowModule`.
    """

    def __init__(
        self,
        *,
        network: Conditioner,
        levels: NonNegativeInt = 2,
        space: Literal["unit", "logit"] = "logit",
        alpha: Fraction = 0.05,
        **family: Any,
    ) -> None:
        super().__init__(space=space, alpha=alpha, **family)
        if self.likelihood_space in {"points"}:
            self.network: Conditioner = partial(network, kernel=1)
            coupled = [self.halves(2, parity) for parity in (0, 1, 0, 1, 0, 1)]
            self.flow = Chain(View((2,), (2, 1, 1)), *coupled, View((2, 1, 1), (2,)))
            return
        C, side = self.shape[0], self.shape[-1]
        if side % 2**levels:
            raise ValueError(f"resolution {side} must be divisible by 2^levels = {2**levels}")
        self.network = network
        self.flow = self.scale(C, side, levels)

    def scale(self, C: int, side: int, levels: int) -> Bijection:
        """Images (C, side, side) to latents, by so many scales and the last."""
        colours = [self.colours(C, parity) for parity in (0, 1, 0, 1)]
        if not levels:
            return Chain(*colours, View((C, side, side), (C * side**2,)))
        halves = [self.halves(4 * C, parity) for parity in (0, 1, 0)]
        rest = self.scale(2 * C, side // 2, levels - 1)
        return Chain(*colours[:3], Squeeze(), *halves, Split((4 * C, side // 2, side // 2), rest))

    def colours(self, C: int, parity: int) -> Bijection:
        """A coupling of the colours of a checkerboard."""
        return Chain(CheckerboardCoupling(C, self.network, Affine(), parity), BatchNorm(C))

    def halves(self, C: int, parity: int) -> Bijection:
        """A coupling of halves of the channels."""
        return Chain(Coupling(C, self.network, Affine(), parity, halves=True), BatchNorm(C))
