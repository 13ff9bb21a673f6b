"""Classifier-Free Diffusion Guidance.

Ho, Salimans. 2022, arXiv:2207.12598.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_gen.functional.samplers import guided
from lightning_gen.models.diffusion.ddpm import DDPM
from lightning_gen.types import Fraction, NonNegativeFloat


class Guided(DDPM):
    r"""A DDPM of classes that knows images of no class too, and leads away from those (equation 6).

    .. math:: \tilde\epsilon(x_t, c) = (1 + w) \epsilon_\theta(x_t, c) - w \epsilon_\theta(x_t)

    One network is both: in training the class is forgotten with probability :math:`p_{uncond}`.

    Note:
        The network's target is that of :class:`DDPM`, of which the guided one is the same
        combination. Bounds of the likelihood are of the class given, without guidance.

    References:
        Ho, Salimans, Classifier-Free Diffusion Guidance, 2022, arXiv:2207.12598.

    Args:
        guidance: The paper's w; 0 is none. Any other makes two evaluations of one.
        forgotten: The paper's :math:`p_{uncond}`.
        family: Arguments of :class:`DDPM`.
    """

    requires_labels: ClassVar[bool] = True
    sampling: ClassVar[tuple[str, ...]] = ("steps", "sampler", "eta", "guidance")

    def __init__(
        self, *, guidance: NonNegativeFloat = 0.3, forgotten: Fraction = 0.1, **family: Any
    ) -> None:
        super().__init__(**family)
        self.guidance, self.forgotten = guidance, forgotten

    @property
    def nfe(self) -> int:
        """Two evaluations a step where there is guidance."""
        return super().nfe * (2 if self.guidance > 0 else 1)

    def classes(self, labels: Tensor) -> Tensor:
        """Classes (N,), of which some are forgotten: -1 is none."""
        return torch.where(self.rand(len(labels)) < self.forgotten, -1, labels)

    def expected(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        """The data expected of x (N, ...), with guidance."""
        told = self.told(self.network, x, t, labels)
        if self.guidance > 0:
            told = guided(told, self.told(self.network, x, t), self.guidance)
        return self.data_of(told, x, t)
