"""The Parzen log-likelihood of a model's samples, as papers of 2014 and 2015 report it.

References:
    Goodfellow et al., *Generative Adversarial Networks*, 2014 (arXiv:1406.2661), and its code
    ``parzen_ll.py``.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lightning_gen.errors import MetricError
from lightning_gen.functional.pixels import unit_range
from lightning_gen.metrics.evaluator import Measured, SampleEvaluator
from lightning_gen.metrics.feature_pass import refuse
from lightning_gen.metrics.parzen import parzen
from lightning_gen.metrics.protocol import Protocol
from lightning_gen.types import PositiveInt


class ParzenEvaluator(SampleEvaluator):
    """Mean log-likelihood of the test images under Gaussian windows over generated ones, in nats.

    The bandwidth is chosen on split "valid" among ten values; pixels are in [0, 1]. What stands
    after +- is the standard error over test images, not over models.

    Args:
        n_fake: Number of generated images; 10,000 in the literature, and more give more.
        n_valid: Images that the bandwidth is chosen by: the first of split "valid".
        seed: Seed of the generated images.
    """

    def __init__(
        self, n_fake: PositiveInt = 10_000, n_valid: PositiveInt = 1_000, seed: int = 0
    ) -> None:
        super().__init__("parzen", n_fake, "test", seed)
        self.n_valid = n_valid

    def protocol(self, data: Any, draws: Protocol) -> Protocol:
        """All test images, and the choice of the bandwidth."""
        options = parzen_options(self.n_valid)
        return replace(draws, extractor="pixels", n_real=data.size(draws.split), options=options)

    def truth(self, data: Any, split: str, device: torch.device) -> tuple[Tensor, Tensor]:
        """Validation and test images."""
        if "valid" not in data.splits or data.size("valid") < self.n_valid:
            has = data.size("valid") if "valid" in data.splits else 0
            raise MetricError(
                f"the bandwidth is chosen on {self.n_valid} validation images, the data have {has}",
                where="data.valid",
                fix="data.valid=10000",
            )
        valid = data.real("valid", torch.arange(self.n_valid), device=device).image
        return valid, data.real(split, device=device).image

    def values(self, x: Tensor, truth: Any, shown: bool) -> Measured:
        """Choose the bandwidth and score the test images."""
        flat = x.flatten(1).float()
        refuse(~flat.isfinite().all(1), "generated images are not finite")
        refuse((flat.abs() > 1.001).any(1), "generated images are outside of [-1, 1]")
        samples, valid, test = map(unit_range, (flat.clamp(-1, 1), *truth))
        found = parzen(samples, valid, test, progress=shown)
        return {"parzen": found.mean, "parzen_ci": found.se, "parzen_sigma": found.sigma}


def parzen_options(n_valid: int) -> dict[str, Any]:
    """What a Parzen score's protocol says beside its counts.

    Args:
        n_valid: Images that the bandwidth is chosen by.
    """
    return {
        "sigmas": "10 of logspace(-1, 0)",
        "valid": n_valid,
        "ci": "standard error over test points",
    }
