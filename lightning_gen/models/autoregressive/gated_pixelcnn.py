"""Conditional Image Generation with PixelCNN Decoders: the Gated PixelCNN, of classes.

van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves, Kavukcuoglu. 2016, arXiv:1606.05328.
"""

from typing import ClassVar

from lightning_gen.models.autoregressive.pixelcnn import PixelCNN


class GatedPixelCNN(PixelCNN):
    r"""A PixelCNN of two stacks of gated convolutions, shifted by the class y (equations 2 and 4).

    .. math:: p(x | y) = \prod_i p(x_i | x_1, \ldots, x_{i - 1}, y), \qquad
        h = \tanh(W_f * x + V_f y) \odot \sigma(W_g * x + V_g y)

    A vertical stack sees all rows above a pixel, a horizontal one its own row: there is no blind
    spot.

    Note:
        Likelihoods are of images given their classes.

    References:
        van den Oord et al., 2016, arXiv:1606.05328.

    Args:
        family: Arguments of :class:`PixelCNN`.
    """

    requires_labels: ClassVar[bool] = True
