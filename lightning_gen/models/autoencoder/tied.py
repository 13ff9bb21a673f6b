"""Learning deep architectures for AI: an autoencoder of tied weights.

Bengio. 2009, doi:10.1561/2200000006.
"""

from typing import Any

from torch import Tensor

from lightning_gen.functional.precision import at_least_float32 as full
from lightning_gen.models.autoencoder.autoencoder import Autoencoder


class Tied(Autoencoder):
    r"""An autoencoder whose decoder has the encoder's weights, transposed.

    .. math:: h = s(W x + b), \qquad \hat x = s(W^T h + c)

    References:
        Bengio, Learning deep architectures for AI, Foundations and Trends in Machine Learning 2(1),
        2009, doi:10.1561/2200000006, section 4.6.

    Args:
        decoder: Codes (N, latent_dim) and the encoder to pixels (N, C, H, W): it has biases only.
        family: Arguments of :class:`Autoencoder`.
    """

    decoder: Any

    def pixels(self, z: Tensor) -> Tensor:
        """What the decoder makes of codes (N, latent_dim): pixels (N, C, H, W), or logits."""
        return full(self.decoder(z, self.encoder))
