"""PixelCNN++: improving the PixelCNN with discretized logistic mixture likelihood.

Salimans, Karpathy, Chen, Kingma. 2017, arXiv:1701.05517.
"""

from typing import Any

from torch import Tensor

from lightning_gen.functional.logistic_mixture import LogisticMixturePixel, by_colour
from lightning_gen.models.autoregressive.pixelcnn import PixelCNN
from lightning_gen.types import PositiveInt


class PixelCNNPP(PixelCNN):
    r"""A PixelCNN of bytes, each a mixture of logistic distributions cut into levels.

    .. math:: P(x) = \sum_k w_k \left[ \sigma\left(\frac{x + 1/255 - \mu_k}{s_k}\right)
              - \sigma\left(\frac{x - 1/255 - \mu_k}{s_k}\right) \right]

    The colours of a pixel are of one component, whose means are linear in the colours before.

    Note:
        The network is smaller than the paper's: one halving of the side instead of two, by a
        convolution, and enlarging by repetition; there is no weight normalisation, and so no start
        from data; weights are not averaged.

    References:
        Salimans et al., 2017, arXiv:1701.05517.

    Args:
        components: Of the mixture of a pixel, K.
        family: Arguments of :class:`PixelCNN`.
    """

    likelihood_space: str = "bytes"

    def __init__(self, *, components: PositiveInt = 10, **family: Any) -> None:
        super().__init__(likelihood="categorical", **family)  # bytes
        self.conditional = LogisticMixturePixel(components)

    def of_pixels(self, x: Tensor, made: Tensor) -> Tensor:
        """Parameters (N, 3 K, C, h, w) of pixels (N, C, h, w), given their colours before."""
        return by_colour(x, made)
