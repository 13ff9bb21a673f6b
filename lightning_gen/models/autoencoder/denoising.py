"""Extracting and Composing Robust Features with Denoising Autoencoders.

Vincent, Larochelle, Bengio, Manzagol. 2008, doi:10.1145/1390156.1390294.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from lightning_gen.core import ImageBatch
from lightning_gen.models.autoencoder.autoencoder import Autoencoder
from lightning_gen.types import NonNegativeFloat


class Denoising(Autoencoder):
    r"""An autoencoder that sees an image corrupted and has to give back the clean one.

    .. math:: \min E_{\tilde x \sim q(\tilde x | x)} L(x, \hat x(\tilde x))

    Note:
        Salt and pepper and Gaussian noise are of Vincent et al., Stacked Denoising Autoencoders,
        2010; without clipping, as there. The paper's weights may be tied; here they are not.

    References:
        Vincent et al., Extracting and Composing Robust Features with Denoising Autoencoders, 2008,
        doi:10.1145/1390156.1390294.

    Args:
        corruption: Pixels that turn black, that turn black or white evenly, or normal noise.
        level: Share of the pixels; of normal noise the standard deviation, for pixels in [0, 1].
        likelihood: Squared error or the paper's cross-entropy.
        family: Arguments of :class:`Autoencoder`.
    """

    def __init__(
        self,
        *,
        corruption: Literal["masking", "salt_pepper", "gaussian"] = "masking",
        level: NonNegativeFloat = 0.25,
        likelihood: Literal["squared", "cross_entropy"] = "cross_entropy",
        **family: Any,
    ) -> None:
        super().__init__(likelihood=likelihood, **family)
        kinds = {
            "masking": self.masking,
            "salt_pepper": self.salt_pepper,
            "gaussian": self.gaussian,
        }
        self.corruption, self.corrupted, self.level = corruption, kinds[corruption], level
        if level > 1 and corruption not in {"gaussian"}:
            raise ValueError(f"level is a share of the pixels, at most 1, got {level}")

    def masking(self, x: Tensor, u: Tensor) -> Tensor:
        """Turn a share of the pixels black, by uniform numbers u of the same shape."""
        return x.masked_fill(u < self.level, -1)

    def salt_pepper(self, x: Tensor, u: Tensor) -> Tensor:
        """Turn half of a share of the pixels black and half white."""
        return self.masking(x.masked_fill(u < self.level, 1), 2 * u)

    def gaussian(self, x: Tensor, u: Tensor) -> Tensor:
        """Add normal noise, the quantiles of u."""
        bound = torch.finfo(u.dtype).eps / 2
        return x + 2 * self.level * torch.special.ndtri(u.clamp(bound, 1 - bound))

    def corrupt(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Corrupt images as in training.

        Args:
            x: Images (N, C, H, W) in [-1, 1].
            generator: Source of randomness; a CPU generator corrupts alike everywhere. None draws
                for the training step.
        """
        if generator is None:
            return self.corrupted(x, self.rand(*x.shape))
        u = torch.rand(x.shape, generator=generator, device=generator.device)
        return self.corrupted(x, u.to(x.device))

    def denoise(self, x: Tensor) -> Tensor:
        """Clean images (N, C, H, W) in [-1, 1] of corrupted ones."""
        return self.reconstruct(x)

    def training_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Corrupt, and descend on the error of what comes back from the clean images."""
        with self.descending("model") as descend:
            for x, x_tilde in self.micro(batch.image, self.corrupt(batch.image)):
                descend(self.error(x, self.code(x_tilde)).mean())
