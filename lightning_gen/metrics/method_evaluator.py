"""Scores of real images one by one, by a method of the model: a likelihood, a reconstruction."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from lightning_gen.core import ImageBatch
from lightning_gen.errors import MetricError
from lightning_gen.metrics.evaluator import SCORES, measure, refusing
from lightning_gen.metrics.feature_measure import Measured
from lightning_gen.metrics.feature_pass import BLOCK, Gather, Team, Weights, averaged, sampling
from lightning_gen.metrics.protocol import Evaluation, Protocol
from lightning_gen.metrics.real_evaluator import CI, count
from lightning_gen.networks.modes import evaluating


class Read(NamedTuple):
    """What was read of N images.

    Args:
        values: (N,) by name.
        labels: The images' labels (N, ...), if any.
        data: The data module.
    """

    values: Mapping[str, Tensor]
    labels: Tensor | None
    data: Any


def given(method: Callable[..., Any], label: Tensor | None) -> dict[str, Tensor]:
    """The keyword argument of a method that takes labels.

    Args:
        method: A method of a model.
        label: Labels (N,), if there are any.

    Example:
        >>> def encode(x, labels): ...
        >>> given(encode, torch.tensor([3])), given(lambda x: x, torch.tensor([3]))
        ({'labels': tensor([3])}, {})
    """
    takes = "labels" in inspect.signature(method).parameters
    return {"labels": label} if takes and label is not None else {}


def mean_and_error(values: Tensor, name: str) -> Measured:
    """Mean of values (N,), and its standard error.

    Example:
        >>> mean_and_error(torch.tensor([1.0, 2.0, 3.0]), "nll")
        {'nll': 2.0, 'nll_ci': 0.5773502691896258}
    """
    x = values.cpu().double()
    error = float(x.std()) / len(x) ** 0.5 if len(x) > 1 else 0.0
    return {name: float(x.mean()), f"{name}_ci": error}


class MethodEvaluator(ABC):
    """Reads real images by a method of the model, block by block; a subclass says what of them.

    Whatever is random follows from the evaluator's seed and an image's place, so that any number of
    processes has the same scores.

    Args:
        split: Split that is read.
        n_real: Its images, the first; None takes all.
        seed: Seed of what a method draws.
    """

    needs: ClassVar[str]
    """The method of a model that this is about."""

    def __init__(self, split: str, n_real: int | None, seed: int) -> None:
        self.split, self.n_real, self.seed = split, n_real, seed

    @abstractmethod
    def protocols(self, model: Any, data: Any, how: Protocol) -> Mapping[str, Protocol]:
        """The metrics (keys of SCORES) that mean something here, and the protocol of each.

        Args:
            model: The model, which may lack what is needed.
            data: The data module.
            how: What they have in common.
        """

    @abstractmethod
    def rows(self, model: Any, batch: ImageBatch, j: int) -> dict[str, Tensor]:
        """Values (N,) of the images of block j, by name.

        Raises:
            MetricError: The method fails.
        """

    def check(self, model: Any, data: Any) -> None:
        """Refuse what has no meaning.

        Raises:
            MetricError: Saying why, and what would help.
        """
        if not hasattr(model, self.needs):
            raise MetricError(f"{type(model).__name__} has no {self.needs}(x)")

    def values(self, metric: str, read: Read) -> Measured:
        """Scores of a metric: means, with standard errors."""
        found: Measured = {}
        for name in SCORES[metric]:
            found |= mean_and_error(read.values[name], name)
        return found

    def evaluate(
        self,
        model: Any,
        data: Any,
        *,
        n_fake: int | None = None,
        split: str | None = None,
        weights: Weights = "ema",
        gather: Gather | None = None,
        rank: int = 0,
        world: int = 1,
        progress: bool = False,
    ) -> Evaluation:
        """Score a model against data; every rank returns the same.

        Args:
            model: The model.
            data: A data module that is set up.
            n_fake: Means nothing here, as no images are generated.
            split: Split that is read, if not the evaluator's.
            weights: Averaged weights where the model has them, or raw ones.
            gather: Concatenates a tensor over ranks; None for one process.
            rank: This process.
            world: Number of processes.
            progress: Show bars, on rank 0.
        """
        team, split = Team(gather, rank, world), split or self.split
        weights = averaged(model, weights)
        n = count(data, split, self.n_real)
        how = Protocol(
            extractor="pixels",
            extractor_sha256="",
            resize="",
            n_real=n,
            n_fake=0,
            split=split,
            weights=weights,
            seed=self.seed,
            data_fingerprint=data.fingerprint,
            options=CI,
        )
        protocols = self.protocols(model, data, how)
        try:
            self.check(model, data)
            with sampling(model, weights), evaluating(model):
                read = self.read(model, data, split, n, team, progress and rank == 0)
        except MetricError as error:
            return measure({name: (how, refusing(error)) for name, how in protocols.items()})
        return measure(
            {name: (how, partial(self.values, name, read)) for name, how in protocols.items()}
        )

    def read(self, model: Any, data: Any, split: str, n: int, team: Team, shown: bool) -> Read:
        """Read the first n images of a split, each rank a share of them.

        Raises:
            MetricError: A value is not finite.
        """
        names: list[str] = []
        labelled = False

        def make(j: int) -> tuple[Tensor, ...]:
            nonlocal names, labelled
            indices = (torch.arange(BLOCK) + j * BLOCK).clamp(max=n - 1)
            batch = data.real(split, indices, device=model.device)
            rows = self.rows(model, batch, j)
            names, labelled = list(rows), batch.label is not None
            return *rows.values(), *([] if batch.label is None else [batch.label])

        columns = team.collect(n, make, f"{split} images" if shown else None)
        values = dict(zip(names, columns, strict=False))
        for name, x in values.items():
            bad = int((~x.isfinite()).sum())
            if bad:
                raise MetricError(f"{name} of {bad} of {n} {split} images is not finite")
        return Read(values, columns[-1] if labelled else None, data)
