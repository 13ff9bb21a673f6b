"""Models whose density can be written down: plumbing for every family of them."""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from lightning_gen.core import ImageBatch
from lightning_gen.functional.dequantise import dequantise, from_logits, quantise, to_logits
from lightning_gen.functional.draws import drawn
from lightning_gen.networks.modes import evaluating
from lightning_gen.players import DescendingModule
from lightning_gen.types import Fraction, PositiveInt


class DensityModule(DescendingModule):
    r"""Base of every model of maximum likelihood; a paper's file says what log p is.

    Minimising the mean of :math:`-\log p(x)` over data is minimising the Kullback-Leibler
    divergence from the empirical distribution to the model.
    """

    measured: ClassVar[tuple[str, ...]] = ("likelihood",)

    def log_prob(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Log density of images, through which gradients flow.

        Args:
            x: Images (N, C, H, W) in [-1, 1], or points (N, 2).
            labels: Classes (N,), of a model that learns from them.

        Returns:
            (N,), in nats.
        """
        raise NotImplementedError

    def training_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Descend on the mean negative log-likelihood."""
        labels = batch.label if self.requires_labels else None
        with self.descending("model") as descend:
            for x, *of in self.micro(*(t for t in (batch.image, labels) if t is not None)):
                descend(-self.log_prob(x, *of).mean())

    @torch.no_grad()
    def log_likelihood(
        self, x: Tensor, *, samples: int | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Log density of images, in :attr:`likelihood_space`.

        Args:
            x: Images (N, C, H, W) in [-1, 1], or points (N, 2).
            samples: Means nothing here, as the density is exact.
            generator: Means nothing here either.

        Returns:
            (N,), in nats.
        """
        with evaluating(self):
            return self.log_prob(x)

    def sample(
        self, n: int, *, labels: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw n samples.

        Args:
            n: How many.
            labels: Classes (n,), of a model that learns from them; refused by others.
            generator: Source of randomness; a CPU generator gives the same samples everywhere.

        Returns:
            Images (n, C, H, W) in [-1, 1], or points (n, 2).
        """
        raise NotImplementedError


class ContinuousDensityModule(DensityModule):
    r"""Base of models of a density of real numbers, which images of bytes are made into.

    With noise u in [0, 1) a byte k is :math:`y = (k + u) / 256` in [0, 1), of which the logit may
    be taken: :math:`\text{logit}(\alpha + (1 - 2 \alpha) y)`. A paper's file gives the density of
    y or of its logit, and draws them; points stay as they are.

    References:
        Theis, van den Oord, Bethge, A note on the evaluation of generative models, 2015,
        arXiv:1511.01844 (the density of bytes with noise bounds their probability).
        Dinh, Sohl-Dickstein, Bengio, Density estimation using Real NVP, 2016, arXiv:1605.08803
        (the logit).

    Args:
        channels: Channels of an image; None for points (2,).
        resolution: Its side in pixels; None for points.
        space: "unit" (y itself) or "logit", of images.
        alpha: How far pixels stay from 0 and 1 before the logit is taken.
        family: Arguments of :class:`AlternatingModule`.

    Attributes:
        shape: Of an image, (C, H, W), or of a point, (2,).
    """

    likelihood_space: str = "unit"

    def __init__(
        self,
        *,
        channels: PositiveInt | None = None,
        resolution: PositiveInt | None = None,
        space: Literal["unit", "logit"] = "unit",
        alpha: Fraction = 1e-6,
        **family: Any,
    ) -> None:
        super().__init__(**family)
        side = resolution or 1
        self.shape = (channels, side, side) if channels else (2,)
        self.likelihood_space = space if channels else "points"
        self.alpha = alpha

    def continuous(self, x: Tensor, u: Tensor) -> Tensor:
        """Real numbers of images in [-1, 1] with noise u in [0, 1), or points as they are."""
        if self.likelihood_space in {"points"}:
            return x
        y = dequantise(x, u)
        return to_logits(y.double(), self.alpha).to(y) if self.in_logits else y

    def discrete(self, y: Tensor) -> Tensor:
        """Images in [-1, 1] whose pixels are bytes, of real numbers, or points as they are."""
        if self.likelihood_space in {"points"}:
            return y
        return quantise(from_logits(y, self.alpha) if self.in_logits else y)

    @property
    def in_logits(self) -> bool:
        """Whether the density is of logits."""
        return self.likelihood_space in {"logit"}

    def training_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Descend on the mean negative log-likelihood, with noise anew."""
        y = self.continuous(batch.image, self.rand(*batch.image.shape))
        labels = batch.label if self.requires_labels else None
        with self.descending("model") as descend:
            for y_i, *of in self.micro(*(t for t in (y, labels) if t is not None)):
                descend(-self.log_prob(y_i, *of).mean())

    @torch.no_grad()
    def log_likelihood(
        self,
        x: Tensor,
        labels: Tensor | None = None,
        *,
        samples: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Log density of images with noise that the generator draws, in :attr:`likelihood_space`.

        Args:
            x: Images (N, C, H, W) in [-1, 1], or points (N, 2).
            labels: Classes (N,), of a model that learns from them.
            samples: Means nothing here, as the density is exact.
            generator: Source of the noise; None uses torch's.

        Returns:
            (N,), in nats.
        """
        u = drawn("rand", x.shape, x.device, generator)
        of = () if labels is None or not self.requires_labels else (labels,)
        with evaluating(self):
            return self.log_prob(self.continuous(x, u), *of)
