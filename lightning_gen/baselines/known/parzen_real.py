"""The Parzen log-likelihood of real images, as if a model had generated them."""

from typing import Any

import torch

from lightning_gen.functional.pixels import unit_range
from lightning_gen.metrics.parzen import parzen
from lightning_gen.metrics.parzen_evaluator import parzen_options
from lightning_gen.metrics.protocol import Protocol, Score
from lightning_gen.types import PositiveInt


class ParzenOfRealImages:
    r"""Mean log-density of test images under Gaussian windows over training images, in nats.

    .. math::
        \log p(x) = \log \frac1M \sum_{j=1}^M \mathcal{N}(x; y_j, \sigma^2 I)

    A perfect model of the data scores this and no more. The bandwidth is the best of ten for
    training images that are not among the windows; pixels are in [0, 1].

    References:
        Theis et al., A note on the evaluation of generative models, 2015, arXiv:1511.01844.
        Goodfellow et al., Generative Adversarial Networks, 2014, arXiv:1406.2661.

    Args:
        n_samples: M, images drawn from the training images that are not held out.
        held_out: The last so many training images are held out.
        n_valid: Images that the bandwidth is chosen by: the first of those held out.
        n_test: Test images, the first; None takes all.
    """

    def __init__(
        self,
        n_samples: PositiveInt = 10_000,
        held_out: PositiveInt = 10_000,
        n_valid: PositiveInt = 1_000,
        n_test: PositiveInt | None = None,
    ) -> None:
        self.n_samples, self.held_out = n_samples, held_out
        self.n_valid, self.n_test = n_valid, n_test

    def __call__(self, data: Any, *, seed: int, progress: bool) -> list[Score]:
        """Score the real images.

        Args:
            data: A data module of images that is set up.
            seed: Seed of the choice of training images.
            progress: Show a bar.

        Returns:
            ``parzen`` with its standard error over test images, and ``parzen_sigma``.
        """
        kept = data.size("train") - self.held_out
        n_test = min(self.n_test or data.size("test"), data.size("test"))
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randperm(kept, generator=generator)[: self.n_samples]
        samples, valid, test = (
            unit_range(data.real(split, chosen).image)
            for split, chosen in (
                ("train", rows),
                ("train", torch.arange(kept, kept + self.n_valid)),
                ("test", torch.arange(n_test)),
            )
        )
        found = parzen(samples, valid, test, progress=progress)
        how = Protocol(
            extractor="pixels",
            extractor_sha256="",
            resize="",
            n_real=n_test,
            n_fake=len(rows),
            split="test",
            weights="raw",
            seed=seed,
            data_fingerprint=data.fingerprint,
            options=parzen_options(self.n_valid),
        )
        return [
            Score("parzen", found.mean, how, ci=found.se),
            Score("parzen_sigma", found.sigma, how),
        ]
