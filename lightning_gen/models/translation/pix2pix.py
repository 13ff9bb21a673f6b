"""Image-to-Image Translation with Conditional Adversarial Networks.

Isola, Zhu, Zhou, Efros. 2016, arXiv:1611.07004.
"""

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn.functional import l1_loss

from lightning_gen.core import PairBatch
from lightning_gen.functional.adversarial import discriminator_loss, non_saturating_loss
from lightning_gen.functional.precision import at_least_float32 as full
from lightning_gen.models.translation.translating import TranslationModule
from lightning_gen.types import NonNegativeFloat


class Pix2Pix(TranslationModule):
    r"""A conditional GAN of pairs beside the distance to the image that is wanted (equation 4).

    .. math:: \min_G \max_D E[\log D(x, y)] + E[\log(1 - D(x, G(x)))] + \lambda E \|y - G(x)\|_1

    x are images of domain a, y those of b, and D judges patches. The noise z is dropout.

    Note:
        G descends the non-saturating loss, and D's objective is halved (section 3.3). The paper
        keeps the dropout at test time; here a translation is a function of its input unless
        ``test_dropout`` says otherwise.

    References:
        Isola et al., Image-to-Image Translation with Conditional Adversarial Networks, 2016,
        arXiv:1611.07004.

    Args:
        G: Generator, images of domain a to images of b; with ``keep_noise()`` for ``test_dropout``.
        D: Discriminator, images of both domains to logits (N, 1, h, w).
        l1_weight: The paper's lambda.
        test_dropout: Whether G drops out when it translates, as the paper's does.
        family: Arguments of :class:`AlternatingModule`.
    """

    alike: ClassVar[tuple[str, ...]] = ("resolution",)  # facts of data that both domains share
    takes: ClassVar[str] = "paired"
    G: Any  # has .keep_noise

    def __init__(
        self,
        *,
        G: nn.Module,
        D: nn.Module,
        l1_weight: NonNegativeFloat = 100.0,
        test_dropout: bool = False,
        **family: Any,
    ) -> None:
        super().__init__(**family)
        self.G, self.D = G, D
        self.l1_weight, self.test_dropout = l1_weight, test_dropout

    def training_step(self, batch: PairBatch, batch_idx: int) -> None:
        """Update D on pairs with real and generated images, then G."""
        with self.descending("D") as descend:
            for x, y in self.micro(batch.a, batch.b):
                descend(discriminator_loss(self.D(x, y), self.D(x, self.fake(x).detach())) / 2)
        with self.descending("G") as descend:
            for x, y in self.micro(batch.a, batch.b):
                L_1 = l1_loss(full(self.fake(x)), y)
                descend(non_saturating_loss(self.D(x, self.fake(x))) + self.l1_weight * L_1)
        self.record(l1=L_1)

    def translator(self, to: str) -> Callable[[Tensor], Tensor]:
        """G, with its noise where that is asked for."""
        if self.test_dropout:
            self.G.keep_noise()
        return self.G
