"""Evaluators: one pass over the samples of a model, every metric, and each score's protocol."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import platformdirs
import torch
from torch import Tensor

from lightning_gen.errors import MetricError
from lightning_gen.functional.distances import neighbourhood
from lightning_gen.metrics.diversity import QUANTILE, diversity
from lightning_gen.metrics.extractors import Extractor, Features, Inception2015, MNISTClassifier
from lightning_gen.metrics.feature_pass import (
    ALREADY_GATHERED,
    BLOCK,
    Gather,
    Reference,
    Team,
    Weights,
    averaged,
    draw,
    refuse,
    sampling,
)
from lightning_gen.metrics.inception_score import ClassifierScore
from lightning_gen.metrics.kid import KernelDistance
from lightning_gen.metrics.mixture import mixture_modes
from lightning_gen.metrics.modes import MIN_SHARE, SURE, modes
from lightning_gen.metrics.prdc import prdc
from lightning_gen.metrics.protocol import Evaluation, Protocol, Score
from lightning_gen.randomness import fold
from lightning_gen.types import PositiveInt

Source = Extractor | type[MNISTClassifier] | type[Inception2015]
Measured = dict[str, Any]
Measure = Callable[[], Measured]

# The scores of each metric, in the order they are reported.
SCORES: Mapping[str, tuple[str, ...]] = {
    "fid": ("fid",),
    "kid": ("kid",),
    "inception_score": ("inception_score",),
    "prdc": ("precision", "recall", "density", "coverage"),
    "modes": ("modes", "class_kl", "mean_confidence"),
    "diversity": ("pairwise_ratio", "duplicate_rate"),
    "mixture": ("modes", "high_quality", "reverse_kl"),
    "parzen": ("parzen",),
}
FEATURE_METRICS = frozenset(SCORES) - {"mixture", "parzen"}


def measure(plan: Mapping[str, tuple[Protocol, Measure]]) -> Evaluation:
    """Compute metrics; a refused one becomes scores without values, whose note says why.

    Args:
        plan: For each metric its protocol, and what gives its values: its scores by name, their
            half-widths as ``<name>_ci``, and anything else for the watchdog.
    """
    scores: list[Score] = []
    extras: Measured = {}
    for metric, (protocol, compute) in plan.items():
        try:
            values, note = compute(), None
        except MetricError as error:
            parts = [error.what, error.where and f"where: {error.where}", error.fix]
            values, note = {}, "; ".join(str(part) for part in parts if part)
        for name in SCORES[metric]:
            ci = values.get(f"{name}_ci")
            scores.append(Score(name, values.get(name), protocol, ci=ci, note=note))
        extras |= values
    return Evaluation(scores, extras)


def refusing(error: MetricError) -> Measure:
    """A measure that is refused."""

    def compute() -> Measured:
        raise error

    return compute


class FeatureEvaluator:
    """Scores of images from one pass of a feature extractor.

    Metrics are files of this package: ``fid``, ``kid``, ``inception_score``, ``prdc`` (precision,
    recall, density, coverage), ``modes`` (modes found, KL of the class histogram to uniform, mean
    confidence) and ``diversity`` (pairwise distance ratio, duplicate rate). What cannot be computed
    is a score without a value, whose note says why; nothing that a model generates raises.

    Features of the real images are cached on disk, keyed by everything they depend on.

    Args:
        extractor: Network whose features are compared, or one of your own.
        n_fake: Number of generated images.
        n_real: Number of real images; None takes the whole split.
        split: Split of the real images.
        metrics: Which metrics; None is all that mean something for the extractor.
        k: Neighbours that the balls of precision and recall reach to.
        n_pairs: Most samples of each side for ``prdc`` and ``diversity``; their cost is quadratic,
            and both sides are cut to equal numbers.
        kid_subsets: Random subsets of KID.
        kid_subset_size: Samples in each.
        splits: Splits of the inception score.
        weights_path: Weights file of the extractor; None is the shipped one of ``mnist``, and looks
            that of ``inception`` up or downloads it.
        cache: Folder of the cached real features; None is the user's cache folder.
        seed: Seed of the generated images and of the metrics' random choices.
    """

    def __init__(
        self,
        extractor: Literal["mnist", "inception"] | Extractor = "mnist",
        n_fake: PositiveInt = 10_000,
        n_real: PositiveInt | None = None,
        split: str = "test",
        metrics: Sequence[Literal["fid", "kid", "inception_score", "prdc", "modes", "diversity"]]
        | None = None,
        k: PositiveInt = 5,
        n_pairs: PositiveInt = 10_000,
        kid_subsets: PositiveInt = 100,
        kid_subset_size: PositiveInt = 1000,
        splits: PositiveInt = 10,
        weights_path: str | None = None,
        cache: str | None = None,
        seed: int = 0,
    ) -> None:
        known: Mapping[Any, Source] = {"mnist": MNISTClassifier, "inception": Inception2015}
        self._source: Source = extractor if isinstance(extractor, Extractor) else known[extractor]
        self._network: Extractor | None = None
        self._failure: MetricError | None = None
        self._references: dict[str, Reference] = {}
        all_of_them = FEATURE_METRICS if self._source.knows_classes else FEATURE_METRICS - {"modes"}
        self.metrics = [m for m in SCORES if m in (metrics or all_of_them)]
        self.n_fake, self.n_real, self.split = n_fake, n_real, split
        self.k, self.n_pairs, self.splits = k, n_pairs, splits
        self.kid_subsets, self.kid_subset_size = kid_subsets, kid_subset_size
        self.weights_path, self.seed = weights_path, seed
        self.cache = Path(cache) if cache else platformdirs.user_cache_path("lightning_gen")

    def evaluate(
        self,
        model: Any,
        data: Any,
        *,
        n_fake: int | None = None,
        split: str | None = None,
        weights: Weights = "ema",
        gather: Gather | None = None,
        rank: int = 0,
        world: int = 1,
        progress: bool = False,
    ) -> Evaluation:
        """Score a model against data; every rank returns the same.

        Args:
            model: A model with ``sample``.
            data: A data module that is set up.
            n_fake: Number of generated images, if not the evaluator's.
            split: Split of the real images, if not the evaluator's.
            weights: Averaged weights where the model has them, or raw ones.
            gather: Concatenates a tensor over ranks; None for one process.
            rank: This process.
            world: Number of processes.
            progress: Show bars, on rank 0.
        """
        team, shown = Team(gather, rank, world), progress and rank == 0
        split, weights = split or self.split, averaged(model, weights)
        protocol = Protocol(
            extractor=self._source.name,
            extractor_sha256="",
            resize=self._source.resize,
            n_real=min(self.n_real or data.size(split), data.size(split)),
            n_fake=n_fake or self.n_fake,
            split=split,
            weights=weights,
            seed=self.seed,
            data_fingerprint=data.fingerprint,
        )
        try:
            network = self._load(model.device, team)
            protocol = replace(protocol, extractor_sha256=network.sha256)
            real = self._real(network, data, protocol, model.device, team, shown)
            with sampling(model, weights):
                fake = self._fake(network, model, data, protocol.n_fake, team, shown)
        except MetricError as error:
            return measure({m: (protocol, refusing(error)) for m in self.metrics})
        return measure(self._plan(real, fake, protocol))

    def _load(self, device: torch.device, team: Team) -> Extractor:
        """Load the network on every rank or on none; what failed once is not tried again."""
        if self._network is None and self._failure is None:
            try:
                given, weights = self._source, self.weights_path
                self._network = given if isinstance(given, Extractor) else given(weights)
            except MetricError as error:
                self._failure = error
        if not team.agree(self._network is not None, device) or self._network is None:
            raise self._failure or MetricError("another process has no weights of the extractor")
        return self._network.to(device)

    def _real(
        self,
        network: Extractor,
        data: Any,
        protocol: Protocol,
        device: torch.device,
        team: Team,
        shown: bool,
    ) -> Reference:
        """Find the real features in memory, on disk, or make them."""
        names = ("extractor", "extractor_sha256", "resize", "n_real", "split", "data_fingerprint")
        facts = ["real features 1", *(getattr(protocol, name) for name in names)]
        key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
        path = self.cache / "features" / f"{key}.bin"
        found = self._references.get(key) or Reference.load(path, device)
        if not team.agree(found is not None, device) or found is None:
            shuffle = torch.Generator().manual_seed(fold("real", protocol.split))
            index = torch.randperm(data.size(protocol.split), generator=shuffle)[: protocol.n_real]
            last = len(index) - 1

            def make(j: int) -> Features:
                rows = (torch.arange(BLOCK) + j * BLOCK).clamp(max=last)
                return network(data.real(protocol.split, index[rows], device=device).image)

            title = "real features" if shown else None
            features, logits = team.collect(protocol.n_real, make, title)
            counts = logits.argmax(1).bincount(minlength=logits.shape[1])
            found = Reference(features, counts.cpu())
            if team.rank == 0:
                found.save(path)
        return self._references.setdefault(key, found)

    def _fake(
        self, network: Extractor, model: Any, data: Any, n: int, team: Team, shown: bool
    ) -> Features:
        """Generate images, refuse bad ones, and extract; bad ones never reach the network."""

        def make(j: int) -> tuple[Tensor, ...]:
            x = draw(model, data.num_classes, self.seed, j)
            flat = x.flatten(1)
            finite = flat.isfinite().all(1)
            inside = (flat.abs() <= 1.001).all(1)  # tanh in bf16 rounds to 1, not beyond
            x = torch.where((finite & inside).view(-1, 1, 1, 1), x, 0)
            return *network(x), finite.float(), (inside | ~finite).float()

        title = "generated features" if shown else None
        features, logits, finite, inside = team.collect(n, make, title)
        refuse(finite == 0, "generated images are not finite")
        refuse(inside == 0, "generated images are outside of [-1, 1]")
        return Features(features, logits)

    def _plan(
        self, real: Reference, fake: Features, protocol: Protocol
    ) -> dict[str, tuple[Protocol, Measure]]:
        """Bind the metrics asked for to the features, each with its own protocol."""
        n = min(len(real.features), len(fake.features), self.n_pairs)
        near = cache(partial(neighbourhood, fake.features[:n], self.k))
        pairs = replace(protocol, n_real=n, n_fake=n, options={"k": self.k})
        subsets = {"subsets": self.kid_subsets, "subset_size": self.kid_subset_size}

        def fid() -> Measured:
            real.fid.reset()
            real.fid.update(fake.features, real=False)
            return {"fid": float(real.fid.compute())}

        def kid() -> Measured:
            metric = KernelDistance(**subsets, seed=self.seed, **ALREADY_GATHERED)
            metric.update(real.features, real=True)
            metric.update(fake.features, real=False)
            mean, deviation = metric.compute()
            return {"kid": float(mean), "kid_ci": float(deviation)}

        def inception_score() -> Measured:
            metric = ClassifierScore(self.splits, self.seed, **ALREADY_GATHERED)
            metric.update(fake.logits)
            mean, deviation = metric.compute()
            return {"inception_score": float(mean), "inception_score_ci": float(deviation)}

        def balls() -> Measured:
            radii = {"real_radius": real.near(n, self.k).radius, "fake_radius": near().radius}
            return prdc(real.features[:n], fake.features[:n], self.k, **radii)._asdict()

        def classes() -> Measured:
            if not self._source.knows_classes:
                raise MetricError(f"{self._source.name} does not know the classes of the data")
            seen = modes(fake.logits, real.histogram)
            return class_facts(seen.found, seen.histogram) | {
                "class_kl": seen.kl,
                "class_js": seen.js,
                "mean_confidence": seen.confidence,
            }

        plan = {
            "fid": (protocol, fid),
            "kid": (replace(protocol, options={**subsets, "ci": "std over subsets"}), kid),
            "inception_score": (
                replace(protocol, options={"splits": self.splits, "ci": "std over splits"}),
                inception_score,
            ),
            "prdc": (pairs, balls),
            "modes": (replace(protocol, options={"sure": SURE, "min_share": MIN_SHARE}), classes),
            "diversity": (
                replace(pairs, options={"quantile": QUANTILE}),
                lambda: diversity(real.near(n, self.k), near())._asdict(),
            ),
        }
        return {metric: plan[metric] for metric in self.metrics}


class SampleEvaluator(ABC):
    """Scores of samples as they are, without a network; a subclass says what they are held against.

    Args:
        metric: Key of :data:`SCORES`.
        n_fake: Number of generated samples.
        split: Split of the real samples; empty where the truth is known.
        seed: Seed of the latents.
    """

    def __init__(self, metric: str, n_fake: int, split: str, seed: int) -> None:
        self.metric, self.n_fake, self.split, self.seed = metric, n_fake, split, seed

    @abstractmethod
    def protocol(self, data: Any, draws: Protocol) -> Protocol:
        """Complete how the samples are drawn with what they are measured by."""

    @abstractmethod
    def truth(self, data: Any, split: str, device: torch.device) -> Any:
        """What the samples are compared with.

        Raises:
            MetricError: The data do not have it; nothing is generated then.
        """

    @abstractmethod
    def values(self, x: Tensor, truth: Any, shown: bool) -> Measured:
        """Measure samples (N, ...) against the truth.

        Raises:
            MetricError: The samples are of no use.
        """

    def evaluate(
        self,
        model: Any,
        data: Any,
        *,
        n_fake: int | None = None,
        split: str | None = None,
        weights: Weights = "ema",
        gather: Gather | None = None,
        rank: int = 0,
        world: int = 1,
        progress: bool = False,
    ) -> Evaluation:
        """Score a model against data; every rank returns the same.

        Args:
            model: A model with ``sample``.
            data: A data module that is set up.
            n_fake: Number of generated samples, if not the evaluator's.
            split: Split of the real samples, if not the evaluator's.
            weights: Averaged weights where the model has them, or raw ones.
            gather: Concatenates a tensor over ranks; None for one process.
            rank: This process.
            world: Number of processes.
            progress: Show bars, on rank 0.
        """
        weights, shown = averaged(model, weights), progress and rank == 0
        draws = Protocol(
            extractor=data.name,
            extractor_sha256="",
            resize="",
            n_real=0,
            n_fake=n_fake or self.n_fake,
            split=self.split and (split or self.split),
            weights=weights,
            seed=self.seed,
            data_fingerprint=data.fingerprint,
        )
        protocol = self.protocol(data, draws)
        try:
            truth = self.truth(data, protocol.split, model.device)
        except MetricError as error:
            return measure({self.metric: (protocol, refusing(error))})
        title = "generated samples" if shown else None
        with sampling(model, weights):
            (x,) = Team(gather, rank, world).collect(
                protocol.n_fake, lambda j: (draw(model, data.num_classes, self.seed, j),), title
            )
        return measure({self.metric: (protocol, partial(self.values, x, truth, shown))})


class MixtureEvaluator(SampleEvaluator):
    """Modes found, high-quality share and reverse KL of a model of points, for a known mixture.

    Args:
        n_fake: Number of generated points; 2500 in VEEGAN and PacGAN.
        seed: Seed of their latents.
    """

    def __init__(self, n_fake: PositiveInt = 2500, seed: int = 0) -> None:
        super().__init__("mixture", n_fake, "", seed)

    def protocol(self, data: Any, draws: Protocol) -> Protocol:
        """The truth is known, so there are no real samples."""
        return replace(draws, options={"radius": "3 std"})

    def truth(self, data: Any, split: str, device: torch.device) -> Any:
        """Centres (K, d) and standard deviation of the mixture."""
        return data.mixture

    def values(self, x: Tensor, truth: Any, shown: bool) -> Measured:
        """Count modes among the points (N, d)."""
        refuse(~x.isfinite().all(1), "generated points are not finite")
        seen = mixture_modes(x, *truth)
        return class_facts(seen.found, seen.histogram) | {
            "high_quality": seen.high_quality,
            "reverse_kl": seen.kl,
            "class_kl": seen.kl,
        }


def class_facts(found: int, histogram: Tensor) -> Measured:
    """What both evaluators tell of classes or modes."""
    counts = histogram.tolist()
    return {
        "modes": found,
        "modes_found": found,
        "n_classes": len(counts),
        "class_histogram": counts,
    }
