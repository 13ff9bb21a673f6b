"""Scores of what the networks of a model make of real images; nothing is generated."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_gen.errors import MetricError
from lightning_gen.metrics.evaluator import measure, refusing
from lightning_gen.metrics.feature_measure import Measured
from lightning_gen.metrics.feature_pass import BLOCK, Gather, Team, Weights
from lightning_gen.metrics.protocol import Evaluation, Protocol
from lightning_gen.networks.modes import evaluating

Reader = Callable[[Tensor], Tensor]
CI = {"ci": "standard error over test points"}


class Labelled(NamedTuple):
    """What was read of images, (N, ...), and their labels (N,)."""

    rows: Tensor
    labels: Tensor


class RealEvaluator(ABC):
    """Fits something to what a model reads of training images, and scores it on others.

    The networks that read have no moving average: the weights are those as trained.

    Args:
        metric: Key of :data:`lightning_gen.metrics.evaluator.SCORES`.
        extractor: Name of what reads.
        fit: Split that is fitted to.
        n_fit: Its images, the first; None takes all.
        split: Split that is scored.
        n_real: Its images, the first; None takes all.
    """

    def __init__(
        self,
        metric: str,
        extractor: str,
        fit: str,
        n_fit: int | None,
        split: str,
        n_real: int | None,
    ) -> None:
        self.metric, self.extractor = metric, extractor
        self.fit, self.n_fit, self.split, self.n_real = fit, n_fit, split, n_real

    @abstractmethod
    def reader(self, model: Any) -> Reader:
        """What turns images (N, C, H, W) into rows (N, ...).

        Raises:
            MetricError: The model has no such thing.
        """

    @abstractmethod
    def options(self, n_fit: int) -> Mapping[str, Any]:
        """The metric's own parameters, for the protocol.

        Args:
            n_fit: Number of images that are fitted to.
        """

    @abstractmethod
    def values(self, fit: Labelled, test: Labelled, shown: bool) -> Measured:
        """Fit and score.

        Args:
            fit: What is fitted to.
            test: What is scored.
            shown: Show bars.
        """

    def evaluate(
        self,
        model: Any,
        data: Any,
        *,
        n_fake: int | None = None,
        split: str | None = None,
        weights: Weights = "raw",
        gather: Gather | None = None,
        rank: int = 0,
        world: int = 1,
        progress: bool = False,
    ) -> Evaluation:
        """Score a model against data; every rank returns the same.

        Args:
            model: The model.
            data: A data module of labelled images that is set up.
            n_fake: Means nothing here, as nothing is generated.
            split: Split that is scored, if not the evaluator's.
            weights: Mean nothing here, as the networks that read have no average.
            gather: Concatenates a tensor over ranks; None for one process.
            rank: This process.
            world: Number of processes.
            progress: Show bars, on rank 0.
        """
        team, shown = Team(gather, rank, world), progress and rank == 0
        split = split or self.split
        n_fit, n_real = count(data, self.fit, self.n_fit), count(data, split, self.n_real)
        protocol = Protocol(
            extractor=self.extractor,
            extractor_sha256="",
            resize="",
            n_real=n_real,
            n_fake=0,
            split=split,
            weights="raw",
            seed=0,
            data_fingerprint=data.fingerprint,
            options=dict(self.options(n_fit)),
        )
        try:
            with evaluating(model), torch.no_grad():
                read = partial(self.read, self.reader(model), data, team, model.device, shown)
                fit, test = read(self.fit, n_fit), read(split, n_real)
        except MetricError as error:
            return measure({self.metric: (protocol, refusing(error))})
        return measure({self.metric: (protocol, partial(self.values, fit, test, shown))})

    def read(
        self,
        reader: Reader,
        data: Any,
        team: Team,
        device: torch.device,
        shown: bool,
        split: str,
        n: int,
    ) -> Labelled:
        """Read the first images of a split, each rank a share of them.

        Raises:
            MetricError: They have no labels, or what is read of them is not finite.
        """

        def make(j: int) -> tuple[Tensor, Tensor]:
            indices = (torch.arange(BLOCK) + j * BLOCK).clamp(max=n - 1)
            image, label = data.real(split, indices, device=device)
            if label is None or label.ndim > 1:
                raise MetricError("there is no class to get wrong without labels", where=data.name)
            return reader(image), label

        rows, labels = team.collect(n, make, f"{split} images" if shown else None)
        bad = int((~rows.isfinite()).view(n, -1).any(1).sum())
        if bad:
            raise MetricError(f"{self.extractor} of {bad} of {n} {split} images are not finite")
        return Labelled(rows, labels)


def count(data: Any, split: str, n: int | None) -> int:
    """Number of images that are taken of a split.

    Args:
        data: A data module.
        split: The split.
        n: At most so many; None takes all.
    """
    return min(n or data.size(split), data.size(split))


def share(wrong: float, n: int, name: str) -> Measured:
    """A share of n images, and its standard error.

    Args:
        wrong: The share.
        n: Number of images.
        name: Name of the score.

    Example:
        >>> share(0.2, 100, "error")
        {'error': 0.2, 'error_ci': 0.04}
    """
    return {name: wrong, f"{name}_ci": (wrong * (1 - wrong) / n) ** 0.5}
