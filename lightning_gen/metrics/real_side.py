"""Real images of an evaluation, and whatever metrics make of them once."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_gen.metrics.extractors import Extractor, Features
from lightning_gen.metrics.feature_measure import Subject
from lightning_gen.metrics.feature_pass import BLOCK, Reference, Team, pixels_of
from lightning_gen.metrics.tensor_cache import TensorCache, Tensors
from lightning_gen.randomness import fold

PART = 1024  # images that are floats at a time


class RealSide:
    """The real images that generated ones are held against.

    Args:
        network: The extractor.
        subject: What is evaluated: the data, and how features are made of them.
        cache: Where what is made of them is kept.
        team: The processes of the evaluation.
        device: Where the extractor is.
        shown: Show bars.
    """

    def __init__(
        self,
        network: Extractor,
        subject: Subject,
        cache: TensorCache,
        team: Team,
        device: torch.device,
        shown: bool,
    ) -> None:
        self.network, self.subject = network, subject
        self.data, self.how = subject.data, subject.how
        self.cache, self.team, self.device, self.shown = cache, team, device, shown
        self.reference = self.features(self.how.split, self.how.n_real)

    def rows(self, split: str, n: int) -> Tensor:
        """Indices (n,) of the images that are taken from a split, the same in every evaluation."""
        shuffle = torch.Generator().manual_seed(fold("real", split))
        return torch.randperm(self.data.size(split), generator=shuffle)[:n]

    def facts(self, split: str, n: int) -> list[Any]:
        """What decides which real images are taken."""
        return [self.data.fingerprint, split, n, self.data.size(split)]

    def features(self, split: str, n: int) -> Reference:
        """Features of n real images of a split."""
        how, data = self.how, self.data
        facts: list[Any] = ["real features 1", how.extractor, how.extractor_sha256, how.resize]
        facts += [n, split, how.data_fingerprint]
        if (split, n) != (how.split, how.n_real):
            facts.append(data.size(split))

        def make() -> Tensors:
            index = self.rows(split, n)

            def extract(j: int) -> Features:
                rows = (torch.arange(BLOCK) + j * BLOCK).clamp(max=len(index) - 1)
                return self.network(data.real(split, index[rows], device=self.device).image)

            title = "real features" if self.shown else None
            features, logits = self.team.collect(n, extract, title)
            counts = logits.argmax(1).bincount(minlength=logits.shape[1])
            return {"features": features, "histogram": counts}

        def build(tensors: Tensors) -> Reference:
            return Reference(tensors["features"].to(self.device), tensors["histogram"].cpu())

        names = ["features", "histogram"]
        return self._once("features", facts, names, make, build)

    def made(
        self, kind: str, facts: Sequence[Any], names: Sequence[str], make: Callable[[], Tensors]
    ) -> Tensors:
        """Tensors that a metric makes of real images once; every rank has those of rank 0.

        Args:
            kind: Sub-folder of the cache.
            facts: All that decides what is made, first of all how: a word with a version.
            names: Names of the tensors.
            make: Makes them.
        """

        def agreed() -> Tensors:
            return {k: self.team.first(t.to(self.device)).cpu() for k, t in make().items()}

        return self._once(kind, facts, names, agreed, dict)

    def pixels(self, split: str, rows: Tensor) -> Tensor:
        """Bytes (n, C, H, W) of some real images, on the CPU.

        Args:
            split: Split.
            rows: Their indices (n,) in it.
        """
        parts = rows.split(PART)
        return torch.cat([pixels_of(self.data.real(split, part).image) for part in parts])

    def classes(self, split: str, rows: Tensor) -> Tensor:
        """Classes (n,) of some real images: their labels, else what the extractor sees."""
        labels, parts = [], rows.split(PART)
        for part in parts:
            image, label = self.data.real(split, part, device=self.device)
            labels.append(
                self.network(image).logits.argmax(1) if label is None or label.ndim > 1 else label
            )
        return torch.cat(labels).cpu()

    def _once(
        self,
        kind: str,
        facts: Sequence[Any],
        names: Sequence[str],
        make: Callable[[], Tensors],
        build: Callable[[Tensors], Any],
    ) -> Any:
        return self.cache.once(kind, facts, names, make, build, self.team, self.device)


def train_split(data: Any) -> str:
    """Name of the split that models are trained on."""
    return data.splits[0]


def train_count(data: Any, n_train: int | None) -> int:
    """Number of training images that a metric looks at."""
    size = data.size(train_split(data))
    return min(n_train or size, size)
