"""Who makes which samples, and what metrics see of real and of generated images."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from tqdm import tqdm

from lightning_gen.errors import MetricError
from lightning_gen.functional.distances import Neighbourhood, neighbourhood
from lightning_gen.functional.pixels import grey_levels
from lightning_gen.metrics.feature_measure import ALREADY_GATHERED
from lightning_gen.metrics.fid import FrechetDistance
from lightning_gen.randomness import fold

BLOCK = 64
SIDE = 128  # larger images are kept at this side: four times the bytes would say little more
Gather = Callable[[Tensor], Tensor]
Weights = Literal["ema", "raw"]


class Team:
    """The processes of one evaluation, and how they share its blocks of 64 samples.

    Block j belongs to rank ``j % world`` and is always made whole, so a sample depends on nothing
    but its index: not on the number of processes, and not on how many samples are asked for.

    Args:
        gather: Concatenates a tensor over ranks, the same shape on each; None for one process.
        rank: This process.
        world: Number of processes.
    """

    def __init__(self, gather: Gather | None = None, rank: int = 0, world: int = 1) -> None:
        self.gather: Gather = gather or (lambda tensor: tensor)
        self.rank, self.world = rank, world

    def collect(
        self, n: int, make: Callable[[int], tuple[Tensor, ...]], progress: str | None = None
    ) -> list[Tensor]:
        """Make n rows block by block, and give all of them in order on every rank.

        Args:
            n: Number of rows.
            make: Gives the 64 rows of a block, of each of several tensors.
            progress: Title of a bar; None for no bar.

        Example:
            >>> Team().collect(3, lambda j: (torch.arange(64) + 64 * j,))
            [tensor([0, 1, 2])]
        """
        rounds = math.ceil(n / (BLOCK * self.world))
        parts = []
        for i in tqdm(range(rounds), progress, leave=False, disable=progress is None):
            j = i * self.world + self.rank
            parts.append(make(j if j * BLOCK < n else 0))  # a rank without work repeats block 0
        out = []
        for tensors in zip(*parts, strict=True):
            rows = self.gather(torch.stack(tensors))
            rows = rows.view(self.world, rounds, *rows.shape[1:]).transpose(0, 1)
            out.append(rows.flatten(0, 2)[:n])
        return out

    def first(self, tensor: Tensor) -> Tensor:
        """Rank 0's version of a tensor that has the same shape on every rank."""
        return self.gather(tensor)[: len(tensor)]

    def agree(self, here: bool, device: torch.device) -> bool:
        """Whether something holds on every rank."""
        return bool(self.gather(torch.tensor([float(here)], device=device)).all())


def draw(model: Any, data: Any, seed: int, j: int) -> Tensor:
    """Draw generated samples 64 j to 64 j + 63 of a model.

    Args:
        model: A model with ``sample``.
        data: Their conditions are asked of a conditional model, so every class has its share.
        seed: Seed of the latents.
        j: Block.
    """
    generator = torch.Generator().manual_seed(fold(seed, "fake", j))
    labels = asked(model, data, j * BLOCK, (j + 1) * BLOCK)
    return model.sample(BLOCK, labels=labels, generator=generator).detach()


def asked(model: Any, data: Any, start: int, stop: int) -> Tensor | None:
    """Labels that a conditional model is asked for in samples start to stop - 1; else None.

    Args:
        model: A model with ``requires_labels``.
        data: Has ``conditions``, for a conditional model.
        start: First sample.
        stop: One past the last.
    """
    conditions = data.conditions(stop - start, start) if model.requires_labels else None
    return None if conditions is None else conditions.to(model.device)


def pixels_of(x: Tensor) -> Tensor:
    """Bytes of images, as a picture file has them; none larger than 128 pixels.

    Args:
        x: Images (N, C, H, W) in [-1, 1].

    Example:
        >>> pixels_of(torch.tensor([-1.0, 0.0, 1.0]).view(1, 1, 1, 3)).flatten()
        tensor([  0, 128, 255], dtype=torch.uint8)
    """
    return grey_levels(shrunk(x, SIDE)).clamp(0, 255).to(torch.uint8)


def shrunk(x: Tensor, side: int) -> Tensor:
    """Images (N, C, H, W) averaged down to at most so many pixels a side.

    Example:
        >>> shrunk(torch.tensor([[[[0.0, 2.0], [4.0, 6.0]]]]), 1)
        tensor([[[[3.]]]])
    """
    height, width = x.shape[2:]
    if max(height, width) <= side:
        return x
    return interpolate(x, (min(height, side), min(width, side)), mode="area")


def averaged(model: Any, weights: Weights) -> Weights:
    """Give the weights that samples come from: "raw" for a model that keeps no average."""
    return {"ema": "ema" if model.has_ema else "raw", "raw": "raw"}[weights]


@contextmanager
def sampling(model: Any, weights: Weights) -> Iterator[None]:
    """Sample from the weights asked for, leaving torch's generators as they were."""
    chosen = {"ema": nullcontext, "raw": model.raw_weights}[weights]
    devices = [model.device] if model.device.type in {"cuda"} else []
    with torch.random.fork_rng(devices=devices), torch.no_grad(), chosen():
        yield


def refuse(bad: Tensor, what: str) -> None:
    """Refuse a set of generated samples when some of them are bad.

    Args:
        bad: Which of the N are.
        what: What they are.

    Raises:
        MetricError: With the number of bad ones and the index of the first.

    Example:
        >>> refuse(torch.tensor([False, True]), "images are not finite")
        Traceback (most recent call last):
            ...
        lightning_gen.errors.MetricError: lightning_gen: error [6]: 1 of 2 images are ...
    """
    if bad.any():
        first = int(bad.nonzero()[0])
        raise MetricError(f"{int(bad.sum())} of {len(bad)} {what}; first index {first}")


class FeatureSet:
    """Features of images, and how close they lie to each other.

    Args:
        features: Features (N, d).
    """

    def __init__(self, features: Tensor) -> None:
        self.features = features
        self._near: dict[tuple[int, int], Neighbourhood] = {}

    def near(self, n: int, k: int) -> Neighbourhood:
        """Neighbourhood of the first n features."""
        if (n, k) not in self._near:
            self._near[n, k] = neighbourhood(self.features[:n], k)
        return self._near[n, k]


class Reference(FeatureSet):
    """Features of real images, and what metrics derive from them once.

    Args:
        features: Features (N, d).
        histogram: Counts (K,) of the predicted classes.
    """

    def __init__(self, features: Tensor, histogram: Tensor) -> None:
        super().__init__(features)
        self.histogram = histogram

    @cached_property
    def fid(self) -> FrechetDistance:
        """The Frechet distance that knows its real side."""
        metric = FrechetDistance(self.features.shape[1], **ALREADY_GATHERED)
        metric.to(self.features.device)
        metric.update(self.features, real=True)
        return metric


class Generated(FeatureSet):
    """What one pass over the samples of a model gives.

    Args:
        features: Features (N, d).
        logits: Class logits (N, K).
        pixels: Bytes (M, C, H, W) of the first M samples; none where no metric looks at them.
        labels: Labels (N,) that a conditional model was asked for; None for others.
    """

    def __init__(
        self, features: Tensor, logits: Tensor, pixels: Tensor, labels: Tensor | None
    ) -> None:
        super().__init__(features)
        self.logits, self.pixels, self.labels = logits, pixels, labels
