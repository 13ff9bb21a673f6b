"""Photo-Realistic Single Image Super-Resolution Using a GAN: the network trained on squared error.

Ledig et al. 2016, arXiv:1609.04802.
"""

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn.functional import mse_loss

from lightning_gen.core import PairBatch
from lightning_gen.functional.precision import at_least_float32 as full
from lightning_gen.models.translation.translating import TranslationModule


class SRResNet(TranslationModule):
    r"""A residual network that makes a large image of a small one, with the least squared error.

    .. math:: l_{MSE} = \frac{1}{r^2 W H} \sum_{x, y} (I^{HR}_{x,y} - G(I^{LR})_{x,y})^2
              \qquad \text{(equation 4)}

    References:
        Ledig et al., Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial
        Network, 2016, arXiv:1609.04802.

    Args:
        G: Network from small images (N, C, h, w) to large ones (N, C, r h, r w).
        family: Arguments of :class:`AlternatingModule`.
    """

    takes: ClassVar[str] = "paired"
    players: ClassVar[tuple[str, ...]] = ("G",)
    adversaries: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *, G: nn.Module, **family: Any) -> None:
        super().__init__(**family)
        self.G = G

    def translator(self, to: str) -> Callable[[Tensor], Tensor]:
        """The network itself."""
        return self.G

    def training_step(self, batch: PairBatch, batch_idx: int) -> None:
        """Descend on the squared error."""
        with self.descending("G") as descend:
            for I_LR, I_HR in self.micro(batch.a, batch.b):
                descend(mse_loss(full(self.G(I_LR)), I_HR))
