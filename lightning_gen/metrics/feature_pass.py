"""Who makes which samples, and features of real images that are made once."""

import hashlib
import logging
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor
from tqdm import tqdm

from lightning_gen.errors import MetricError
from lightning_gen.functional.distances import Neighbourhood, neighbourhood
from lightning_gen.metrics.fid import FrechetDistance
from lightning_gen.randomness import fold

log = logging.getLogger(__name__)

BLOCK = 64
# torchmetrics would gather over ranks once more, and hang where ranks differ in what they do.
ALREADY_GATHERED: dict[str, Any] = {"sync_on_compute": False}
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

    def agree(self, here: bool, device: torch.device) -> bool:
        """Whether something holds on every rank."""
        return bool(self.gather(torch.tensor([float(here)], device=device)).all())


def draw(model: Any, num_classes: int | None, seed: int, j: int) -> Tensor:
    """Draw generated samples 64 j to 64 j + 63 of a model.

    Args:
        model: A model with ``sample``.
        num_classes: Labels of a conditional model go round them, so every class has its share.
        seed: Seed of the latents.
        j: Block.
    """
    generator = torch.Generator().manual_seed(fold(seed, "fake", j))
    labels = None
    if model.requires_labels and num_classes:
        labels = torch.arange(j * BLOCK, (j + 1) * BLOCK, device=model.device) % num_classes
    return model.sample(BLOCK, labels=labels, generator=generator).detach()


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


class Reference:
    """Features of real images, and what metrics derive from them once.

    On disk it is a hash and the tensors it is of; a damaged file is noticed and made anew.

    Args:
        features: Features (N, d).
        histogram: Counts (K,) of the predicted classes.
    """

    def __init__(self, features: Tensor, histogram: Tensor) -> None:
        self.features, self.histogram = features, histogram
        self._near: dict[tuple[int, int], Neighbourhood] = {}

    @cached_property
    def fid(self) -> FrechetDistance:
        """The Frechet distance that knows its real side."""
        metric = FrechetDistance(self.features.shape[1], **ALREADY_GATHERED)
        metric.to(self.features.device)
        metric.update(self.features, real=True)
        return metric

    def near(self, n: int, k: int) -> Neighbourhood:
        """Neighbourhood of the first n features."""
        if (n, k) not in self._near:
            self._near[n, k] = neighbourhood(self.features[:n], k)
        return self._near[n, k]

    def save(self, path: Path) -> None:
        """Write atomically; a folder that cannot be written costs time only, so it is no error."""
        body = safetensors.torch.save(
            {"features": self.features.cpu(), "histogram": self.histogram.cpu()}
        )
        part = path.with_suffix(f".{os.getpid()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(hashlib.sha256(body).digest() + body)
            os.replace(part, path)
        except OSError as error:
            log.warning("real features are not cached in %s: %s", path, error)

    @classmethod
    def load(cls, path: Path, device: torch.device) -> Self | None:
        """Read what :meth:`save` wrote; None when there is no whole file."""
        try:
            content = path.read_bytes()
        except OSError:
            return None
        try:
            if hashlib.sha256(content[32:]).digest() != content[:32]:
                raise ValueError("its hash does not match")
            tensors = safetensors.torch.load(content[32:])
            return cls(tensors["features"].to(device), tensors["histogram"])
        except (ValueError, KeyError, SafetensorError) as error:
            log.warning("cached real features %s are damaged (%s) and made anew", path, error)
            return None
