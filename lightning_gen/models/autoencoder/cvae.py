"""Learning Structured Output Representation using Deep Conditional Generative Models.

Sohn, Lee, Yan. NeurIPS 2015,
https://papers.nips.cc/paper/2015/hash/8d55a249e6baa5c06772297520da2051-Abstract.html; of labels as
in Kingma, Rezende, Mohamed, Welling. 2014, arXiv:1406.5298.
"""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_gen.models.autoencoder.vae import VAE
from lightning_gen.networks.modes import evaluating
from lightning_gen.types import PositiveInt


class CVAE(VAE):
    r"""A VAE given labels: the code holds what they leave open, such as the style of a digit.

    .. math:: \log p(x|y) \ge E_{q(z|x, y)}[\log p(x|y, z)] - KL(q(z|x, y) \| p(z))

    What it says of an image without a label is of all labels, equally likely a priori:
    :math:`\log p(x) = \log \tfrac1K \sum_y p(x|y)`. Without a label, an image is encoded with the
    label whose bound at the mean code is the highest.

    Note:
        The prior of codes does not depend on y, one of the paper's options (section 4.1).

    References:
        Sohn et al., Learning Structured Output Representation using Deep Conditional Generative
        Models, 2015; Kingma et al., Semi-Supervised Learning with Deep Generative Models, 2014,
        arXiv:1406.5298, equation 6.

    Args:
        num_classes: K; the encoder takes (x, y) and the decoder (z, y), with y in [0, K).
        family: Arguments of :class:`VAE`.
    """

    requires_labels: ClassVar[bool] = True

    def __init__(self, *, num_classes: PositiveInt, **family: Any) -> None:
        super().__init__(**family)
        self.num_classes = num_classes

    def given(self, x: Tensor) -> list[Tensor]:
        """Each of the labels, for all images: K times (N,)."""
        return [torch.full((len(x),), y, device=x.device) for y in range(self.num_classes)]

    @torch.no_grad()
    def classify(self, x: Tensor) -> Tensor:
        """Labels (N,) whose bounds at the mean code of images (N, C, H, W) are the highest."""
        mean_code = x.new_zeros(len(x), 1, self.latent_dim)
        with evaluating(self):
            log_w = [self.log_weights(x, mean_code, y) for y in self.given(x)]
        return torch.cat(log_w, 1).argmax(1)

    def estimate(self, x: Tensor, k: int, generator: torch.Generator | None, *y: Tensor) -> Tensor:
        """L_k (N,) of few images with labels, or of them with all."""
        if y:
            return super().estimate(x, k, generator, *y)
        of_each = [super(CVAE, self).estimate(x, k, generator, y) for y in self.given(x)]
        return torch.stack(of_each).logsumexp(0) - math.log(self.num_classes)

    def code(self, x: Tensor, labels: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """Means (N, latent_dim) of the codes of images (N, C, H, W) with labels (N,)."""
        return super().code(x, self.classify(x) if labels is None else labels)

    @torch.no_grad()
    def encode(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Codes (N, latent_dim) of images (N, C, H, W) with labels (N,), in evaluation mode."""
        with evaluating(self):
            return self.code(x, labels).float()

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Mean images (N, C, H, W) in [-1, 1] of codes (N, latent_dim), of labels or 0, 1, ..."""
        return self.generate(z, self.asked(len(z), labels))

    def reconstruct(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images (N, C, H, W) in [-1, 1] that come back from the codes of others."""
        labels = self.classify(x) if labels is None else labels
        return self.decode(self.encode(x, labels), labels)

    def asked(self, n: int, labels: Tensor | None) -> Tensor:
        """Labels (n,) on this model's device: what is asked for, or 0, 1, 2, ... in turn."""
        labels = torch.arange(n) % self.num_classes if labels is None else labels
        return labels.to(self.device)

    def sample(
        self, n: int, *, labels: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw n images (n, C, H, W) of labels (n,), or of 0, 1, 2, ... in turn."""
        z, y = self.latents(n, generator), self.asked(n, labels)
        return self.generate(z, y, draw=self.draw, generator=generator)
