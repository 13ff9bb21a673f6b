"""Reducing the Dimensionality of Data with Neural Networks.

Hinton, Salakhutdinov. 2006, doi:10.1126/science.1127647.
"""

from typing import Any, Literal

from lightning_gen.models.autoencoder.autoencoder import Autoencoder


class Deep(Autoencoder):
    r"""The deep autoencoder 784-1000-500-250-30: logistic units and a linear code.

    .. math:: L = -\sum_i x_i \log \hat x_i + (1 - x_i) \log (1 - \hat x_i)

    with pixels in [0, 1]. The paper reports the squared error :math:`\sum_i (x_i - \hat x_i)^2` of
    test images.

    Note:
        The paper trains a stack of restricted Boltzmann machines first, whose weights begin 200
        epochs of conjugate gradients. Here all layers are trained together, by Adam, from Glorot's
        initial weights.

    References:
        Hinton and Salakhutdinov, Reducing the Dimensionality of Data with Neural Networks, 2006,
        doi:10.1126/science.1127647.

    Args:
        likelihood: The paper's cross-entropy, or squared error.
        family: Arguments of :class:`Autoencoder`.
    """

    def __init__(
        self, *, likelihood: Literal["squared", "cross_entropy"] = "cross_entropy", **family: Any
    ) -> None:
        super().__init__(likelihood=likelihood, **family)
