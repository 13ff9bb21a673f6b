"""Evaluators: one pass over the samples of a model, every metric, and each score's protocol."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import platformdirs
import torch
from torch import Tensor

from lightning_gen.errors import MetricError
from lightning_gen.functional.divergences import js_divergence
from lightning_gen.metrics.birthday import BirthdayMeasure
from lightning_gen.metrics.class_diversity import ClassDiversityMeasure
from lightning_gen.metrics.diversity import DiversityMeasure
from lightning_gen.metrics.extractors import Extractor, Inception2015, MNISTClassifier
from lightning_gen.metrics.feature_measure import FeatureMeasure, Measured, Settings, Subject
from lightning_gen.metrics.feature_pass import (
    BLOCK,
    Gather,
    Generated,
    Team,
    Weights,
    asked,
    averaged,
    draw,
    pixels_of,
    refuse,
    sampling,
)
from lightning_gen.metrics.fid import FIDMeasure
from lightning_gen.metrics.inception_score import InceptionScoreMeasure
from lightning_gen.metrics.kid import KIDMeasure
from lightning_gen.metrics.memorisation import MemorisationMeasure
from lightning_gen.metrics.mixture import mixture_modes
from lightning_gen.metrics.modes import ModesMeasure, class_facts, entropy
from lightning_gen.metrics.ndb import NDBMeasure
from lightning_gen.metrics.prdc import PRDCMeasure
from lightning_gen.metrics.protocol import Evaluation, Protocol, Score
from lightning_gen.metrics.real_side import RealSide
from lightning_gen.metrics.tensor_cache import TensorCache
from lightning_gen.types import PositiveInt

Source = Extractor | type[MNISTClassifier] | type[Inception2015]
Measure = Callable[[], Measured]

# The metrics of FeatureEvaluator, in the order they are reported.
FEATURE_METRICS: Mapping[str, type[FeatureMeasure]] = {
    kind.name: kind
    for kind in (
        FIDMeasure,
        KIDMeasure,
        InceptionScoreMeasure,
        PRDCMeasure,
        ModesMeasure,
        DiversityMeasure,
        BirthdayMeasure,
        MemorisationMeasure,
        NDBMeasure,
        ClassDiversityMeasure,
    )
}
# The scores of each metric, in the order they are reported.
SCORES: Mapping[str, tuple[str, ...]] = {
    **{name: kind.scores for name, kind in FEATURE_METRICS.items()},
    "mixture": ("modes", "high_quality", "reverse_kl", "class_js", "class_entropy"),
    "parzen": ("parzen",),
    "code": ("code_error", "code_error_one_to_one"),
    "probe": ("nearest_neighbour_error", "linear_probe_error"),
    "paired": ("psnr", "ssim", "l1"),
    "cycle": ("cycle_l1",),
    "identity": ("identity_rate",),
    "kept": ("translated_accuracy",),
    "label_map": ("pixel_accuracy", "class_accuracy", "mean_iou"),
    "adaptation": ("source_only_accuracy", "adapted_accuracy", "target_accuracy"),
    "likelihood": ("nll",),
    "bits": ("bits_per_dim",),
    "tokens": ("nats_per_token", "perplexity"),
    "text": ("bits_per_byte",),
    "active_units": ("active_units",),
    "reconstruction": ("reconstruction_error", "reconstruction_psnr"),
    "denoising": ("denoising_psnr", "noisy_psnr"),
    "anomaly": ("anomaly_auc", "anomaly_precision"),
}


def how_drawn(model: Any) -> dict[str, Any]:
    """How a model draws its samples, for the protocol: its settings, and ``nfe`` where it says it.

    Args:
        model: Its ``sampling`` names the settings; ``nfe`` is the number of times that its network
            is evaluated for a sample.
    """
    names = (*getattr(model, "sampling", ()), *(("nfe",) if hasattr(model, "nfe") else ()))
    return {name: getattr(model, name) for name in names}


def measure(
    plan: Mapping[str, tuple[Protocol, Measure]], drawn: Mapping[str, Any] | None = None
) -> Evaluation:
    """Compute metrics; a refused one becomes scores without values, whose note says why.

    Args:
        plan: For each metric its protocol, and what gives its values: its scores by name, their
            half-widths as ``<name>_ci``, remarks by score as ``notes``, images to look at by name
            as ``pictures``, and anything else for the watchdog.
        drawn: How samples are drawn, which is added to the options of all protocols.
    """
    scores: list[Score] = []
    extras: Measured = {}
    pictures: Measured = {}
    for metric, (protocol, compute) in plan.items():
        protocol = replace(protocol, options={**protocol.options, **(drawn or {})})
        try:
            values, note = compute(), None
        except MetricError as error:
            parts = [error.what, error.where and f"where: {error.where}", error.fix]
            values, note = {}, "; ".join(str(part) for part in parts if part)
        notes = {**values.pop("notes", {}), **_not_finite(values, SCORES[metric])}
        pictures |= values.pop("pictures", {})
        for name in SCORES[metric]:
            value, ci = values.get(name), values.get(f"{name}_ci")
            scores.append(Score(name, value, protocol, ci=ci, note=notes.get(name, note)))
        extras |= values
    return Evaluation(scores, extras, pictures)


def _not_finite(values: Measured, names: Sequence[str]) -> dict[str, str]:
    """Take scores that are no numbers out of the values; give each the remark that says so.

    The PSNR of equal images is infinite, and stays.
    """
    known = {name: values[name] for name in names if values.get(name) is not None}
    equal = {name for name, value in known.items() if "psnr" in name and value == math.inf}
    bad = [name for name in known.keys() - equal if not math.isfinite(known[name])]
    why = "features or logits are too large to compute on"
    return {name: f"it is {values.pop(name)}: {why}" for name in bad}


def refusing(error: MetricError) -> Measure:
    """A measure that is refused."""

    def compute() -> Measured:
        raise error

    return compute


class FeatureEvaluator:
    """Scores of images from one pass of a feature extractor.

    Metrics are files of this package: ``fid``, ``kid``, ``inception_score``, ``prdc`` (precision,
    recall, density, coverage), ``modes`` (modes found, the class histogram's KL to uniform, its JS
    to the real one and its entropy, mean confidence), ``diversity`` (pairwise distance ratio,
    duplicate rate), ``birthday`` (size of a batch that has a duplicate, and the support that this
    means), ``memorisation`` (distance to training images), ``ndb`` (different bins, of pixels) and
    ``class_diversity`` (MS-SSIM within a class). What cannot be computed is a score without a
    value, whose note says why; nothing that a model generates raises.

    What metrics make of real images is cached on disk, keyed by everything it depends on. The
    defaults of ``n_train`` and ``ssim_classes`` are for evaluations while a model trains; the
    choice ``metrics=diagnostics`` of ``lightning-gen evaluate`` takes all images and classes.

    Args:
        extractor: Network whose features are compared, or one of your own.
        n_fake: Number of generated images.
        n_real: Number of real images; None takes the whole split.
        split: Split of the real images.
        metrics: Which metrics; None is all that mean something for the extractor.
        k: Neighbours that the balls of precision and recall reach to.
        n_pairs: Most samples of each side for ``prdc``, ``diversity`` and ``birthday``, whose cost
            is quadratic, and both sides are cut to equal numbers; and most generated samples for
            ``memorisation``, ``ndb`` and ``class_diversity``.
        n_train: Training images that ``memorisation``, ``ndb`` and ``class_diversity`` look at;
            None takes all.
        kid_subsets: Random subsets of KID.
        kid_subset_size: Samples in each.
        splits: Splits of the inception score.
        bins: Cells of ``ndb``; fewer where a cell would have fewer than 100 training images.
        ssim_classes: Most classes that ``class_diversity`` looks at, spread evenly over all; None
            looks at all.
        weights_path: Weights file of the extractor; None is the shipped one of ``mnist``, and looks
            that of ``inception`` up or downloads it.
        cache: Folder of what is made of real images; None is the user's cache folder.
        seed: Seed of the generated images and of the metrics' random choices.
        allow_singular: Give a FID also of fewer samples than features, as papers on translation do.
    """

    needs: ClassVar[str] = "sample"

    def __init__(
        self,
        extractor: Literal["mnist", "inception"] | Extractor = "mnist",
        n_fake: PositiveInt = 10_000,
        n_real: PositiveInt | None = None,
        split: str = "test",
        metrics: Sequence[
            Literal[
                "fid",
                "kid",
                "inception_score",
                "prdc",
                "modes",
                "diversity",
                "birthday",
                "memorisation",
                "ndb",
                "class_diversity",
            ]
        ]
        | None = None,
        k: PositiveInt = 5,
        n_pairs: PositiveInt = 10_000,
        n_train: PositiveInt | None = 10_000,
        kid_subsets: PositiveInt = 100,
        kid_subset_size: PositiveInt = 1000,
        splits: PositiveInt = 10,
        bins: PositiveInt = 100,
        ssim_classes: PositiveInt | None = 10,
        weights_path: str | None = None,
        cache: str | None = None,
        seed: int = 0,
        allow_singular: bool = False,
    ) -> None:
        known: Mapping[Any, Source] = {"mnist": MNISTClassifier, "inception": Inception2015}
        self._source: Source = extractor if isinstance(extractor, Extractor) else known[extractor]
        self._network: Extractor | None = None
        self._failure: MetricError | None = None
        settings = Settings(
            k=k,
            n_pairs=n_pairs,
            n_train=n_train,
            kid_subsets=kid_subsets,
            kid_subset_size=kid_subset_size,
            splits=splits,
            bins=bins,
            ssim_classes=ssim_classes,
            seed=seed,
            allow_singular=allow_singular,
        )
        able = [
            name
            for name, kind in FEATURE_METRICS.items()
            if self._source.knows_classes or not kind.needs_classes
        ]
        chosen = metrics or able
        self.metrics = [kind(settings) for name, kind in FEATURE_METRICS.items() if name in chosen]
        self.n_fake, self.n_real, self.split = n_fake, n_real, split
        self.n_pairs, self.weights_path, self.seed = n_pairs, weights_path, seed
        folder = Path(cache) if cache else platformdirs.user_cache_path("lightning_gen")
        self.cache = TensorCache(folder)

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
        subject = Subject(
            protocol,
            data,
            conditional=model.requires_labels and data.num_classes is not None,
            knows_classes=self._source.knows_classes,
        )
        try:
            network = self.network(model.device, team)
            subject = replace(subject, how=replace(protocol, extractor_sha256=network.sha256))
            real = RealSide(network, subject, self.cache, team, model.device, shown)
            with sampling(model, weights):
                fake = self._fake(network, model, data, protocol.n_fake, team, shown)
        except MetricError as error:
            refused = refusing(error)
            plan = {m.name: (m.protocol(subject), refused) for m in self.metrics}
            return measure(plan, how_drawn(model))
        return measure(
            {m.name: (m.protocol(subject), partial(m.compute, real, fake)) for m in self.metrics},
            how_drawn(model),
        )

    def block(self, model: Any, data: Any, j: int) -> Tensor:
        """Generated images 64 j to 64 j + 63."""
        return draw(model, data, self.seed, j)

    def network(self, device: torch.device, team: Team) -> Extractor:
        """The network, loaded on every rank or on none; what failed once is not tried again.

        Raises:
            MetricError: A rank cannot load it.
        """
        if self._network is None and self._failure is None:
            try:
                given, weights = self._source, self.weights_path
                self._network = given if isinstance(given, Extractor) else given(weights)
            except MetricError as error:
                self._failure = error
        if not team.agree(self._network is not None, device) or self._network is None:
            raise self._failure or MetricError("another process has no weights of the extractor")
        return self._network.to(device)

    def _fake(
        self, network: Extractor, model: Any, data: Any, n: int, team: Team, shown: bool
    ) -> Generated:
        """Generate images, refuse bad ones, and extract; bad ones never reach the network."""
        kept: dict[int, Tensor] = {}
        looked_at = any(metric.needs_pixels for metric in self.metrics)
        n_pixels = min(n, self.n_pairs) if looked_at else 0

        def make(j: int) -> tuple[Tensor, ...]:
            x = self.block(model, data, j)
            flat = x.flatten(1)
            finite = flat.isfinite().all(1)
            inside = (flat.abs() <= 1.001).all(1)  # tanh in bf16 rounds to 1, not beyond
            x = torch.where((finite & inside).view(-1, 1, 1, 1), x, 0)
            if j * BLOCK < n_pixels or not kept:  # a rank that has none to give knows their shape
                kept[j] = pixels_of(x)
            return *network(x), finite.float(), (inside | ~finite).float()

        title = "generated features" if shown else None
        features, logits, finite, inside = team.collect(n, make, title)
        refuse(finite == 0, "generated images are not finite")
        refuse(inside == 0, "generated images are outside of [-1, 1]")
        some = next(iter(kept.values()))
        pixels = some[:0]
        if n_pixels:
            (pixels,) = team.collect(n_pixels, lambda j: (kept.get(j, some),))
        classes = asked(model, data, 0, n) if data.num_classes is not None else None
        return Generated(features, logits, pixels, classes)


class SampleEvaluator(ABC):
    """Scores of samples as they are, without a network; a subclass says what they are held against.

    Args:
        metric: Key of :data:`SCORES`.
        n_fake: Number of generated samples.
        split: Split of the real samples; empty where the truth is known.
        seed: Seed of the latents.
    """

    needs: ClassVar[str] = "sample"

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
            return measure({self.metric: (protocol, refusing(error))}, how_drawn(model))
        title = "generated samples" if shown else None
        with sampling(model, weights):
            (x,) = Team(gather, rank, world).collect(
                protocol.n_fake, lambda j: (draw(model, data, self.seed, j),), title
            )
        plan = {self.metric: (protocol, partial(self.values, x, truth, shown))}
        return measure(plan, how_drawn(model))


class MixtureEvaluator(SampleEvaluator):
    """Modes found, high-quality share and the histogram of a model of points, for a known mixture.

    The histogram of high-quality samples over modes has its KL and JS to uniform and its entropy.

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
        single = torch.eye(1, len(seen.histogram))[0]
        counts = seen.histogram if seen.histogram.any() else single  # as for the KL
        return class_facts(seen.found, seen.histogram) | {
            "high_quality": seen.high_quality,
            "reverse_kl": seen.kl,
            "class_kl": seen.kl,
            "class_js": float(js_divergence(counts, torch.ones_like(counts))),
            "class_entropy": entropy(counts),
        }
