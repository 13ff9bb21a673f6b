"""Neural Discrete Representation Learning.

van den Oord, Vinyals, Kavukcuoglu. 2017, arXiv:1711.00937.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from lightning_gen.core import ImageBatch
from lightning_gen.functional.pixels import unit_range
from lightning_gen.functional.precision import at_least_float32 as full
from lightning_gen.models.autoencoder.autoencoding import AutoencoderModule
from lightning_gen.networks.modes import evaluating
from lightning_gen.networks.vqvae import Codebook
from lightning_gen.types import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt


class VQVAE(AutoencoderModule):
    r"""An autoencoder whose code is a grid of words from a codebook (equation 3).

    .. math:: L = \|x - \hat x(z_q)\|^2 + \|sg[z_e(x)] - e\|^2 + \beta \|z_e(x) - sg[e]\|^2

    Each vector :math:`z_e` of the encoder is replaced by the nearest word e of the codebook; the
    decoder's gradient goes straight through to the encoder, as if nothing was replaced. When the
    autoencoder is learnt a prior over the grid is, for samples. Pixels are in [0, 1].

    Note:
        The second phase is part of the same run: the autoencoder stands still in it. As in the
        authors' code all norms are means, the first in parts of the variance of a pixel. Words
        begin at vectors of training images: of others hardly one would ever be the nearest.

    References:
        van den Oord et al., Neural Discrete Representation Learning, 2017, arXiv:1711.00937.

    Args:
        encoder: Images to vectors (N, embedding_dim, h, h); its ``side`` is h.
        prior: Words (N, h, h) to logits (N, embeddings, h, h), each of those before it.
        embeddings: Words in the codebook, K.
        embedding_dim: Their dimension, D; a code of the whole image has D h h components.
        commitment: The paper's beta.
        variance: Of the pixels of the data.
        autoencoder_images: Images that the autoencoder learns from before the prior does.
        family: Arguments of :class:`AutoencoderModule`.
    """

    players: ClassVar[tuple[str, ...]] = ("model", "codebook", "prior")

    def __init__(
        self,
        *,
        encoder: Any,
        prior: nn.Module,
        embeddings: PositiveInt = 512,
        embedding_dim: PositiveInt = 64,
        commitment: NonNegativeFloat = 0.25,
        variance: PositiveFloat = 0.1,
        autoencoder_images: NonNegativeInt = 600_000,
        **family: Any,
    ) -> None:
        self.grid = (embedding_dim, encoder.side, encoder.side)
        latent_dim = embedding_dim * encoder.side**2
        super().__init__(encoder=encoder, latent_dim=latent_dim, **family)
        self.codebook, self.prior = Codebook(embeddings, embedding_dim), prior
        self.commitment, self.variance = commitment, variance
        self.autoencoder_images = autoencoder_images

    def on_fit_start(self) -> None:
        """Begin the codebook at what the encoder makes of training images."""
        super().on_fit_start()
        images = self.first_images(256)
        if images is not None:
            draws = torch.Generator().manual_seed(self.seed)
            self.codebook.start(self.encoder(images), draws)

    def player_parameters(self, player: str) -> list[nn.Parameter]:
        """Parameters a player's optimiser moves."""
        networks = {
            "model": (self.encoder, self.decoder),
            "codebook": (self.codebook,),
            "prior": (self.prior,),
        }
        return [p for network in networks[player] for p in network.parameters()]

    def code(self, x: Tensor) -> Tensor:
        """Vectors (N, D h h) of the words of images (N, C, H, W)."""
        return self.codebook(self.codebook.nearest(full(self.encoder(x)))).flatten(1)

    def picture(self, z: Tensor) -> Tensor:
        """Images (N, C, H, W), about in [-1, 1], of vectors (N, D h h)."""
        return full(self.decoder(z.unflatten(1, self.grid)))

    def training_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Update the autoencoder, then its codebook, and later the prior of its words."""
        if self.images_before >= self.autoencoder_images:
            return self.prior_step(batch.image)
        seen = []
        with self.descending("model") as descend:
            for (x_i,) in self.micro(batch.image):
                z_e = full(self.encoder(x_i))
                k = self.codebook.nearest(z_e)
                e = self.codebook(k).detach()
                z_q = z_e + (e - z_e).detach()
                difference = unit_range(x_i) - unit_range(self.picture(z_q.flatten(1)))
                commitment = mse_loss(z_e, e)
                descend(difference.square().mean() / self.variance + self.commitment * commitment)
                seen.append((k, z_e.detach()))
        with self.descending("codebook") as descend:
            for k, z in seen:
                descend(mse_loss(self.codebook(k), z))
        error = difference.square().flatten(1).sum(1).mean()
        self.record(error=error, commitment=commitment, words_used=float(len(k.unique())))
        return None

    def prior_step(self, x: Tensor) -> None:
        """Update the prior on the words of images, in nats a grid."""
        with self.descending("prior") as descend:
            for (x_i,) in self.micro(x):
                with torch.no_grad(), evaluating(self.encoder):
                    k = self.codebook.nearest(full(self.encoder(x_i)))
                nats = cross_entropy(full(self.prior(k)), k, reduction="none")
                descend(nats.flatten(1).sum(1).mean())

    @torch.no_grad()
    def sample(
        self, n: int, *, labels: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw n images (n, C, H, W) in [-1, 1]: words one after the other, then their picture."""
        self.checked(labels)
        device = generator.device if generator is not None else self.device
        u = torch.rand(n, *self.grid[1:], generator=generator, device=device).to(self.device)
        k = torch.zeros(u.shape, dtype=torch.long, device=self.device)
        with evaluating(self):
            for i, j in torch.cartesian_prod(*(torch.arange(side) for side in self.grid[1:])):
                below = full(self.prior(k))[:, :, i, j].softmax(1).cumsum(1)
                k[:, i, j] = (below[:, :-1] < u[:, i, j, None]).sum(1)
            return self.decode(self.codebook(k).flatten(1))
