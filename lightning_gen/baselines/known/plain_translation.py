"""How near to its target a picture comes without learning what it shows."""

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from lightning_gen.metrics.protocol import Score
from lightning_gen.metrics.translation_evaluator import TranslationEvaluator
from lightning_gen.types import PositiveInt


class PlainTranslation:
    """PSNR, SSIM and L1 of translations that every model of pairs has to surpass.

    Args:
        method: "bicubic" enlarges; "mean_colour" gives each grey level the colour that it has on
            average, by a line fitted to training pixels.
        n_fit: Training pairs of that line.
    """

    targets: ClassVar[tuple[str, ...]] = ("b",)
    device = torch.device("cpu")

    def __init__(
        self, method: Literal["bicubic", "mean_colour"], n_fit: PositiveInt = 5_000
    ) -> None:
        self.method, self.n_fit = method, n_fit
        self.plain: Callable[[Tensor], Tensor] | None = None

    def __call__(self, data: Any, *, seed: int, progress: bool) -> list[Score]:
        """Translate the test images and compare them with their partners.

        Args:
            data: A data module of pairs that is set up.
            seed: Nothing is random here.
            progress: Show a bar.

        Returns:
            ``psnr``, ``ssim`` and ``l1``.
        """
        self.plain = {"bicubic": self.bicubic, "mean_colour": self.mean_colour}[self.method](data)
        scores = TranslationEvaluator(None).evaluate(self, data, progress=progress).scores
        return [score for score in scores if score.metric in {"psnr", "ssim", "l1"}]

    def translate(self, x: Tensor, to: str) -> Tensor:
        """Images of a as they would be in b."""
        assert self.plain is not None
        return self.plain(x).clamp(-1, 1)

    def bicubic(self, data: Any) -> Callable[[Tensor], Tensor]:
        """Enlargement to the size of domain b."""
        size = data.shape[-2:]
        return lambda x: interpolate(x, size, mode="bicubic", align_corners=False)

    def mean_colour(self, data: Any) -> Callable[[Tensor], Tensor]:
        """A line from the grey level to each colour, of least squares."""
        rows = torch.arange(min(self.n_fit, data.size("train_a")))
        x, y = (data.real(f"train_{domain}", rows).image for domain in ("a", "b"))
        grey = x.flatten().double()
        A = torch.stack([grey, torch.ones_like(grey)], 1)
        line = torch.linalg.lstsq(A, y.movedim(1, 3).reshape(-1, y.shape[1]).double()).solution
        slope, offset = line.float().view(2, 1, -1, 1, 1)
        return lambda x: slope * x + offset
