"""Neural Spline Flows.

Durkan, Bekasov, Murray, Papamakarios. 2019, arXiv:1906.04032.
"""

from typing import Any, Literal

from lightning_gen.models.flow.flow import FlowModule
from lightning_gen.networks.bijections import ActNorm, Chain, InvertibleLinear, View
from lightning_gen.networks.couplings import Conditioner, Coupling, Spline
from lightning_gen.types import Fraction, PositiveFloat, PositiveInt


class NeuralSplineFlow(FlowModule):
    r"""Couplings whose maps of a number are monotonic rational-quadratic splines.

    .. math:: z_a = y_a, \qquad z_b = g_{\theta(y_a)}(y_b), \qquad
              \log |\det| = \sum_b \log g'_{\theta(y_a)}(y_b)

    g has bins of learnt widths, heights and slopes in [-bound, bound], and is the identity outside.
    Before each coupling features are mixed by a matrix. The first images have mean 0 and variance
    1 before the first of them.

    Note:
        Images are flat vectors, as the paper's tables of other data are, with plain dense networks
        instead of residual ones.

    References:
        Durkan et al., Neural Spline Flows, 2019, arXiv:1906.04032.

    Args:
        network: Makes theta of the numbers of features in and out.
        layers: Couplings.
        bins: K.
        bound: Half the side of the square in which a spline bends.
        space: Of images; see :class:`ContinuousDensityModule`.
        alpha: How far pixels stay from 0 and 1.
        family: Arguments of :class:`FlowModule`.
    """

    def __init__(
        self,
        *,
        network: Conditioner,
        layers: PositiveInt = 10,
        bins: PositiveInt = 8,
        bound: PositiveFloat = 3.0,
        space: Literal["unit", "logit"] = "logit",
        alpha: Fraction = 0.05,
        **family: Any,
    ) -> None:
        super().__init__(space=space, alpha=alpha, **family)
        d = self.latent_dim
        maps = [
            part
            for _ in range(layers)
            for part in (InvertibleLinear(d), Coupling(d, network, Spline(bins, bound)))
        ]
        self.flow = Chain(View(self.shape, (d,)), ActNorm(d), *maps)
