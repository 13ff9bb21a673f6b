"""What a metric of images and their features is: a class in a file of its own.

Such a file holds the metric's mathematics as functions and, last, a :class:`FeatureMeasure` that
says which scores it gives, what their protocol adds, and how they come from real and generated
images. :class:`~lightning_gen.metrics.evaluator.FeatureEvaluator` lists these classes and names
them in its argument ``metrics``, and the catalogue of panels shows their scores.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from lightning_gen.metrics.protocol import Protocol

if TYPE_CHECKING:
    from lightning_gen.metrics.feature_pass import Generated
    from lightning_gen.metrics.real_side import RealSide

Measured = dict[str, Any]
# torchmetrics would gather over ranks once more, and hang where ranks differ in what they do.
ALREADY_GATHERED: dict[str, Any] = {"sync_on_compute": False}


@dataclass(frozen=True)
class Settings:
    """Those arguments of the evaluator that metrics read; it says what they mean."""

    k: int = 5
    n_pairs: int = 10_000
    n_train: int | None = 10_000
    kid_subsets: int = 100
    kid_subset_size: int = 1000
    splits: int = 10
    bins: int = 100
    ssim_classes: int | None = 10
    seed: int = 0
    allow_singular: bool = False


@dataclass(frozen=True)
class Subject:
    """What is evaluated.

    Args:
        how: How its features are made: extractor, counts, split.
        data: The data module.
        conditional: Whether the model is asked for classes of the data.
        knows_classes: Whether the extractor knows those classes.
    """

    how: Protocol
    data: Any
    conditional: bool = False
    knows_classes: bool = False


class FeatureMeasure(ABC):
    """One metric of images and their features.

    Args:
        settings: Arguments of the evaluator.

    Attributes:
        name: By which the evaluator's argument ``metrics`` knows it.
        scores: The scores it gives, in the order they are reported.
        needs_classes: Whether the extractor has to know the classes of the data.
        needs_pixels: Whether it looks at the generated images themselves.
    """

    name: ClassVar[str]
    scores: ClassVar[tuple[str, ...]]
    needs_classes: ClassVar[bool] = False
    needs_pixels: ClassVar[bool] = False

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def options(self) -> Mapping[str, Any]:
        """The metric's own parameters, for the protocol."""
        return {}

    def protocol(self, subject: Subject) -> Protocol:
        """Complete how the features are made with what this metric does with them.

        Args:
            subject: What is evaluated.
        """
        return replace(subject.how, options=dict(self.options()))

    @abstractmethod
    def compute(self, real: "RealSide", fake: "Generated") -> Measured:
        """Give the scores by name, and anything else for the watchdog.

        Half-widths are called ``<score>_ci``. Remarks by score stand under ``notes``, and uint8
        images (N, C, H, W) to look at, by name, under ``pictures``.

        Args:
            real: The real images.
            fake: The generated ones.

        Raises:
            MetricError: There is no such score; its message becomes the note of all of them.
        """


class PairMeasure(FeatureMeasure):
    """A metric of equally many real and generated samples, whose cost is quadratic."""

    def protocol(self, subject: Subject) -> Protocol:
        """Both sides are cut to the smaller one, and to ``n_pairs``."""
        n = min(subject.how.n_real, subject.how.n_fake, self.settings.n_pairs)
        return replace(super().protocol(subject), n_real=n, n_fake=n)

    def cut(self, real: "RealSide", fake: "Generated") -> int:
        """Number of samples of each side."""
        sides = real.reference.features, fake.features
        return min(*map(len, sides), self.settings.n_pairs)
