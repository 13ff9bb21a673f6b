r"""The birthday paradox: how large a batch has to be for two of its samples to be near duplicates.

Among s draws from N equally likely things two are the same with probability
:math:`1 - \prod_{i<s} (1 - i / N)`, which is one half at :math:`s \approx 1.18 \sqrt N`. So a model
whose batches of s samples have a duplicate in half of the cases has a support of about
:math:`s^2`, and a smaller one when some of it is likelier than the rest.

In the paper people look for duplicates among the closest pairs; here, a pair is one when it is
nearer than all but the closest 1 % of as many real samples are to their nearest neighbours.

References:
    Arora and Zhang, *Do GANs Actually Learn the Distribution? An Empirical Study*, 2017
    (arXiv:1706.08224)
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lightning_gen.functional.distances import distance_blocks
from lightning_gen.metrics.diversity import QUANTILE, near_duplicate
from lightning_gen.metrics.feature_measure import Measured, PairMeasure
from lightning_gen.randomness import fold

if TYPE_CHECKING:
    from lightning_gen.metrics.feature_pass import FeatureSet, Generated
    from lightning_gen.metrics.real_side import RealSide

ORDERS = 400
ENOUGH = 30_000  # pairs of duplicates: they give the batch size to about a percent
SHOWN = 8


def duplicates(x: Tensor, nearest: Tensor, threshold: float | Tensor) -> tuple[Tensor, int]:
    """List the pairs of points that are nearer to each other than a threshold.

    When there are very many, only those among the first points are listed.

    Args:
        x: Points (N, d).
        nearest: Distance (N,) of each to its nearest neighbour.
        threshold: Distance, exclusive.

    Returns:
        Pairs (P, 2) of indices i > j, and among how many of the first points they are.

    Example:
        >>> x = torch.tensor([[0.0], [5.0], [0.1], [9.0]])
        >>> duplicates(x, torch.tensor([0.1, 4.0, 0.1, 4.0]), 0.2)
        (tensor([[2, 0]]), 4)
    """
    some = (nearest < threshold).nonzero()[:, 0]
    pairs, count = [torch.empty(0, 2, dtype=torch.long, device=x.device)], 0
    for rows, distance in distance_blocks(x[some], x[some], rows=256):
        close = (distance < threshold).tril(rows.start - 1).nonzero()
        pairs.append(some[close + torch.tensor([rows.start, 0], device=x.device)])
        count += len(close)
        if count > ENOUGH:
            last = min(rows.stop, len(some)) - 1
            return torch.cat(pairs), int(some[last]) + 1
    return torch.cat(pairs), len(x)


def birthday_batch(pairs: Tensor, n: int, *, orders: int = ORDERS, seed: int = 0) -> int | None:
    """Find the smallest batch in which there is a duplicate with probability one half.

    The samples are shuffled many times; each time they show their first duplicate at some number of
    them, of which this is the median. So nothing is assumed of the duplicates: they may be of one
    sample or of many.

    Args:
        pairs: Pairs (P, 2) of indices of samples that are duplicates.
        n: Number of samples.
        orders: Shuffles.
        seed: Seed of the shuffles.

    Returns:
        The batch size; None where no batch of these samples shows so many.

    Example:
        >>> birthday_batch(torch.tensor([[i, j] for i in range(9) for j in range(i)]), 9)
        2
    """
    if not len(pairs):
        return None
    pairs = pairs.cpu()
    generator = torch.Generator().manual_seed(fold(seed, "birthday"))
    first = []
    for _ in range(orders):
        place = torch.randperm(n, generator=generator)
        first.append(place[pairs].amax(1).min() + 1)
    return int(torch.stack(first).sort().values[(orders - 1) // 2])


def closest_pairs(x: Tensor, nearest: Tensor, count: int = SHOWN) -> Tensor:
    """Pairs (P, 2) of the points (N, d) that have the nearest neighbours, at most so many.

    Args:
        x: Points.
        nearest: Distance (N,) of each to its nearest neighbour.
        count: How many pairs.

    Example:
        >>> closest_pairs(torch.tensor([[0.0], [5.0], [0.1]]), torch.tensor([0.1, 4.9, 0.1]), 1)
        tensor([[0, 2]])
    """
    ends = nearest.argsort(stable=True)[: 2 * count]
    distance = torch.cdist(x[ends].double(), x.double())
    distance.scatter_(1, ends[:, None], torch.inf)
    pairs = torch.stack([ends, distance.argmin(1)], 1).sort(1).values.cpu().tolist()
    return torch.tensor(list(dict.fromkeys(map(tuple, pairs)))[:count])


class BirthdayMeasure(PairMeasure):
    """Batch size and support of one evaluation, and the closest pairs as a picture.

    Where even all samples together have no duplicate with probability one half, their number is a
    lower bound of the batch size, and the scores' note says so.
    """

    name, scores = "birthday", ("birthday_batch", "birthday_batch_real", "birthday_support")
    needs_pixels = True

    def options(self) -> Mapping[str, Any]:
        """What a duplicate is, and the number of shuffles."""
        return {"quantile": QUANTILE, "orders": ORDERS}

    def compute(self, real: "RealSide", fake: "Generated") -> Measured:
        """Give the batch size of generated samples, that of as many real ones, and the support."""
        n, k = self.cut(real, fake), self.settings.k
        threshold = near_duplicate(real.reference.near(n, k))

        def batch(side: "FeatureSet") -> int | None:
            found = duplicates(side.features[:n], side.near(n, k).nearest, threshold)
            return birthday_batch(*found, seed=self.settings.seed)

        sizes = {"birthday_batch": batch(fake), "birthday_batch_real": batch(real.reference)}
        bound = f"a lower bound: fewer than half of the batches of {n} have a near duplicate"
        notes = {name: bound for name, size in sizes.items() if size is None}
        if "birthday_batch" in notes:
            notes["birthday_support"] = bound
        measured: Measured = {name: size or n for name, size in sizes.items()}
        measured["birthday_support"] = measured["birthday_batch"] ** 2
        pairs = closest_pairs(fake.features[:n], fake.near(n, k).nearest)
        shown = {"closest_pairs": fake.pixels[pairs.flatten()].cpu()}
        return measured | {"notes": notes, "pictures": shown}
