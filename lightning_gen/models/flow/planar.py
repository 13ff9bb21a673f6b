"""Variational Inference with Normalizing Flows: planar and radial layers.

Rezende, Mohamed. 2015, arXiv:1505.05770.
"""

import math
from typing import Any, Literal

from lightning_gen.models.flow.flow import FlowModule
from lightning_gen.networks.bijections import Chain, View
from lightning_gen.networks.planar import Bend
from lightning_gen.types import PositiveInt


class PlanarFlow(FlowModule):
    r"""Space is stretched along planes, or around points, by one layer after another.

    .. math:: f(y) = y + u \tanh(w^T y + b), \qquad
              f(y) = y + \frac{\beta (y - y_0)}{\alpha + |y - y_0|}

    with :math:`w^T u \ge -1` and :math:`\beta \ge -\alpha`, so that each can be undone.

    Note:
        The paper bends draws of a base; here the layers lead from data to the base, as densities
        of data are learnt. Planar layers are undone by bisection of one number, radial ones by a
        quadratic equation. As a posterior they are in ``models/autoencoder/flow_vae.py``.

    References:
        Rezende and Mohamed, Variational Inference with Normalizing Flows, 2015, arXiv:1505.05770,
        equations 10 to 14.

    Args:
        layers: How many; the paper has 2, 8 and 32.
        layer: Their kind.
        family: Arguments of :class:`FlowModule`.
    """

    def __init__(
        self,
        *,
        layers: PositiveInt = 32,
        layer: Literal["planar", "radial"] = "planar",
        **family: Any,
    ) -> None:
        super().__init__(**family)
        d = math.prod(self.shape)
        self.flow = Chain(View(self.shape, (d,)), *(Bend(d, layer) for _ in range(layers)))
