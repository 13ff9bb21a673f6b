"""Stacked Convolutional Auto-Encoders for Hierarchical Feature Extraction.

Masci, Meier, Cireşan, Schmidhuber. 2011, doi:10.1007/978-3-642-21735-7_7.
"""

from lightning_gen.models.autoencoder.autoencoder import Autoencoder


class Convolutional(Autoencoder):
    r"""An autoencoder of convolutions, which share their weights over the places of an image.

    .. math:: h^k = \sigma(x * W^k + b^k), \qquad
              \hat x = \sigma\Big(\sum_k h^k * \tilde W^k + c\Big)

    Note:
        Strides take the place of max pooling, a linear layer makes the last maps a vector, and all
        layers are trained together. Weights are not tied.

    References:
        Masci et al., Stacked Convolutional Auto-Encoders for Hierarchical Feature Extraction, 2011,
        doi:10.1007/978-3-642-21735-7_7.
    """
