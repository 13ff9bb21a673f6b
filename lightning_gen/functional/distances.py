"""All-pairs Euclidean distances in float64, a block of rows at a time."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_gen.errors import MetricError


def distance_blocks(x: Tensor, y: Tensor, rows: int = 1024) -> Iterator[tuple[slice, Tensor]]:
    """Walk over the distances between two sets without holding all of them.

    Float64, because in float32 the expanded square cancels: near copies of features of norm 10
    would come out .01 apart, and comparisons of distances would depend on the block size.

    Args:
        x: Points (N, d).
        y: Points (M, d).
        rows: Rows of x at a time.

    Yields:
        The rows of x and their distances (rows, M) to all of y.
    """
    x, y = x.double(), y.double()
    for start in range(0, len(x), rows):
        here = slice(start, start + rows)
        yield here, torch.cdist(x[here], y)


def nearest(x: Tensor, y: Tensor, rows: int = 1024) -> tuple[Tensor, Tensor]:
    """Find for each point the nearest one of a set.

    Args:
        x: Points (N, d), N > 0.
        y: The set (M, d), M > 0.
        rows: Rows of x at a time; a block takes 8 x rows x M bytes.

    Returns:
        The distances (N,) in float64, and which points of the set they are to (N,).

    Example:
        >>> nearest(torch.tensor([[0.0], [5.0]]), torch.tensor([[4.0], [1.0]]))
        (tensor([1., 1.], dtype=torch.float64), tensor([1, 0]))
    """
    blocks = [distance.min(1) for _, distance in distance_blocks(x, y, rows)]
    return torch.cat([b.values for b in blocks]), torch.cat([b.indices for b in blocks])


class Neighbourhood(NamedTuple):
    """Distances inside one set of N points, each point without itself.

    Attributes:
        nearest: Distance (N,) to the nearest other point.
        radius: Distance (N,) to the k-th nearest other point.
        mean: Mean distance () over all pairs.
    """

    nearest: Tensor
    radius: Tensor
    mean: Tensor


def neighbourhood(x: Tensor, k: int) -> Neighbourhood:
    """Measure how close the points of a set lie to each other.

    Args:
        x: Points (N, d), N > k.
        k: Which neighbour the radius reaches to.

    Raises:
        MetricError: There are not k other points.

    Example:
        >>> neighbourhood(torch.tensor([[0.0], [1.0], [3.0]]), k=2).radius
        tensor([3., 2., 3.], dtype=torch.float64)
    """
    n = len(x)
    if n <= k:
        raise MetricError(f"{n} points have no {k}-th neighbour; at least {k + 1} are needed")
    nearest, radius, total = [], [], x.new_zeros((), dtype=torch.float64)
    for here, distance in distance_blocks(x, x):
        row = torch.arange(len(distance), device=x.device)
        distance[row, row + here.start] = 0  # rounding aside, it is
        total += distance.sum()
        distance[row, row + here.start] = torch.inf
        closest = distance.topk(k, largest=False).values
        nearest.append(closest[:, 0])
        radius.append(closest[:, -1])
    return Neighbourhood(torch.cat(nearest), torch.cat(radius), total / (n * (n - 1)))
