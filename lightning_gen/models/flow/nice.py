"""NICE: Non-linear Independent Components Estimation.

Dinh, Krueger, Bengio. 2014, arXiv:1410.8516.
"""

from typing import Any, Literal

from lightning_gen.models.flow.flow import FlowModule
from lightning_gen.networks.bijections import Chain, Scaling, View
from lightning_gen.networks.couplings import Additive, Conditioner, Coupling
from lightning_gen.types import PositiveInt


class NICE(FlowModule):
    r"""Every second pixel is moved by what a network makes of the others, in turns.

    .. math:: h_a = y_a, \quad h_b = y_b + m(y_a), \qquad z = e^s h, \qquad
              \log p(y) = \sum_i \log p_z(z_i) + s_i

    Note:
        The last layer of m begins at zeros, and s at the deviations of the first images, without
        which it would take most of the training to grow.

    References:
        Dinh et al., NICE: Non-linear Independent Components Estimation, 2014, arXiv:1410.8516,
        section 5.1.

    Args:
        network: Makes m of the numbers of its features in and out; the paper has five hidden
            layers of 1000 units on MNIST.
        layers: Couplings.
        base: What latents are; the paper has "logistic" on MNIST.
        family: Arguments of :class:`FlowModule`.
    """

    def __init__(
        self,
        *,
        network: Conditioner,
        layers: PositiveInt = 4,
        base: Literal["normal", "logistic"] = "logistic",
        **family: Any,
    ) -> None:
        super().__init__(base=base, **family)
        d = self.latent_dim
        couplings = [Coupling(d, network, Additive(), parity=i % 2) for i in range(layers)]
        self.flow = Chain(View(self.shape, (d,)), *couplings, Scaling(d))
