"""The domains of a data set as splits of their own, and a translator as a source of images."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from lightning_gen.core import ImageBatch
from lightning_gen.metrics.feature_pass import BLOCK


class Domains:
    """A data set in which domain d of split s is the split ``s_d``, and what is not in it ``s_-d``.

    Args:
        data: A data module with ``domains`` and ``domain``.
    """

    def __init__(self, data: Any) -> None:
        self.data = data
        self.name, self.fingerprint = data.name, data.fingerprint
        self.num_classes = data.num_classes
        self._rows: dict[str, tuple[str, Tensor]] = {}

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits of the data; those of the domains are made of them."""
        return self.data.splits

    def rows(self, split: str) -> tuple[str, Tensor]:
        """The split of the data that images of a domain lie in, and their indices (n,) in it."""
        if split not in self._rows:
            part, _, domain = split.partition("_")
            name = domain.removeprefix("-")
            self._rows[split] = self.data.domain(part, name, inside=name in {domain})
        return self._rows[split]

    def size(self, split: str) -> int:
        """Number of images of a domain."""
        return len(self.rows(split)[1])

    def real(
        self, split: str, indices: Tensor | None = None, device: torch.device | str = "cpu"
    ) -> ImageBatch:
        """Images of a domain, as :meth:`lightning_gen.data.module.DataModule.real` gives them."""
        inner, rows = self.rows(split)
        return self.data.real(inner, rows if indices is None else rows[indices], device)


class Translated:
    """Test images of all other domains, translated: what is measured of a model as if it sampled.

    Args:
        model: A model with ``translate``.
        data: The domains.
        part: Split of the data, ``test``.
        to: Domain they are translated to.
    """

    has_ema, requires_labels = False, False

    def __init__(self, model: Any, data: Domains, part: str, to: str) -> None:
        self.model, self.data, self.to = model, data, to
        self.split, self.truth = f"{part}_-{to}", f"{part}_{to}"
        self.device = model.device

        self._kept: tuple[int, ImageBatch, Tensor] | None = None

    def __len__(self) -> int:
        return self.data.size(self.split)

    @property
    def returns(self) -> bool:
        """Whether the model translates back to where images came from."""
        return set(self.data.data.domains) - {self.to} <= set(self.model.targets)

    @contextmanager
    def raw_weights(self) -> Iterator[None]:
        """Nothing here has an average."""
        yield

    def source(self, j: int) -> ImageBatch:
        """Images 64 j to 64 j + 63 of the source, the last one over and over beyond the end."""
        return self._both(j)[0]

    def block(self, j: int) -> Tensor:
        """The same images, translated."""
        return self._both(j)[1]

    def target(self, j: int) -> Tensor:
        """What these should be, where images are paired."""
        return self.data.real(self.truth, self._rows(j), self.device).image

    def back(self, j: int) -> Tensor:
        """The translated images, translated back to the domain of each."""
        (x, label), y = self._both(j)
        if (absent := f"not {self.to}") in self.model.targets:
            return self.model.translate(y, absent)
        others = [name for name in self.data.data.domains if name != self.to]
        if len(others) == 1 or label is None:
            return self.model.translate(y, others[0])
        back = torch.empty_like(x)
        for k in label.unique().tolist():
            back[label == k] = self.model.translate(y[label == k], self.data.data.domains[k])
        return back

    def _rows(self, j: int) -> Tensor:
        return (torch.arange(BLOCK) + j * BLOCK).clamp(max=len(self) - 1)

    def _both(self, j: int) -> tuple[ImageBatch, Tensor]:
        """Source and translation of a block, which several metrics ask for in a row."""
        if self._kept is None or self._kept[0] != j:
            x = self.data.real(self.split, self._rows(j), self.device)
            self._kept = j, x, self.model.translate(x.image, self.to)
        return self._kept[1:]
