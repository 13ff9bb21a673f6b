"""Diversity within a class: how alike two images of it look, by MS-SSIM.

Pairs are drawn at random within each class, and their mean similarity is held against that of
training images: a model that makes one image of each class finds every mode and scores 1 here. The
paper's figure is the share of classes that are no more alike than the most alike class of the
training images: 84.7 % of ImageNet's.

References:
    Odena, Olah and Shlens, *Conditional Image Synthesis with Auxiliary Classifier GANs*, 2016
    (arXiv:1610.09585), section 4.2
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from lightning_gen.errors import MetricError
from lightning_gen.functional.ms_ssim import ms_ssim
from lightning_gen.metrics.feature_measure import FeatureMeasure, Measured, Subject
from lightning_gen.metrics.feature_pass import SIDE
from lightning_gen.metrics.protocol import Protocol
from lightning_gen.metrics.real_side import train_count, train_split
from lightning_gen.randomness import fold

if TYPE_CHECKING:
    from lightning_gen.metrics.feature_pass import Generated
    from lightning_gen.metrics.real_side import RealSide

PAIRS = 100
SMALLEST = 64  # pixels; smaller images are enlarged, so that the coarsest scale has 4


def classes_of(count: int, most: int | None) -> list[int]:
    """Choose the classes that are looked at: all, or so many spread evenly over them.

    Example:
        >>> classes_of(3, 10), classes_of(1000, 4)
        ([0, 1, 2], [0, 250, 500, 750])
    """
    few = count if most is None else min(count, most)
    return [i * count // few for i in range(few)]


def similarities(
    look: Callable[[Tensor], Tensor],
    labels: Tensor,
    classes: Sequence[int],
    *,
    pairs: int = PAIRS,
    seed: int = 0,
) -> Tensor:
    """Mean MS-SSIM of random pairs of different images within each class.

    Args:
        look: Gives the bytes (n, C, H, W) of the images of some indices (n,).
        labels: Classes (N,) of all images.
        classes: Those that are looked at, K of them.
        pairs: Pairs of a class.
        seed: Seed of the pairs.

    Returns:
        Means (K,), not a number for a class of fewer than two images.

    Example:
        >>> images = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
        >>> similarities(lambda i: images[i], torch.tensor([0, 1, 0, 2]), [0, 1])
        tensor([1., nan])
    """
    found = []
    for c in classes:
        members = (labels == c).nonzero()[:, 0].cpu()
        if len(members) < 2:
            found.append(torch.nan)
            continue
        generator = torch.Generator().manual_seed(fold(seed, "pairs", c))
        first = torch.randint(len(members), (pairs,), generator=generator)
        ahead = torch.randint(1, len(members), (pairs,), generator=generator)
        second = (first + ahead) % len(members)
        x, y = (_enlarged(look(members[i])) for i in (first, second))
        found.append(float(ms_ssim(x, y).mean()))
    return torch.tensor(found)


def _enlarged(pixels: Tensor) -> Tensor:
    """Images in [0, 1] of at least 64 pixels a side, of bytes (N, C, H, W)."""
    x, (height, width) = pixels.float() / 255, pixels.shape[2:]
    if min(height, width) >= SMALLEST:
        return x
    return interpolate(x, (max(height, SMALLEST), max(width, SMALLEST)), mode="bilinear")


class ClassDiversityMeasure(FeatureMeasure):
    """MS-SSIM within the classes of one evaluation.

    Classes are those that a conditional model was asked for, else those that the extractor sees;
    where it knows none, all images are of one class.
    """

    name = "class_diversity"
    scores = ("ms_ssim", "ms_ssim_real", "diverse_classes")
    needs_pixels = True

    def protocol(self, subject: Subject) -> Protocol:
        """Training images; whose classes, how many of them, and pairs of each."""
        sides, whose = subject.data.shape[1:], self._whose(subject)
        known = {"one": 1}.get(whose, subject.data.num_classes)
        most = self.settings.ssim_classes
        resize = {min(sides) < SMALLEST: f"bilinear-{SMALLEST}", max(sides) > SIDE: f"area-{SIDE}"}
        return replace(
            subject.how,
            extractor="pixels",
            extractor_sha256="",
            resize=resize.get(True, ""),
            n_real=train_count(subject.data, self.settings.n_train),
            n_fake=min(subject.how.n_fake, self.settings.n_pairs),
            split=train_split(subject.data),
            options={
                "pairs": PAIRS,
                "classes": whose,
                "n_classes": len(classes_of(known, most)) if known else most,
            },
        )

    def _whose(self, subject: Subject) -> str:
        seen = f"{subject.how.extractor} {subject.how.extractor_sha256[:8]}"
        return "asked" if subject.conditional else seen if subject.knows_classes else "one"

    def compute(self, real: "RealSide", fake: "Generated") -> Measured:
        """Compare the similarity within each class with that of training images."""
        data, n = real.data, len(fake.pixels)
        if fake.labels is not None:
            count, labels = data.num_classes, fake.labels[:n]
        elif real.network.knows_classes:
            count, labels = fake.logits.shape[1], fake.logits[:n].argmax(1)
        else:
            count, labels = 1, torch.zeros(n, dtype=torch.long)
        classes = classes_of(count, self.settings.ssim_classes)
        ours = similarities(lambda i: fake.pixels[i], labels, classes, seed=self.settings.seed)
        theirs = self._real(real, classes, count).to(ours)
        both = ours.isfinite() & theirs.isfinite()
        if not both.any():
            raise MetricError("no class has two generated images that could be compared")
        mean, real_mean = float(ours[both].mean()), float(theirs[both].mean())
        return {
            "ms_ssim": mean,
            "ms_ssim_real": real_mean,
            "ms_ssim_excess": mean - real_mean,
            "diverse_classes": float((ours[both] <= theirs[both].max()).double().mean()),
        }

    def _real(self, real: "RealSide", classes: Sequence[int], count: int) -> Tensor:
        """Mean similarity (K,) of the training images of each class, made once."""
        split = train_split(real.data)
        n = train_count(real.data, self.settings.n_train)

        def make() -> dict[str, Tensor]:
            rows = real.rows(split, n)
            labels = real.classes(split, rows) if count > 1 else torch.zeros(n, dtype=torch.long)
            return {
                "similarity": similarities(lambda i: real.pixels(split, rows[i]), labels, classes)
            }

        facts = [
            "class similarities 1",
            *real.facts(split, n),
            real.how.extractor_sha256,
            count,
            *classes,
            PAIRS,
        ]
        return real.made("ms_ssim", facts, ["similarity"], make)["similarity"]
