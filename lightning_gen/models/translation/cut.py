"""Contrastive Learning for Unpaired Image-to-Image Translation.

Park, Efros, Zhang, Zhu. 2020, arXiv:2007.15651.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lightning_gen.core import PairBatch
from lightning_gen.functional.adversarial import least_squares
from lightning_gen.functional.contrastive import patch_nce
from lightning_gen.models.translation.translating import TranslationModule
from lightning_gen.types import NonNegativeFloat, PositiveFloat, PositiveInt


class CUT(TranslationModule):
    r"""A GAN that translates one way, and whose output's patches resemble those of its input.

    .. math:: L_{GAN}(G, D) + \lambda_X L_{PatchNCE}(G, H, X) + \lambda_Y L_{PatchNCE}(G, H, Y)

    A patch of the output is to be told from other patches of the input by vectors that heads H make
    of maps of G's encoder, and no domain has to be translated back (equation 5). FastCUT is
    ``nce_weight=10 identity_weight=0``.

    Note:
        The GAN plays by least squares and D's loss is halved, as in the authors' code, which also
        halves the sum of both contrastive losses, and flips images at random for FastCUT. Its
        layers that blur before they resample are left out. Both domains need the same channels,
        because the encoder looks at images of both.

    References:
        Park et al., Contrastive Learning for Unpaired Image-to-Image Translation, 2020,
        arXiv:2007.15651.

    Args:
        G: Generator, images of domain a to images of b; ``features(x, numbers)`` gives maps of its
            encoder, ``widths`` their channels.
        D: Discriminator of domain b, images to logits (N, 1, h, w).
        H: Makes the heads, given the channels of their maps.
        nce_layers: Numbers of the maps: the image, both strided convolutions, and the first and
            fifth residual block.
        patches: Places taken of each map, or all where it has fewer.
        temperature: The paper's tau.
        nce_weight: The paper's lambda_X.
        identity_weight: The paper's lambda_Y.
        family: Arguments of :class:`AlternatingModule`.
    """

    alike: ClassVar[tuple[str, ...]] = (
        "resolution",
        "channels",
    )  # facts of data that both domains share
    multiple: ClassVar[int] = 4
    G: Any  # has .features and .widths

    def __init__(
        self,
        *,
        G: nn.Module,
        D: nn.Module,
        H: Callable[..., nn.Module],
        nce_layers: Sequence[int] = (0, 1, 2, 3, 7),
        patches: PositiveInt = 256,
        temperature: PositiveFloat = 0.07,
        nce_weight: NonNegativeFloat = 1.0,
        identity_weight: NonNegativeFloat = 1.0,
        **family: Any,
    ) -> None:
        super().__init__(**family)
        self.G, self.D, self.nce_layers = G, D, list(nce_layers)
        self.H = H([self.G.widths[i] for i in nce_layers])
        self.patches, self.temperature = patches, temperature
        self.nce_weight, self.identity_weight = nce_weight, identity_weight

    def player_parameters(self, player: str) -> list[nn.Parameter]:
        """Parameters a player's optimiser moves: the heads play with G."""
        own = super().player_parameters(player)
        return {"G": [*own, *self.H.parameters()]}.get(player, own)

    def training_step(self, batch: PairBatch, batch_idx: int) -> None:
        """Update D, then G and the heads."""
        with self.descending("D") as descend:
            for x, y in self.micro(batch.a, batch.b):
                fake = self.fake(x).detach()
                descend((least_squares(self.D(y), 1) + least_squares(self.D(fake), 0)) / 2)
        with self.descending("G") as descend:
            for x, y in self.micro(batch.a, batch.b):
                gan, nce = least_squares(self.D(self.fake(x)), 1), self.nce(x, self.fake(x))
                loss = gan + self.nce_weight * nce
                if self.identity_weight:
                    loss = loss + self.identity_weight * self.nce(y, self.G(y))
                descend(loss)
        self.record(gan=gan, nce=nce)

    def nce(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """The contrastive loss of inputs (N, C, H, W) and outputs, averaged over the maps."""
        queries = self.G.features(x_hat, self.nce_layers)
        places = [torch.randperm(h[0, 0].numel(), device=h.device)[: self.patches] for h in queries]
        with torch.no_grad():
            keys = self.H(self.G.features(x, self.nce_layers), places)
        pairs = zip(self.H(queries, places), keys, strict=True)
        return torch.stack([patch_nce(q, k, self.temperature) for q, k in pairs]).mean()

    def translator(self, to: str) -> Callable[[Tensor], Tensor]:
        """G."""
        return self.G
