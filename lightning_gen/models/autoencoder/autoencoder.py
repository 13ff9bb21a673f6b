"""Auto-association by multilayer perceptrons and singular value decomposition.

Bourlard, Kamp. 1988, doi:10.1007/BF00332918.
"""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from lightning_gen.core import ImageBatch
from lightning_gen.functional.pixels import unit_range
from lightning_gen.functional.precision import at_least_float32 as full
from lightning_gen.models.autoencoder.autoencoding import AutoencoderModule


class Autoencoder(AutoencoderModule):
    r"""A network learns to give back what goes in, through a code that is smaller.

    .. math:: L_2 = \sum_i (x_i - \hat x_i)^2, \qquad
              L_{CE} = -\sum_i x_i \log \hat x_i + (1 - x_i) \log (1 - \hat x_i)

    with pixels in [0, 1]: the squared error is for real values, where the decoder gives the pixels,
    and the cross-entropy for binary ones (or grey ones as shares of white), where it gives their
    logits. With linear units the squared error ends at that of principal components.

    References:
        Bourlard and Kamp, Auto-association by multilayer perceptrons and singular value
        decomposition, 1988, doi:10.1007/BF00332918.

    Args:
        likelihood: Squared error or cross-entropy.
        family: Arguments of :class:`AutoencoderModule`.
    """

    def __init__(
        self, *, likelihood: Literal["squared", "cross_entropy"] = "squared", **family: Any
    ) -> None:
        super().__init__(**family)
        self.binary = {"squared": False, "cross_entropy": True}[likelihood]

    def pixels(self, z: Tensor) -> Tensor:
        """What the decoder makes of codes (N, latent_dim): pixels (N, C, H, W), or logits."""
        return full(self.decoder(z))

    def picture(self, z: Tensor) -> Tensor:
        """Images (N, C, H, W) of codes (N, latent_dim); in [-1, 1], or about it if not binary."""
        pixels = self.pixels(z)
        return torch.tanh(pixels / 2) if self.binary else 2 * pixels - 1

    def error(self, x: Tensor, z: Tensor) -> Tensor:
        """How far the pictures of codes (N, latent_dim) are from images: sums over pixels (N,)."""
        x, pixels = unit_range(x), self.pixels(z)
        if self.binary:
            error = binary_cross_entropy_with_logits(pixels, x, reduction="none")
        else:
            error = (pixels - x).square()
        return error.flatten(1).sum(1)

    def training_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Descend on the mean error of what comes back."""
        with self.descending("model") as descend:
            for (x,) in self.micro(batch.image):
                descend(self.error(x, self.code(x)).mean())
