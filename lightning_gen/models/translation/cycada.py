"""CyCADA: Cycle-Consistent Adversarial Domain Adaptation.

Hoffman, Tzeng, Park, Zhu, Isola, Saenko, Efros, Darrell. 2017, arXiv:1711.03213.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lightning_gen.core import PairBatch
from lightning_gen.functional.precision import at_least_float32 as full
from lightning_gen.models.translation.cyclegan import CycleGAN
from lightning_gen.types import NonNegativeFloat, NonNegativeInt


class CyCADA(CycleGAN):
    r"""A CycleGAN whose translations keep the class that a classifier sees (equation 4).

    .. math:: L_{sem} = L_{task}(f_S, G_{T \to S}(X_T), p(f_S, X_T))
              + L_{task}(f_S, G_{S \to T}(X_S), p(f_S, X_S))

    Domain a is the source S, whose labels are known, b the target T. The classifier f_S learns the
    labels of the source first and is fixed then; p(f, x) is the class it sees in x. A classifier of
    the target is trained on translated images of the source and their labels.

    Note:
        This is the adaptation of pixels; that of features is left out, as is the identity loss.
        As in the authors' code for digits the cycle has weight one; unlike there f_S does not go on
        learning beside the generators, which doubled the weight of one GAN.

    References:
        Hoffman et al., CyCADA: Cycle-Consistent Adversarial Domain Adaptation, 2017,
        arXiv:1711.03213.

    Args:
        f: The classifier, images of either domain to logits (N, classes).
        source_images: Images of the source that f learns from before it is fixed.
        semantic_weight: Weight of the semantic loss.
        cycle_weight: Weight of the cycle.
        identity_weight: Weight of the identity loss, in parts of ``cycle_weight``.
        family: The networks of :class:`CycleGAN`, and arguments of :class:`AlternatingModule`.
    """

    players: ClassVar[tuple[str, ...]] = ("D", "G", "f")
    adversaries: ClassVar[tuple[str, ...]] = ("D", "f")
    alike: ClassVar[tuple[str, ...]] = (
        "resolution",
        "channels",
    )  # facts of data that both domains share
    requires_labels: ClassVar[bool] = True

    def __init__(
        self,
        *,
        f: nn.Module,
        source_images: NonNegativeInt = 600_000,
        semantic_weight: NonNegativeFloat = 1.0,
        cycle_weight: NonNegativeFloat = 1.0,
        identity_weight: NonNegativeFloat = 0.0,
        **family: Any,
    ) -> None:
        super().__init__(cycle_weight=cycle_weight, identity_weight=identity_weight, **family)
        self.f, self.source_images, self.semantic_weight = f, source_images, semantic_weight

    def player_parameters(self, player: str) -> list[nn.Parameter]:
        """Parameters a player's optimiser moves."""
        return list(self.f.parameters()) if player in {"f"} else super().player_parameters(player)

    def training_step(self, batch: PairBatch, batch_idx: int) -> None:
        """Update f on the labelled source at first, then the generators and discriminators."""
        learning = self.images_before < self.source_images
        self.f.train(learning)
        if not learning:
            return super().training_step(batch, batch_idx)
        assert batch.label_a is not None
        with self.descending("f") as descend:
            for a, y in self.micro(batch.a, batch.label_a):
                logits = full(self.f(a))
                descend(cross_entropy(logits, y))
        self.record(accuracy=(logits.argmax(1) == y).float().mean())
        return None

    def generator_loss(self, a: Tensor, b: Tensor, fake_a: Tensor, fake_b: Tensor) -> Tensor:
        """CycleGAN's loss, and what the translations lost of the classes."""
        with torch.no_grad():
            p_a, p_b = self.f(a).argmax(1), self.f(b).argmax(1)
        semantic = cross_entropy(full(self.f(fake_a)), p_b) + cross_entropy(
            full(self.f(fake_b)), p_a
        )
        self.record(semantic=semantic)
        return super().generator_loss(a, b, fake_a, fake_b) + self.semantic_weight * semantic

    def compile_networks(self) -> None:
        """Compile all five networks in place."""
        super().compile_networks()
        self.f.compile()
