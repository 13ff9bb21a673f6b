"""The error of one-nearest-neighbour classification."""

import torch
from torch import Tensor
from tqdm import tqdm

from lightning_gen.functional.distances import nearest

PART = 16_384  # training points that are in float64 at a time


def nearest_neighbour_error(
    x: Tensor,
    labels: Tensor,
    train: Tensor,
    train_labels: Tensor,
    *,
    rows: int = 500,
    progress: bool = False,
) -> float:
    """Share of points whose nearest training point (Euclidean, exact) has another label.

    Args:
        x: Points (N, d).
        labels: Their labels (N,).
        train: Training points (M, d).
        train_labels: Their labels (M,).
        rows: Points at a time; a block takes at most 8 x rows x 16,384 bytes.
        progress: Show a bar.

    Returns:
        0 to 1.

    Example:
        >>> train, names = torch.tensor([[0.0], [10.0]]), torch.tensor([3, 7])
        >>> x, labels = torch.tensor([[1.0], [4.0], [6.0]]), torch.tensor([3, 7, 7])
        >>> round(nearest_neighbour_error(x, labels, train, names), 4)
        0.3333
    """
    closest = torch.full((len(x),), torch.inf, dtype=torch.float64, device=x.device)
    guess = torch.full_like(labels, -1)
    parts = zip(train.split(PART), train_labels.split(PART), strict=True)
    total = -(-len(train) // PART)
    for part, names in tqdm(parts, "nearest neighbour", total, leave=False, disable=not progress):
        distance, index = nearest(x, part, rows)
        guess = torch.where(distance < closest, names[index], guess)
        closest = torch.minimum(closest, distance)
    return float((guess != labels).double().mean())
