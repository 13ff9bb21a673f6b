r"""Memorisation: do samples lie nearer to training images than unseen images do?

With :math:`d(x)` the distance of the features of x to the nearest ones of the training images, a
model that copies has small :math:`d(\tilde x)` beside the :math:`d(x)` of held-out images:

.. math::
    \text{ratio} = \frac{\mathrm{median}\; d(\tilde x)}{\mathrm{median}\; d(x)} \qquad
    \text{memorised} = P(d(\tilde x) < q_{.01})

where :math:`q_{.01}` is the 1 % quantile of held-out images: a perfect model scores 1 and .01. A
ratio below one alone is no proof: typical images have near neighbours.

References:
    Meehan, Chaudhuri and Dasgupta, *A Non-Parametric Test to Detect Data-Copying in Generative
    Models*, 2020 (arXiv:2004.05675)
"""

import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from lightning_gen.errors import MetricError
from lightning_gen.functional.distances import nearest
from lightning_gen.metrics.feature_measure import FeatureMeasure, Measured, Subject
from lightning_gen.metrics.protocol import Protocol
from lightning_gen.metrics.real_side import train_count, train_split

if TYPE_CHECKING:
    from lightning_gen.metrics.feature_pass import Generated
    from lightning_gen.metrics.real_side import RealSide

QUANTILE = 0.01
BLOCK_BYTES = 2**29  # of distances at a time


class Memorisation(NamedTuple):
    """How near samples lie to training images.

    Attributes:
        nearest_train_ratio: Median distance to the nearest training image, relative to that of
            held-out images; 1 for a perfect model, 0 for a copy.
        memorised: Share of samples nearer to a training image than all but the nearest 1 % of
            held-out images; .01 for a perfect model, 1 for a copy.
    """

    nearest_train_ratio: float
    memorised: float


def held_out(subject: Subject) -> tuple[str, int]:
    """Name a split that the model was not trained on, and how many of its images are looked at.

    It is that of the evaluation if that is not the training split.

    Args:
        subject: What is evaluated.

    Raises:
        MetricError: The data have no such split.
    """
    train, *others = subject.data.splits
    if subject.how.split != train:
        return subject.how.split, subject.how.n_real
    if not others:
        what = f"the data {subject.data.name} have no split that models are not trained on"
        raise MetricError(what, where="data", fix="data.test_fraction of a folder of pictures")
    return others[-1], subject.data.size(others[-1])


def memorisation(fake: Tensor, held_out: Tensor, quantile: float = QUANTILE) -> Memorisation:
    """Compare distances to the nearest training image.

    Args:
        fake: Those of generated samples (M,).
        held_out: Those of held-out images (N,), of the same training images.
        quantile: Share of held-out images that count as copies, 0 to 1.

    Raises:
        MetricError: Half of the held-out images are training images.

    Example:
        >>> memorisation(torch.tensor([0.0, 1.0, 1.0]), torch.arange(1.0, 4.0))
        Memorisation(nearest_train_ratio=0.5, memorised=0.3333333333333333)
    """
    if not held_out.median() > 0:
        raise MetricError("half of the held-out images have the features of training images")
    threshold = held_out.sort().values[int(quantile * len(held_out))]
    return Memorisation(
        nearest_train_ratio=float(fake.median() / held_out.median()),
        memorised=float((fake < threshold).double().mean()),
    )


def copied(memorised: float, n: int, share: float, quantile: float = QUANTILE) -> float:
    """Share of samples that are copies of some training image, at least.

    Copies of the training images that are not looked at go unseen, and a perfect model's
    ``memorised`` scatters about the quantile: four standard errors of that are no copies.

    Args:
        memorised: Share nearer than the quantile.
        n: Number of samples.
        share: Share of the training images that is looked at, above 0 to 1.
        quantile: That of held-out images.

    Example:
        >>> copied(0.01, 2000, 1.0), round(copied(0.18, 2000, 1 / 6), 2)
        (0.0, 0.97)
    """
    noise = 4 * math.sqrt(quantile * (1 - quantile) / n)
    return min(1.0, max(0.0, memorised - quantile - noise) / share)


class MemorisationMeasure(FeatureMeasure):
    """Distances to training images of one evaluation."""

    name, scores = "memorisation", ("nearest_train_ratio", "memorised")

    def protocol(self, subject: Subject) -> Protocol:
        """Held-out images, the number of training images, and at most ``n_pairs`` samples."""
        how, data = subject.how, subject.data
        try:
            split, n = held_out(subject)
        except MetricError:  # is said when it is computed
            split, n = how.split, how.n_real
        n_fake = min(how.n_fake, self.settings.n_pairs)
        options = {"quantile": QUANTILE, "n_train": train_count(data, self.settings.n_train)}
        return replace(how, split=split, n_real=n, n_fake=n_fake, options=options)

    def compute(self, real: "RealSide", fake: "Generated") -> Measured:
        """Find the nearest training image of each sample, and of each held-out image once."""
        here = train_split(real.data), train_count(real.data, self.settings.n_train)
        away, how = held_out(real.subject), real.how
        train = real.features(*here).features
        rows = min(1024, BLOCK_BYTES // (8 * len(train)) + 1)

        def distances() -> dict[str, Tensor]:
            return {"distance": nearest(real.features(*away).features, train, rows)[0]}

        facts = ["held-out distances 1", how.extractor, how.extractor_sha256, how.resize]
        facts += [*real.facts(*here), *real.facts(*away)]
        held = real.made("held_out", facts, ["distance"], distances)["distance"]
        found, _ = nearest(fake.features[: self.settings.n_pairs], train, rows)
        seen = memorisation(found, held.to(found.device))
        share = len(train) / real.data.size(train_split(real.data))
        return seen._asdict() | {"copied": copied(seen.memorised, len(found), share)}
