"""Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network.

Ledig et al. 2016, arXiv:1609.04802.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from torch import Tensor, nn
from torch.nn.functional import mse_loss

from lightning_gen.core import PairBatch
from lightning_gen.functional.adversarial import discriminator_loss, non_saturating_loss
from lightning_gen.functional.precision import at_least_float32 as full
from lightning_gen.models.translation.translating import TranslationModule
from lightning_gen.networks.vgg import VGG19Features
from lightning_gen.types import NonNegativeFloat, NonNegativeInt, PositiveFloat


class SRGAN(TranslationModule):
    r"""Super-resolution that is alike in content, by VGG19's features, and looks real to D.

    .. math:: l^{SR} = l^{SR}_X + 10^{-3} l^{SR}_{Gen}, \qquad l_{Gen} = -\log D(G(I^{LR}))
    .. math:: l_{VGG/5.4} = \frac{1}{W H} \sum_{x, y} (\phi(I^{HR})_{x,y} - \phi(G(I^{LR}))_{x,y})^2

    Note:
        One forward pass of G serves both players: first G's step, then D's. The paper's G was
        trained on squared error before, by an optimiser of its own: ``pretrain_images`` does it in
        the same run. The sum over feature channels in l_VGG is a mean.

    References:
        Ledig et al., Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial
        Network, 2016, arXiv:1609.04802, equations 3 to 6.

    Args:
        G: Network from small images (N, C, h, w) to large ones (N, C, r h, r w).
        D: Discriminator of large images.
        content: l_X: features of VGG19, or squared error, which needs no weights.
        layer: The convolution whose features, after activation, are compared.
        weights_path: File of VGG19's weights; None looks in torch's hub cache.
        rescale: Features are divided by it.
        adversarial_weight: Weight of l_Gen.
        pretrain_images: For so many images G descends on squared error, and D waits.
        family: Arguments of :class:`AlternatingModule`.
    """

    takes: ClassVar[str] = "paired"
    players: ClassVar[tuple[str, ...]] = ("G", "D")

    def __init__(
        self,
        *,
        G: nn.Module,
        D: nn.Module,
        content: Literal["vgg", "mse"] = "vgg",
        layer: str = "conv5_4",
        weights_path: str | None = None,
        rescale: PositiveFloat = 12.75,
        adversarial_weight: NonNegativeFloat = 1e-3,
        pretrain_images: NonNegativeInt = 0,
        **family: Any,
    ) -> None:
        super().__init__(**family)
        self.G, self.D = G, D
        phi = VGG19Features(layer, weights_path=weights_path, scale=rescale)
        self.phi = {"vgg": phi, "mse": None}[content]
        self.adversarial_weight, self.pretrain_images = adversarial_weight, pretrain_images

    def on_fit_start(self) -> None:
        """Read VGG19's weights before the first step."""
        super().on_fit_start()
        if self.phi is not None:
            self.phi.load()

    def translator(self, to: str) -> Callable[[Tensor], Tensor]:
        """The network from small to large images."""
        return self.G

    def content(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """l_X of super-resolved images and true ones (N, C, H, W)."""
        if self.phi is None:
            return mse_loss(full(x_hat), x)
        return mse_loss(full(self.phi(x_hat)), full(self.phi(x)))

    def training_step(self, batch: PairBatch, batch_idx: int) -> None:
        """Update G on content and on what D says, then D."""
        if self.images_before < self.pretrain_images:
            with self.descending("G") as descend:
                for I_LR, I_HR in self.micro(batch.a, batch.b):
                    descend(mse_loss(full(self.G(I_LR)), I_HR))
            return
        I_SR = []
        with self.descending("G") as descend:
            for I_LR, I_HR in self.micro(batch.a, batch.b):
                x_hat = self.G(I_LR)
                l_X, l_Gen = self.content(x_hat, I_HR), non_saturating_loss(self.D(x_hat))
                descend(l_X + self.adversarial_weight * l_Gen)
                I_SR.append(x_hat.detach())
        self.record(content=l_X, adversarial=l_Gen)
        with self.descending("D") as descend:
            for (I_HR,), x_hat in zip(self.micro(batch.b), I_SR, strict=True):
                descend(discriminator_loss(self.D(I_HR), self.D(x_hat)))
