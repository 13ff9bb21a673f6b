"""The family of models whose density can be written down."""

from typing import ClassVar

import torch
from torch import Tensor

from lightning_gen.core import ImageBatch
from lightning_gen.networks.modes import evaluating
from lightning_gen.players import DescendingModule


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
