"""Generative Adversarial Text to Image Synthesis.

Reed, Akata, Yan, Logeswaran, Schiele, Lee. 2016, arXiv:1605.05396.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from lightning_gen.core import ImageBatch
from lightning_gen.functional.adversarial import non_saturating_loss
from lightning_gen.functional.precision import at_least_float32 as full
from lightning_gen.models.gan.adversarial import AdversarialModule


def matching_loss(s_r: Tensor, s_w: Tensor, s_f: Tensor, wrong: Tensor) -> Tensor:
    r"""Negative of what the matching-aware discriminator ascends.

    .. math:: -E[\log s_r] - \tfrac{1}{2} (E[\log(1 - s_w)] + E[\log(1 - s_f)])

    Args:
        s_r: Logits (N, 1) of real images and their captions.
        s_w: Logits (N, 1) of real images and other captions.
        s_f: Logits (N, 1) of generated images and the captions they were made for.
        wrong: Whether (N,) the other captions do differ; those that do not count for nothing.

    Example:
        >>> zero = torch.zeros(4, 1)
        >>> matching_loss(zero, zero, zero, torch.tensor([True] * 4))  # 2 log 2
        tensor(1.3863)
    """
    mismatch = softplus(full(s_w)).flatten() * wrong
    return softplus(-full(s_r)).mean() + (mismatch.mean() + softplus(full(s_f)).mean()) / 2


class GANCLS(AdversarialModule):
    r"""Images from captions: D also learns that a real image with a wrong caption is wrong.

    .. math:: h = \phi(t), \quad \hat h = \phi(\hat t), \quad \hat x = G(z, h)
    .. math:: s_r = D(x, h), \quad s_w = D(x, \hat h), \quad s_f = D(\hat x, h)
    .. math:: L_D = \log s_r + \tfrac{1}{2} (\log(1 - s_w) + \log(1 - s_f)), \qquad L_G = \log s_f

    D and G ascend theirs (Algorithm 1). With ``interpolate`` (GAN-CLS-INT) G also has to convince
    D between captions, by equation 5 with beta = 1/2.

    Note:
        The paper's text encoder is trained before, by a joint embedding of images and text. Here it
        learns together with D from which caption is whose, belongs to the player D, and is averaged
        with G, in which it lies.

    References:
        Reed et al., Generative Adversarial Text to Image Synthesis, 2016, arXiv:1605.05396.

    Args:
        G: Generator of latents and captions, with the text encoder ``phi``.
        D: Discriminator of images and encoded captions.
        interpolate: Whether G also learns from half-way between two captions.
        family: More arguments of :class:`AdversarialModule`.
    """

    takes: ClassVar[str] = "captions"
    requires_labels: ClassVar[bool] = True
    G: Any  # has .phi

    def __init__(
        self, *, G: nn.Module, D: nn.Module, interpolate: bool = False, **family: Any
    ) -> None:
        super().__init__(G=G, D=D, **family)
        self.interpolate = interpolate

    def player_parameters(self, player: str) -> list[nn.Parameter]:
        """D has the text encoder, which lies in G."""
        if player in {"D"}:
            return [*self.D.parameters(), *self.G.phi.parameters()]
        return [p for name, p in self.G.named_parameters() if not name.startswith("phi.")]

    def training_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Update D on right, wrong and generated pairs of image and caption, then G."""
        assert batch.label is not None
        batches = zip(
            batch.image.chunk(self.n_critic), batch.label.chunk(self.n_critic), strict=True
        )
        for x, t in batches:
            z, t_hat = self.z(len(x)), self.others(t)
            with self.descending("D") as descend:
                for x_i, t_i, t_j, z_i in self.micro(x, t, t_hat, z):
                    h, h_hat = self.G.phi(t_i), self.G.phi(t_j)
                    with torch.no_grad():
                        x_hat = self.G(z_i, t_i)
                    s_r, s_w, s_f = self.D(x_i, h), self.D(x_i, h_hat), self.D(x_hat, h)
                    descend(matching_loss(s_r, s_w, s_f, (t_i != t_j).any(1)))
            self.record(told_apart=(s_r > s_w).float().mean())
        with self.descending("G") as descend:
            for t_i, t_j, z_i in self.micro(t, t_hat, z):
                loss = non_saturating_loss(self.D(self.G(z_i, t_i), self.G.phi(t_i)))
                if self.interpolate:
                    h = (self.G.phi(t_i) + self.G.phi(t_j)) / 2
                    loss = loss + non_saturating_loss(self.D(self.G(z_i, t_i, t_j), h))
                descend(loss)

    def others(self, t: Tensor) -> Tensor:
        """For each caption (N, L) another one of the batch, drawn from those that differ."""
        differ = (t[:, None] != t[None]).any(2)
        return t[torch.where(differ, self.rand(len(t), len(t)), -1.0).argmax(1)]

    def discriminate(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits (N,) of images (N, C, H, W) with the captions (N, L) of ``labels``."""
        return self.D(x, self.G.phi(labels)).flatten()

    def sample(
        self, n: int, *, labels: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw samples of captions.

        Args:
            n: How many.
            labels: Captions (n, L) as word ids; needed.
            generator: Source of randomness; None uses torch's.

        Returns:
            Images (n, C, H, W) in [-1, 1].
        """
        if labels is None:
            raise ValueError("GANCLS draws what captions say: labels=(n, L) word ids are needed")
        return self.generate(self.latents(n, generator), labels.to(self.device))
