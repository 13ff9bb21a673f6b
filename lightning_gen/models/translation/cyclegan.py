"""Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks.

Zhu, Park, Isola, Efros. 2017, arXiv:1703.10593.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from lightning_gen.core import PairBatch
from lightning_gen.functional.adversarial import least_squares
from lightning_gen.functional.precision import at_least_float32 as full
from lightning_gen.models.translation.image_pool import ImagePool
from lightning_gen.models.translation.translating import TranslationModule
from lightning_gen.types import NonNegativeFloat


class CycleGAN(TranslationModule):
    r"""Two GANs, each of which translates, and which undo each other (equation 3).

    .. math:: L_{GAN}(G_{ab}, D_b) + L_{GAN}(G_{ba}, D_a) + \lambda L_{cyc}(G_{ab}, G_{ba}), \quad
              L_{cyc} = E \|G_{ba}(G_{ab}(a)) - a\|_1 + E \|G_{ab}(G_{ba}(b)) - b\|_1

    The GANs play by least squares (section 4), and each D sees a history of generated images.

    Note:
        As in the authors' code both generators move first and with one optimiser, so do both
        discriminators, and the identity loss
        :math:`E \|G_{ab}(b) - b\|_1 + E \|G_{ba}(a) - a\|_1` is on, at half the weight of the
        cycle (the paper has it for paintings). It needs domains with the same channels.

    References:
        Zhu et al., Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial
        Networks, 2017, arXiv:1703.10593.

    Args:
        G_ab: Generator, images of domain a to images of b; the paper's G.
        G_ba: Generator, images of domain b to images of a; the paper's F.
        D_a: Discriminator of domain a, images to logits (N, 1, h, w).
        D_b: Discriminator of domain b.
        pool_a: History of images generated in domain a.
        pool_b: History of images generated in domain b.
        cycle_weight: The paper's lambda.
        identity_weight: Weight of the identity loss, in parts of ``cycle_weight``.
        family: Arguments of :class:`AlternatingModule`.
    """

    alike: ClassVar[tuple[str, ...]] = ("resolution",)  # facts of data that both domains share
    targets: ClassVar[tuple[str, ...]] = ("b", "a")
    multiple: ClassVar[int] = 4

    def __init__(
        self,
        *,
        G_ab: nn.Module,
        G_ba: nn.Module,
        D_a: nn.Module,
        D_b: nn.Module,
        pool_a: ImagePool,
        pool_b: ImagePool,
        cycle_weight: NonNegativeFloat = 10.0,
        identity_weight: NonNegativeFloat = 0.5,
        **family: Any,
    ) -> None:
        super().__init__(**family)
        self.G_ab, self.G_ba, self.D_a, self.D_b = G_ab, G_ba, D_a, D_b
        self.pool_a, self.pool_b = pool_a, pool_b
        self.cycle_weight, self.identity_weight = cycle_weight, identity_weight

    def player_parameters(self, player: str) -> list[nn.Parameter]:
        """Parameters a player's optimiser moves: a player is two networks."""
        networks = {"G": [self.G_ab, self.G_ba], "D": [self.D_a, self.D_b]}[player]
        return [p for network in networks for p in network.parameters()]

    def training_step(self, batch: PairBatch, batch_idx: int) -> None:
        """Update both generators, then both discriminators on what these made before."""
        made: list[tuple[Tensor, Tensor]] = []
        with self.descending("G") as descend:
            for a, b in self.micro(batch.a, batch.b):
                fake_a, fake_b = self.G_ba(b), self.G_ab(a)
                descend(self.generator_loss(a, b, fake_a, fake_b))
                made.append((fake_a.detach(), fake_b.detach()))
        seen_a = self.pool_a(torch.cat([fake_a for fake_a, _ in made]), self)
        seen_b = self.pool_b(torch.cat([fake_b for _, fake_b in made]), self)
        with self.descending("D") as descend:
            for a, b, fake_a, fake_b in self.micro(batch.a, batch.b, seen_a, seen_b):
                loss_a = least_squares(self.D_a(a), 1) + least_squares(self.D_a(fake_a), 0)
                loss_b = least_squares(self.D_b(b), 1) + least_squares(self.D_b(fake_b), 0)
                descend((loss_a + loss_b) / 2)

    def generator_loss(self, a: Tensor, b: Tensor, fake_a: Tensor, fake_b: Tensor) -> Tensor:
        """What both generators descend, of images of both domains and their translations."""
        gan = least_squares(self.D_a(fake_a), 1) + least_squares(self.D_b(fake_b), 1)
        cycle = l1_loss(full(self.G_ba(fake_b)), a) + l1_loss(full(self.G_ab(fake_a)), b)
        self.record(gan=gan, cycle=cycle)
        loss = gan + self.cycle_weight * cycle
        if self.identity_weight:
            identity = l1_loss(full(self.G_ab(b)), b) + l1_loss(full(self.G_ba(a)), a)
            loss = loss + self.identity_weight * self.cycle_weight * identity
        return loss

    def translator(self, to: str) -> Callable[[Tensor], Tensor]:
        """The generator of a domain."""
        return {"a": self.G_ba, "b": self.G_ab}[to]

    def compile_networks(self) -> None:
        """Compile all four networks in place."""
        for network in (self.G_ab, self.G_ba, self.D_a, self.D_b):
            network.compile()
