"""InfoGAN: Interpretable Representation Learning by Information Maximizing GANs.

Chen, Duan, Houthooft, Schulman, Sutskever, Abbeel. 2016, arXiv:1606.03657.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from lightning_gen.core import ImageBatch
from lightning_gen.functional.adversarial import discriminator_loss, non_saturating_loss
from lightning_gen.functional.latent import lerp
from lightning_gen.functional.precision import at_least_float32 as full
from lightning_gen.models.gan.adversarial import AdversarialModule
from lightning_gen.types import NonNegativeFloat, PositiveInt


class InfoGAN(AdversarialModule):
    r"""A GAN whose generator cannot hide what part of its latent vector says (equation 6).

    .. math:: \min_{G, Q} \max_D V(D, G) - \lambda L_I(G, Q), \quad
              L_I = E_{c, x \sim G(z, c)}[\log Q(c | x)] + H(c)

    The latent vector is noise, a categorical code in one-hot form, and continuous codes uniform on
    [-1, 1]. D is a network whose ``heads(x)`` gives the logit and Q's parameters.

    Note:
        As in the authors' code Q moves with D, G descends the non-saturating loss, both players
        ascend L_I, and Q's density of a continuous code has standard deviation one: with a learnt
        one the bound has no limit, and G writes the codes into noise.

    References:
        Chen et al., InfoGAN: Interpretable Representation Learning by Information Maximizing
        Generative Adversarial Nets, 2016, arXiv:1606.03657.

    Args:
        categories: Values of the categorical code.
        continuous: Number of continuous codes.
        info_weight: The paper's lambda.
        latent_dim: Dimension of noise and codes together.
        family: Arguments of :class:`AdversarialModule`.
    """

    D: Any  # has .heads

    def __init__(
        self,
        *,
        categories: PositiveInt = 10,
        continuous: PositiveInt = 2,
        info_weight: NonNegativeFloat = 1.0,
        latent_dim: PositiveInt = 74,
        **family: Any,
    ) -> None:
        super().__init__(latent_dim=latent_dim, **family)
        self.categories, self.continuous = categories, continuous
        self.noise_dim = latent_dim - categories - continuous
        self.info_weight = info_weight

    def training_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Update D with Q, then G; both ascend the bound on the mutual information."""
        for x in batch.image.chunk(self.n_critic):
            z = self.z(len(x))
            with self.descending("D") as descend:
                for x_i, z_i in self.micro(x, z):
                    fake, *Q = self.D.heads(self.fake(z_i).detach())
                    L_I = self.information(z_i, *Q)
                    descend(discriminator_loss(self.D(x_i), fake) - self.info_weight * L_I)
        with self.descending("G") as descend:
            for (z_i,) in self.micro(z):
                fake, *Q = self.D.heads(self.fake(z_i))
                L_I = self.information(z_i, *Q)
                descend(non_saturating_loss(fake) - self.info_weight * L_I)
        self.record(information=L_I)

    def information(self, z: Tensor, logits: Tensor, mean: Tensor) -> Tensor:
        """The bound L_I in nats (equation 5), of latents (N, latent_dim) and Q's parameters."""
        _, c, u = z.split((self.noise_dim, self.categories, self.continuous), 1)
        discrete = math.log(self.categories) - cross_entropy(full(logits), c.argmax(1))
        normal = -(u - full(mean)).square() / 2 - math.log(2 * math.pi) / 2
        return discrete + (normal + math.log(2)).sum(1).mean()

    def z(self, n: int) -> Tensor:
        """Draw noise and codes (n, latent_dim) of this rank's share of the global batch."""
        c = one_hot(self.randint(self.categories, n), self.categories).to(self.dtype)
        return torch.cat(
            [super().z(n)[:, : self.noise_dim], c, 2 * self.rand(n, self.continuous) - 1], 1
        )

    def latents(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Latents (n, latent_dim) for sampling: the categories 0, 1, 2, ... in turn."""
        z = super().latents(n, generator)
        c = one_hot(torch.arange(n, device=z.device) % self.categories, self.categories)
        u = z[:, self.noise_dim + self.categories :]
        u = u if self.uniform else torch.erf(u / math.sqrt(2))
        return torch.cat([z[:, : self.noise_dim], c.to(z.dtype), u], 1)

    def path(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        """Latents between others: the prior's way for the noise, straight lines for the codes."""
        k = self.noise_dim
        codes = lerp(a[..., k:], b[..., k:], t)
        return torch.cat([super().path(a[..., :k], b[..., :k], t), codes], -1)

    def traverse(self, z: Tensor, steps: int = 10, limit: float = 1.0) -> dict[str, Tensor]:
        """Latents that differ from others in one code alone.

        Args:
            z: Latents (N, latent_dim).
            steps: Values of a continuous code.
            limit: They run from -limit to limit; the paper shows 2, trained on 1.

        Returns:
            By code, latents (N, values, latent_dim): ``category`` takes each of its values,
            ``code 1``, ``code 2``, ... the steps.
        """
        k = self.noise_dim + self.categories
        made = {"category": z[:, None].repeat(1, self.categories, 1)}
        made["category"][..., self.noise_dim : k] = torch.eye(self.categories).to(z)
        for i in range(self.continuous):
            made[f"code {i + 1}"] = z[:, None].repeat(1, steps, 1)
            made[f"code {i + 1}"][..., k + i] = torch.linspace(-limit, limit, steps).to(z)
        return made

    @torch.no_grad()
    def classify(self, x: Tensor) -> Tensor:
        """Categories (N,) that Q reads from images (N, C, H, W)."""
        return self.D.heads(x)[1].argmax(1)
