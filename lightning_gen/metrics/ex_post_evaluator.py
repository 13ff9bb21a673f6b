r"""Samples of a density that is fitted to the codes of an autoencoder after its training.

References:
    Ghosh, Sajjadi, Vergari, Black, Scholkopf, *From Variational to Deterministic Autoencoders*,
    2019 (arXiv:1903.12436), section 4: ten Gaussians on the codes of training images.
"""

import warnings
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

from lightning_gen.errors import MetricError
from lightning_gen.metrics.evaluator import FeatureEvaluator
from lightning_gen.metrics.extractors import Extractor
from lightning_gen.metrics.feature_pass import BLOCK, Generated, Team, refuse
from lightning_gen.metrics.protocol import Evaluation, Score
from lightning_gen.metrics.real_evaluator import count
from lightning_gen.networks.modes import evaluating
from lightning_gen.randomness import fold
from lightning_gen.types import PositiveInt


class Mixture(NamedTuple):
    r"""A mixture of K Gaussians, :math:`p(z) = \sum_k \pi_k \mathcal{N}(z; \mu_k, L_k L_k^T)`.

    Args:
        weights: pi (K,).
        means: mu (K, d).
        factors: L (K, d, d), lower triangular.
    """

    weights: Tensor
    means: Tensor
    factors: Tensor

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw n points (n, d) from the generator's device.

        Args:
            n: How many.
            generator: Source of randomness.

        Example:
            >>> mixture = Mixture(torch.ones(1), torch.full((1, 2), 7.0), torch.zeros(1, 2, 2))
            >>> mixture.sample(2, torch.Generator())
            tensor([[7., 7.],
                    [7., 7.]])
        """
        which = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        noise = torch.randn(n, self.means.shape[1], 1, generator=generator)
        return self.means[which] + (self.factors[which] @ noise).squeeze(2)


def fit(codes: Tensor, components: int, seed: int) -> Mixture:
    """Fit Gaussians of full covariance by expectation maximisation.

    Args:
        codes: Points (N, d).
        components: How many Gaussians.
        seed: Seed of where they start, by k-means.

    Returns:
        The mixture, on the CPU.

    Raises:
        MetricError: The codes are too few, or all the same.

    Example:
        >>> mixture = fit(torch.tensor([[0.0], [0.0], [9.0], [9.0]]), 2, seed=0)
        >>> mixture.means.flatten().sort().values
        tensor([0., 9.])
    """
    random_state = np.random.RandomState(fold(seed, "ex post") & 0xFFFFFFFF)
    mixture = GaussianMixture(components, random_state=random_state)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(codes.cpu().double().numpy())
    except ValueError as error:
        what = f"{components} Gaussians cannot be fitted to {len(codes)} codes: {error}"
        raise MetricError(what, where="metrics.components") from error
    factors = np.linalg.cholesky(mixture.covariances_)
    found = (mixture.weights_, mixture.means_, factors)
    return Mixture(*(torch.from_numpy(array).float() for array in found))


class Decoded:
    """Decoded draws from a mixture of codes: what is measured of a model as if it sampled.

    Args:
        model: A model with ``decode``.
        mixture: Of its codes.
        shape: Of a code.
        seed: Seed of the draws.
    """

    requires_labels = False

    def __init__(self, model: Any, mixture: Mixture, shape: torch.Size, seed: int) -> None:
        self.model, self.mixture, self.shape, self.seed = model, mixture, shape, seed

    def block(self, j: int) -> Tensor:
        """Images 64 j to 64 j + 63."""
        generator = torch.Generator().manual_seed(fold(self.seed, "fake", j))
        z = self.mixture.sample(BLOCK, generator).to(self.model.device)
        return self.model.decode(z.view(-1, *self.shape)).detach()


class ExPostEvaluator(FeatureEvaluator):
    """Feature scores of images that are decoded from a density of codes.

    After training, a mixture of Gaussians is fitted to the codes of training images, and what is
    decoded of its draws has the scores of :class:`FeatureEvaluator`. So an autoencoder that has no
    prior can be compared with models that sample, and one that has a prior with itself. The
    protocol's option ``sampler`` tells these scores from those of a prior.

    Args:
        components: Gaussians, of full covariance.
        n_fit: Training images, the first, whose codes they are fitted to; None takes all.
        features: Arguments of :class:`FeatureEvaluator`.
    """

    needs: ClassVar[str] = "encode"

    def __init__(
        self,
        components: PositiveInt = 10,
        n_fit: PositiveInt | None = 10_000,
        **features: Any,
    ) -> None:
        super().__init__(**features)
        self.components, self.n_fit = components, n_fit

    def evaluate(self, model: Any, data: Any, **asked: Any) -> Evaluation:
        """Score a model against data; every rank returns the same.

        Args:
            model: A model with ``encode`` and ``decode``.
            data: A data module that is set up.
            asked: As of :meth:`FeatureEvaluator.evaluate`.
        """
        found = super().evaluate(model, data, **asked)
        n_fit = count(data, data.splits[0], self.n_fit)
        sampler = {
            "sampler": f"{self.components} Gaussians on codes",
            "n_fit": n_fit,
        }

        def told(score: Score) -> Score:
            how = score.protocol
            return replace(score, protocol=replace(how, options={**how.options, **sampler}))

        return replace(found, scores=[told(score) for score in found.scores])

    def block(self, model: Any, data: Any, j: int) -> Tensor:
        """Decoded images 64 j to 64 j + 63."""
        return model.block(j)

    def _fake(
        self, network: Extractor, model: Any, data: Any, n: int, team: Team, shown: bool
    ) -> Generated:
        """Fit, and extract features of what is decoded."""
        lacks = [name for name in ("encode", "decode") if not hasattr(model, name)]
        if lacks:
            raise MetricError(f"{type(model).__name__} has no {' and no '.join(lacks)}")
        if model.requires_labels:
            raise MetricError("codes of a conditional model mean nothing without their classes")
        with evaluating(model):
            codes = self.codes(model, data, team, shown)
            mixture = fit(codes.flatten(1), self.components, self.seed)
            shared = Mixture(*(team.first(x.to(model.device)).cpu() for x in mixture))
            decoded = Decoded(model, shared, codes.shape[1:], self.seed)
            return super()._fake(network, decoded, data, n, team, shown)

    def codes(self, model: Any, data: Any, team: Team, shown: bool) -> Tensor:
        """Codes (N, ...) of training images, each rank a share of them."""
        split = data.splits[0]
        n = count(data, split, self.n_fit)

        def make(j: int) -> tuple[Tensor]:
            indices = (torch.arange(BLOCK) + j * BLOCK).clamp(max=n - 1)
            return (model.encode(data.real(split, indices, device=model.device).image),)

        (codes,) = team.collect(n, make, f"{split} images" if shown else None)
        if not codes.is_floating_point():
            raise MetricError("codes that are whole numbers have no density")
        refuse(~codes.flatten(1).isfinite().all(1), "codes are not finite")
        return codes
