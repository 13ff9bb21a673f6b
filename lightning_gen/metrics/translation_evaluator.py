"""Scores of translations, in every direction that a model can go.

References:
    Zhu et al., *Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks*,
    2017 (arXiv:1703.10593); Park et al., *Contrastive Learning for Unpaired Image-to-Image
    Translation*, 2020 (arXiv:2007.15651), which reports FID of all test images.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any, ClassVar, Literal

from torch import Tensor

from lightning_gen.errors import MetricError
from lightning_gen.metrics.domains import Domains, Translated
from lightning_gen.metrics.evaluator import FeatureEvaluator, Measure, measure, refusing
from lightning_gen.metrics.extractors import Extractor
from lightning_gen.metrics.feature_pass import Gather, Team, Weights, sampling
from lightning_gen.metrics.label_maps import LabelMapMeasure
from lightning_gen.metrics.paired import PairedMeasure
from lightning_gen.metrics.protocol import Evaluation, Protocol
from lightning_gen.metrics.translation_measure import (
    Comparison,
    CycleMeasure,
    IdentityMeasure,
    KeptMeasure,
    TranslationMeasure,
)
from lightning_gen.types import NonNegativeInt, PositiveFloat, PositiveInt

CI = {"ci": "standard error over test images"}
SINGLE: tuple[type[TranslationMeasure], ...] = (
    PairedMeasure,
    CycleMeasure,
    IdentityMeasure,
    KeptMeasure,
    LabelMapMeasure,
)


class TranslatedFeatures(FeatureEvaluator):
    """Feature scores of translated test images against those of the domain they should be of."""

    def block(self, model: Any, data: Any, j: int) -> Tensor:
        """Translated images 64 j to 64 j + 63."""
        return model.block(j)


class TranslationEvaluator:
    """Scores of a model that translates, of all test images in each direction.

    The split in a score's name says which direction it is of: ``fid_mnist@1k_test_b`` compares
    what was translated to b with test images of b. There are:

    - ``fid``, ``kid``, ``prdc``, ``modes`` and ``diversity`` of
      :class:`~lightning_gen.metrics.evaluator.FeatureEvaluator`;
    - ``psnr``, ``ssim`` and ``l1``, where images are paired;
    - ``cycle_l1``: how far an image is from itself after going there and back, where the model goes
      back, as a mean over pixels of [-1, 1];
    - ``identity_rate``: share of images that come back nearly as they went in;
    - ``translated_accuracy``: share of labelled digits that the classifier still sees as what they
      were, where it knows the classes;
    - ``pixel_accuracy``, ``class_accuracy`` and ``mean_iou`` of label maps, where the data have a
      ``palette``.

    Args:
        extractor: Network whose features are compared; None measures pixels alone.
        split: Split of the data that is translated, and compared with.
        n: Images of each direction, the first; None takes all.
        to: Domains translated to; None is all that model and data have in common.
        space: What PSNR and SSIM see: all channels, or Y.
        border: Pixels on each side that they leave out.
        unchanged: Mean difference of [-1, 1] below which an image counts as not translated.
        metrics: Which of the feature scores.
        k: Neighbours of precision and recall.
        n_pairs: Most images of each side for metrics of quadratic cost.
        kid_subsets: Random subsets of KID.
        kid_subset_size: Images in each.
        weights_path: Weights file of the extractor, if not found by itself.
        cache: Folder of what is made of real images.
        seed: Seed of the metrics' random choices.
        allow_singular: Give a FID also of fewer images than features, as papers on translation do.
    """

    needs: ClassVar[str] = "translate"

    def __init__(
        self,
        extractor: Literal["mnist", "inception"] | Extractor | None = "mnist",
        split: str = "test",
        n: PositiveInt | None = None,
        to: Sequence[str] | None = None,
        space: Literal["rgb", "y"] = "rgb",
        border: NonNegativeInt = 0,
        unchanged: PositiveFloat = 0.05,
        metrics: Sequence[Literal["fid", "kid", "prdc", "modes", "diversity"]] | None = None,
        k: PositiveInt = 5,
        n_pairs: PositiveInt = 10_000,
        kid_subsets: PositiveInt = 100,
        kid_subset_size: PositiveInt = 100,
        weights_path: str | None = None,
        cache: str | None = None,
        seed: int = 0,
        allow_singular: bool = False,
    ) -> None:
        self.features = None
        if extractor is not None:
            chosen = metrics or ["fid", "kid", "prdc", "modes", "diversity"]
            self.features = TranslatedFeatures(
                extractor,
                metrics=[m for m in chosen if extractor not in {"inception"} or m not in {"modes"}],
                k=k,
                n_pairs=n_pairs,
                kid_subsets=kid_subsets,
                kid_subset_size=kid_subset_size,
                weights_path=weights_path,
                cache=cache,
                seed=seed,
                allow_singular=allow_singular,
            )
        self.split, self.n, self.to, self.seed = split, n, to, seed
        self.how = Comparison(space, border, unchanged)

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
            model: A model with ``translate``.
            data: A data module with domains, set up.
            n_fake: Most images of each direction, if fewer than the evaluator's.
            split: Split of the data, if not the evaluator's.
            weights: Mean nothing here, as translators keep no average.
            gather: Concatenates a tensor over ranks; None for one process.
            rank: This process.
            world: Number of processes.
            progress: Show bars, on rank 0.

        Raises:
            MetricError: Model and data have no direction in common.
        """
        team, domains, part = Team(gather, rank, world), Domains(data), split or self.split
        most = min(n for n in (n_fake, self.n, 2**62) if n)
        directions = [to for to in self.to or model.targets if to in data.domains]
        if not directions:
            has = ", ".join(data.domains) or "none"
            raise MetricError(f"the model translates to {model.targets}, the data have {has}")
        parts: list[Evaluation] = []
        for to in directions:
            source = Translated(model, domains, part, to)
            n, shown = min(most, len(source)), progress and rank == 0
            if self.features is not None:
                kept: dict[str, Any] = {"gather": gather, "rank": rank, "world": world}
                kept |= {"n_fake": n, "split": source.truth, "progress": progress}
                parts.append(self.features.evaluate(source, domains, **kept))
            with sampling(source, "raw"):
                parts.append(self.single(source, n, team, shown))
        found = [p.extras for p in parts if p.extras]
        worst = min(found, key=lambda extras: extras.get("coverage", 1.0), default={})
        return Evaluation([score for p in parts for score in p.scores], worst)

    def single(self, source: Translated, n: int, team: Team, shown: bool) -> Evaluation:
        """Scores of single translations in one direction; what means nothing here is left out."""
        how = self.how
        if self.features is not None:
            with suppress(MetricError):  # the feature scores say that there is none
                how = replace(how, network=self.features.network(source.device, team))
        metrics = [metric for kind in SINGLE if (metric := kind(how)).suits(source)]
        names: dict[str, list[str]] = {}
        compute: dict[str, Measure] = {}
        for metric in metrics:
            try:
                names[metric.name] = list(metric.values(source, 0))
            except MetricError as error:
                compute[metric.name] = refusing(error)
        able = [metric for metric in metrics if metric.name in names]

        def make(j: int) -> tuple[Tensor, ...]:  # all of a block, so that it is translated once
            return tuple(rows for metric in able for rows in metric.values(source, j).values())

        rows = team.collect(n, make, "translations" if shown else None) if able else []
        found = dict(zip(chain(*names.values()), rows, strict=True))
        for metric in able:
            compute[metric.name] = partial(metric.summary, found)
        plan = {m.name: (self.protocol(m, source, n), compute[m.name]) for m in metrics}
        return replace(measure(plan), extras={})

    def protocol(self, metric: TranslationMeasure, source: Translated, n: int) -> Protocol:
        """How single translations are measured."""
        network = metric.how.network
        of_network = network is not None and metric.extractor == network.name
        return Protocol(
            extractor=metric.extractor,
            extractor_sha256=network.sha256 if network and of_network else "",
            resize=network.resize if network and of_network else "",
            n_real=n,
            n_fake=n,
            split=source.truth,
            weights="raw",
            seed=self.seed,
            data_fingerprint=source.data.fingerprint,
            options={**metric.options(), **CI},
        )
