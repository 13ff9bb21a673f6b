"""Unsupervised Image-to-Image Translation Networks.

Liu, Breuel, Kautz. 2017, arXiv:1703.00848.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from lightning_gen.core import PairBatch
from lightning_gen.functional.adversarial import discriminator_loss, non_saturating_loss
from lightning_gen.functional.precision import at_least_float32 as full
from lightning_gen.models.translation.translating import TranslationModule
from lightning_gen.types import NonNegativeFloat


def kl(mu: Tensor) -> Tensor:
    r"""KL(N(mu, 1) || N(0, 1)) in nats, averaged over images and latent variables.

    Args:
        mu: Means, any shape.
    """
    return full(mu).square().mean() / 2


class UNIT(TranslationModule):
    r"""Two VAEs with one latent space, and two GANs that judge what crosses it (equation 2).

    .. math:: \lambda_1 KL(q(z|x) \| p(z)) + \lambda_2 \|x - G(z)\|_1
              + \lambda_3 KL(q(z|\tilde x) \| p(z)) + \lambda_4 \|x - G(\tilde z)\|_1
              + \lambda_0 L_{GAN}

    of each domain, where x~ is x translated, z~ its code, and q a normal distribution of variance
    one. The encoders share their last layers, the generators their first.

    Note:
        Distances and KL are means over pixels and over latent variables, as in the authors' code
        (which leaves out the half of the KL), and G descends the non-saturating loss.

    References:
        Liu et al., Unsupervised Image-to-Image Translation Networks, 2017, arXiv:1703.00848.

    Args:
        E_a: First layers of the encoder of domain a, images to feature maps.
        E_b: Those of domain b.
        E_shared: Last layers of both encoders, feature maps to means of codes.
        G_shared: First layers of both generators, codes to feature maps.
        G_a: Last layers of the generator of domain a, feature maps to images.
        G_b: Those of domain b.
        D_a: Discriminator of domain a, images to logits (N, 1, h, w).
        D_b: Discriminator of domain b.
        gan_weight: The paper's lambda_0.
        kl_weight: lambda_1.
        l1_weight: lambda_2.
        cycle_kl_weight: lambda_3.
        cycle_weight: lambda_4.
        family: Arguments of :class:`AlternatingModule`.
    """

    alike: ClassVar[tuple[str, ...]] = ("resolution",)  # facts of data that both domains share
    targets: ClassVar[tuple[str, ...]] = ("b", "a")
    multiple: ClassVar[int] = 4

    def __init__(
        self,
        *,
        E_a: nn.Module,
        E_b: nn.Module,
        E_shared: nn.Module,
        G_shared: nn.Module,
        G_a: nn.Module,
        G_b: nn.Module,
        D_a: nn.Module,
        D_b: nn.Module,
        gan_weight: NonNegativeFloat = 10.0,
        kl_weight: NonNegativeFloat = 0.1,
        l1_weight: NonNegativeFloat = 100.0,
        cycle_kl_weight: NonNegativeFloat = 0.1,
        cycle_weight: NonNegativeFloat = 100.0,
        **family: Any,
    ) -> None:
        super().__init__(**family)
        self.E_a, self.E_b, self.E_shared = E_a, E_b, E_shared
        self.G_shared, self.G_a, self.G_b = G_shared, G_a, G_b
        self.D_a, self.D_b = D_a, D_b
        self.gan_weight, self.kl_weight, self.l1_weight = gan_weight, kl_weight, l1_weight
        self.cycle_kl_weight, self.cycle_weight = cycle_kl_weight, cycle_weight

    def networks(self, player: str) -> list[nn.Module]:
        """The networks of a player: G is both VAEs."""
        vaes = [self.E_a, self.E_b, self.E_shared, self.G_shared, self.G_a, self.G_b]
        return {"D": [self.D_a, self.D_b], "G": vaes}[player]

    def player_parameters(self, player: str) -> list[nn.Parameter]:
        """Parameters a player's optimiser moves."""
        return [p for network in self.networks(player) for p in network.parameters()]

    def encode(self, x: Tensor, domain: str) -> Tensor:
        """Means (N, d, h, w) of the codes of images (N, C, H, W) of a domain."""
        return self.E_shared({"a": self.E_a, "b": self.E_b}[domain](x))

    def generate(self, z: Tensor, domain: str) -> Tensor:
        """Images (N, C, H, W) of a domain from codes (N, d, h, w)."""
        return {"a": self.G_a, "b": self.G_b}[domain](self.G_shared(z))

    def code(self, mu: Tensor) -> Tensor:
        """Draw codes from normal distributions of variance one around the means."""
        return mu + self.randn(*mu.shape)

    def training_step(self, batch: PairBatch, batch_idx: int) -> None:
        """Update both discriminators, then both VAEs."""
        with self.descending("D") as descend:
            for a, b in self.micro(batch.a, batch.b):
                with torch.no_grad():
                    ab = self.generate(self.code(self.encode(a, "a")), "b")
                    ba = self.generate(self.code(self.encode(b, "b")), "a")
                gan = discriminator_loss(self.D_a(a), self.D_a(ba))
                descend(self.gan_weight * (gan + discriminator_loss(self.D_b(b), self.D_b(ab))))
        with self.descending("G") as descend:
            for a, b in self.micro(batch.a, batch.b):
                loss_a = self.generator_loss(a, "a", "b", self.D_b)
                descend(loss_a + self.generator_loss(b, "b", "a", self.D_a))

    def generator_loss(self, x: Tensor, own: str, other: str, D: nn.Module) -> Tensor:
        """What both VAEs descend of the images of one domain, with the D of the other."""
        mu = self.encode(x, own)
        z = self.code(mu)
        x_tilde = self.generate(z, other)
        mu_tilde = self.encode(x_tilde, other)
        l1 = l1_loss(full(self.generate(z, own)), x)
        cycle = l1_loss(full(self.generate(self.code(mu_tilde), own)), x)
        gan = non_saturating_loss(D(x_tilde))
        self.record(**{f"gan_{other}": gan, f"l1_{own}": l1, f"cycle_{own}": cycle})
        vae = self.kl_weight * kl(mu) + self.l1_weight * l1
        back = self.cycle_kl_weight * kl(mu_tilde) + self.cycle_weight * cycle
        return vae + back + self.gan_weight * gan

    def translator(self, to: str) -> Callable[[Tensor], Tensor]:
        """From the mean of the code in one domain to an image of the other."""
        source = {"a": "b", "b": "a"}[to]
        return lambda x: self.generate(self.encode(x, source), to)

    def compile_networks(self) -> None:
        """Compile all eight networks in place."""
        for network in (*self.networks("D"), *self.networks("G")):
            network.compile()
