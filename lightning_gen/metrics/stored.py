"""torchmetrics metrics that keep their samples: what the metrics of this package are made from."""

from typing import Any

from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class SampleMetric(Metric):
    """Keeps generated samples; ``compute`` is a function of all of them."""

    full_state_update = False
    fake: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("fake", [], dist_reduce_fx="cat")

    def update(self, fake: Tensor) -> None:
        """Add samples, logits or features, (N, ...)."""
        self.fake.append(fake)

    def samples(self) -> Tensor:
        """Give all samples so far."""
        return dim_zero_cat(self.fake)


class TwoSampleMetric(Metric):
    """Keeps features of real and of generated samples; ``compute`` compares them."""

    full_state_update = False
    real: list[Tensor]
    fake: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("real", [], dist_reduce_fx="cat")
        self.add_state("fake", [], dist_reduce_fx="cat")

    def update(self, features: Tensor, real: bool) -> None:
        """Add features (N, d) of one side."""
        (self.real if real else self.fake).append(features)

    def sides(self) -> tuple[Tensor, Tensor]:
        """Give all features so far, real and generated."""
        return dim_zero_cat(self.real), dim_zero_cat(self.fake)
