"""The base of data of two domains: two streams side by side, aligned or not."""

from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple, cast

import torch
from torch import Tensor

from lightning_gen.core import GenerativeModule, PairBatch
from lightning_gen.data.module import DataModule, StreamBatch, StreamLoader
from lightning_gen.errors import DataError
from lightning_gen.randomness import fold


class PairStream(NamedTuple):
    """What a loader gives of each domain."""

    a: StreamBatch
    b: StreamBatch


class PairLoader:
    """Two streams side by side.

    Args:
        a: Stream of the first domain.
        b: Stream of the second, as long.
    """

    def __init__(self, a: StreamLoader, b: StreamLoader) -> None:
        self.a, self.b = a, b

    def __len__(self) -> int:
        return len(self.a)

    def __iter__(self) -> Iterator[PairStream]:
        return map(PairStream, self.a, self.b)


class PairModule(DataModule):
    """Images of two domains, "a" and "b".

    A subclass names its splits ``train_a``, ``train_b``, ``test_a``, ``test_b``, in this order.
    Where images are paired, number i of ``train_a`` belongs to number i of ``train_b``, and both
    are flipped and shifted alike; otherwise each domain has a random order of its own. An iteration
    takes a batch of each domain, and counts as one batch of images.

    Args:
        root: Folder of all data sets.
        cache: Folder for downloads.
        shape_a: (C, H, W) of an image of the first domain.
        family: Arguments of :class:`DataModule`; ``shape`` is that of the second domain.
    """

    gives: ClassVar[tuple[str, ...]] = ("pairs",)
    aligned: ClassVar[bool] = False

    def __init__(self, root: str, cache: str, *, shape_a: tuple[int, ...], **family: Any) -> None:
        super().__init__(root, cache, **family)
        if self.aligned and self.shift and shape_a[-2:] != self.shape[-2:]:
            what = f"images of {shape_a[-1]} and of {self.shape[-1]} pixels cannot be shifted alike"
            raise DataError(what, where="data.shift", fix="data.shift=0")
        self.shape_a = shape_a

    @property
    def domains(self) -> tuple[str, ...]:
        """The names of the two domains."""
        return ("a", "b")

    def domain(self, split: str, name: str, *, inside: bool = True) -> tuple[str, Tensor]:
        """The images of a domain have a split of their own."""
        if name not in self.domains:
            known = ", ".join(self.domains)
            raise DataError(f"{self.name} has no domain '{name}'", fix=f"one of: {known}")
        chosen = f"{split}_{name if inside else {'a': 'b', 'b': 'a'}[name]}"
        return chosen, torch.arange(self.size(chosen))

    def train_dataloader(self) -> PairLoader:  # type: ignore[override]
        """Both training streams, from the model's iteration to ``stop_iteration``."""
        seed = cast(GenerativeModule, cast(Any, self.trainer).lightning_module).seed
        split_a, split_b = self.splits[:2]
        other = seed if self.aligned else fold(seed, "domain b")
        return PairLoader(self.stream(split_a, seed), self.stream(split_b, other))

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int = 0) -> Any:
        """Make images of both streams."""
        if not isinstance(batch, PairStream):
            return batch
        (a, label_a), (b, label_b) = map(self.images, batch, self.splits[:2])
        return PairBatch(a, b, label_a, label_b)
