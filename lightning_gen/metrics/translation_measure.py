"""What a metric of single translations is: values of each image, and their mean."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from torch import Tensor

from lightning_gen.metrics.domains import Translated
from lightning_gen.metrics.extractors import Extractor
from lightning_gen.metrics.feature_measure import Measured

Space = Literal["rgb", "y"]


@dataclass(frozen=True)
class Comparison:
    """Those arguments of the evaluator that these metrics read; it says what they mean."""

    space: Space = "rgb"
    border: int = 0
    unchanged: float = 0.05
    network: Extractor | None = field(default=None, compare=False)


class TranslationMeasure(ABC):
    """One metric of images x, their translations y and whatever they should be.

    Args:
        how: Arguments of the evaluator.

    Attributes:
        name: Key of :data:`lightning_gen.metrics.evaluator.SCORES`.
        scores: The scores it gives, in the order they are reported.
    """

    name: ClassVar[str]
    scores: ClassVar[tuple[str, ...]]

    def __init__(self, how: Comparison) -> None:
        self.how = how

    @property
    def extractor(self) -> str:
        """What it is measured by, in the names of the scores."""
        return "pixels"

    @abstractmethod
    def suits(self, source: Translated) -> bool:
        """Whether it means something in this direction."""

    def options(self) -> Mapping[str, Any]:
        """The metric's own parameters, for the protocol."""
        return {}

    @abstractmethod
    def values(self, source: Translated, j: int) -> Mapping[str, Tensor]:
        """Rows (64, ...) of block j, by name.

        Raises:
            MetricError: There is no such score.
        """

    def summary(self, rows: Mapping[str, Tensor]) -> Measured:
        """Scores of all rows (N, ...): means and their standard errors."""
        found: Measured = {}
        for name in self.scores:
            values = rows[name].double()
            error = float(values.std()) / len(values) ** 0.5 if len(values) > 1 else 0.0
            found |= {name: float(values.mean()), f"{name}_ci": error}
        return found


class CycleMeasure(TranslationMeasure):
    """How far an image is from itself after going there and back, where the model goes back."""

    name, scores = "cycle", ("cycle_l1",)

    def suits(self, source: Translated) -> bool:
        """There has to be a way back."""
        return source.returns

    def options(self) -> Mapping[str, Any]:
        """The distance."""
        return {"error": "mean over pixels of [-1, 1]"}

    def values(self, source: Translated, j: int) -> Mapping[str, Tensor]:
        """Distance to the source."""
        return {"cycle_l1": distance(source.back(j), source.source(j).image)}


class IdentityMeasure(TranslationMeasure):
    """Share of images that come out nearly as they went in."""

    name, scores = "identity", ("identity_rate",)

    def suits(self, source: Translated) -> bool:
        """Both have to be of one shape."""
        return source.block(0).shape == source.source(0).image.shape

    def options(self) -> Mapping[str, Any]:
        """The mean difference below which they are nearly the same."""
        return {"unchanged": self.how.unchanged}

    def values(self, source: Translated, j: int) -> Mapping[str, Tensor]:
        """Which are."""
        changed = distance(source.block(j), source.source(j).image)
        return {"identity_rate": (changed < self.how.unchanged).float()}


class KeptMeasure(TranslationMeasure):
    """Share of labelled images that the extractor still sees as what they were."""

    name, scores = "kept", ("translated_accuracy",)

    @property
    def extractor(self) -> str:
        """The classifier."""
        return self.how.network.name if self.how.network else ""

    def suits(self, source: Translated) -> bool:
        """The classes are the extractor's, and are not what is translated."""
        network, data = self.how.network, source.data.data
        if network is None or not network.knows_classes or "pairs" not in data.gives:
            return False
        known = network(source.block(0)).logits.shape[1] == data.num_classes
        return known and source.source(0).label is not None

    def values(self, source: Translated, j: int) -> Mapping[str, Tensor]:
        """Which are still of their class."""
        assert self.how.network is not None
        seen, label = self.how.network(source.block(j)).logits.argmax(1), source.source(j).label
        assert label is not None
        return {"translated_accuracy": (seen == label).float()}


def distance(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute difference (N,) of images (N, C, H, W) in [-1, 1]."""
    return (x - y).abs().flatten(1).mean(1)
