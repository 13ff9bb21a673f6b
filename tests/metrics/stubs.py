"""A data set, a model and an extractor small enough for arithmetic."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from lightning_gen.core import ImageBatch
from lightning_gen.metrics.evaluator import FeatureEvaluator
from lightning_gen.metrics.extractors import Extractor, Features
from lightning_gen.metrics.protocol import Evaluation


class TinyExtractor(Extractor):
    """A fixed random projection of 8 x 8 images to 6 features and 4 classes."""

    name, resize, sha256 = "tiny", "none", "00"

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.register_buffer("weight", torch.randn(64, 6, generator=generator))

    def forward(self, x: Tensor) -> Features:
        features = (x.flatten(1) @ self.weight).tanh()
        return Features(features, 20 * features[:, :4])


class Data:
    """Uniform noise images."""

    name, num_classes, fingerprint, mixture = "noise", 4, "f1", None
    splits: tuple[str, ...] = ("train", "test")
    shape = (1, 8, 8)

    def __init__(self, n: int = 500) -> None:
        self.images = torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(2)) * 2 - 1
        train = torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(3)) * 2 - 1
        self.of = {"train": train, "test": self.images}
        self.reads = 0

    def size(self, split: str) -> int:
        return len(self.of[split])

    def conditions(self, n: int, start: int = 0) -> Tensor:
        return torch.arange(start, start + n) % self.num_classes

    def real(self, split: str, indices: Tensor, device: object = "cpu") -> ImageBatch:
        self.reads += len(indices)
        return ImageBatch(self.of[split][indices])


class Model:
    """Uniform noise images, passed through ``change(images, labels)``."""

    device = torch.device("cpu")

    def __init__(
        self,
        change: Callable[[Tensor, Tensor | None], Tensor] = lambda x, _: x,
        *,
        shape: tuple[int, ...] = (1, 8, 8),
        requires_labels: bool = False,
        has_ema: bool = False,
    ) -> None:
        self.change, self.shape = change, shape
        self.requires_labels, self.has_ema, self.raw = requires_labels, has_ema, False

    @contextmanager
    def raw_weights(self) -> Iterator[None]:
        self.raw = True
        yield
        self.raw = False

    def sample(self, n: int, *, labels: Tensor | None, generator: torch.Generator) -> Tensor:
        torch.rand(3)  # as dropout would, from torch's own generator
        return self.change(torch.rand(n, *self.shape, generator=generator) * 2 - 1, labels)


def evaluator(folder, **kwargs):
    settings = {"n_fake": 300, "kid_subsets": 4, "kid_subset_size": 100, "cache": str(folder)}
    return FeatureEvaluator(TinyExtractor(), **(settings | kwargs))


def values(evaluation: Evaluation):
    return {score.name: score.value for score in evaluation.scores}


def shifted(x, _):
    return (x + 0.2).clamp(-1, 1)


class Threads:
    """Ranks as threads of this process, and a gather over them."""

    def __init__(self, world):
        self.barrier, self.slots = threading.Barrier(world, timeout=60), [None] * world

    def gather_of(self, rank):
        def gather(tensor):
            self.slots[rank] = tensor
            self.barrier.wait()
            whole = torch.cat(self.slots)
            self.barrier.wait()
            return whole

        return gather
