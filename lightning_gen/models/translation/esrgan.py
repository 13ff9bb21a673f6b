"""ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks.

Wang et al. 2018, arXiv:1809.00219.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from torch import Tensor, nn
from torch.nn.functional import l1_loss, mse_loss, softplus

from lightning_gen.core import PairBatch
from lightning_gen.functional.precision import at_least_float32 as full
from lightning_gen.models.translation.translating import TranslationModule
from lightning_gen.networks.vgg import VGG19Features
from lightning_gen.types import NonNegativeFloat, NonNegativeInt


def relativistic_average_loss(winner: Tensor, loser: Tensor) -> Tensor:
    r"""How far the one side's logits are from being above the mean of the other's.

    .. math:: -E_w[\log \sigma(C(w) - E_l[C(l)])] - E_l[\log(1 - \sigma(C(l) - E_w[C(w)]))]

    D descends it with real images as winners (equation 1), G with super-resolved ones (equation 2).

    Args:
        winner: Logits (N, 1) of the images that are to look more real.
        loser: Logits (N, 1) of the others.

    Example:
        >>> relativistic_average_loss(torch.ones(2, 1), torch.ones(2, 1))  # 2 log 2
        tensor(1.3863)
    """
    w, l = full(winner), full(loser)  # noqa: E741
    return softplus(l.mean() - w).mean() + softplus(l - w.mean()).mean()


class ESRGAN(TranslationModule):
    r"""Super-resolution by dense residual blocks, against a D that compares real and made images.

    .. math:: L_G = L_{percep} + \lambda L^{Ra}_G + \eta L_1

    L_percep is the mean difference of VGG19's features before activation, L_1 that of pixels.

    Note:
        One forward pass of G serves both players, as in the authors' code: first G's step, then
        D's. The paper's G was trained on L_1 before: ``pretrain_images`` does it in the same run.
        Means over a batch are those of a micro-batch and of a device.

    References:
        Wang et al., ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks, 2018,
        arXiv:1809.00219, equations 1 to 3.

    Args:
        G: Network from small images (N, C, h, w) to large ones (N, C, r h, r w).
        D: Discriminator of large images.
        content: L_percep: features of VGG19, or the squared error of pixels, without weights.
        layer: The convolution whose features, before activation, are compared.
        weights_path: File of VGG19's weights; None looks in torch's hub cache.
        adversarial_weight: lambda.
        pixel_weight: eta.
        pretrain_images: For so many images G descends on L_1, and D waits.
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
        adversarial_weight: NonNegativeFloat = 5e-3,
        pixel_weight: NonNegativeFloat = 1e-2,
        pretrain_images: NonNegativeInt = 0,
        **family: Any,
    ) -> None:
        super().__init__(**family)
        self.G, self.D = G, D
        phi = VGG19Features(layer, activation=False, weights_path=weights_path)
        self.phi = {"vgg": phi, "mse": None}[content]
        self.adversarial_weight, self.pixel_weight = adversarial_weight, pixel_weight
        self.pretrain_images = pretrain_images

    def on_fit_start(self) -> None:
        """Read VGG19's weights before the first step."""
        super().on_fit_start()
        if self.phi is not None:
            self.phi.load()

    def translator(self, to: str) -> Callable[[Tensor], Tensor]:
        """The network from small to large images."""
        return self.G

    def percep(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """L_percep of super-resolved images and true ones (N, C, H, W)."""
        if self.phi is None:
            return mse_loss(full(x_hat), x)
        return l1_loss(full(self.phi(x_hat)), full(self.phi(x)))

    def training_step(self, batch: PairBatch, batch_idx: int) -> None:
        """Update G on features, on D and on pixels, then D."""
        if self.images_before < self.pretrain_images:
            with self.descending("G") as descend:
                for x_l, x_r in self.micro(batch.a, batch.b):
                    descend(l1_loss(full(self.G(x_l)), x_r))
            return
        fakes = []
        with self.descending("G") as descend:
            for x_l, x_r in self.micro(batch.a, batch.b):
                x_f = self.G(x_l)
                L_percep, L_1 = self.percep(x_f, x_r), l1_loss(full(x_f), x_r)
                L_Ra = relativistic_average_loss(self.D(x_f), self.D(x_r))
                descend(L_percep + self.adversarial_weight * L_Ra + self.pixel_weight * L_1)
                fakes.append(x_f.detach())
        self.record(content=L_percep, adversarial=L_Ra, pixel=L_1)
        with self.descending("D") as descend:
            for (x_r,), x_f in zip(self.micro(batch.b), fakes, strict=True):
                descend(relativistic_average_loss(self.D(x_r), self.D(x_f)))
