"""How well the categorical code that a model reads from images names their classes.

References:
    Chen et al., *InfoGAN: Interpretable Representation Learning by Information Maximizing
    Generative Adversarial Nets*, 2016 (arXiv:1606.03657), section 7.2.
"""

from collections.abc import Mapping
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from lightning_gen.errors import MetricError
from lightning_gen.metrics.feature_measure import Measured
from lightning_gen.metrics.real_evaluator import CI, Labelled, Reader, RealEvaluator, share
from lightning_gen.types import PositiveInt


def majority(counts: Tensor) -> Tensor:
    """Name each category by the class that most of its images have; an empty one names nothing.

    Args:
        counts: Images (K, C) of each category and class.

    Returns:
        Classes (K,), -1 for none; several categories may have the same.

    Example:
        >>> majority(torch.tensor([[5, 1], [4, 3], [0, 0]]))
        tensor([ 0,  0, -1])
    """
    return torch.where(counts.any(1), counts.argmax(1), -1)


def one_to_one(counts: Tensor) -> Tensor:
    """Give categories and classes to each other in pairs, so that most images are right.

    Args:
        counts: Images (K, C) of each category and class.

    Returns:
        Classes (K,), each at most once; -1 for categories that are left over, or have no image of
        the class that is left for them.

    Example:
        >>> one_to_one(torch.tensor([[5, 1], [4, 3], [0, 0]]))
        tensor([ 0,  1, -1])
    """
    pairs = linear_sum_assignment(counts.numpy(), maximize=True)
    category, label = map(torch.from_numpy, pairs)
    names = torch.full((len(counts),), -1)
    names[category] = torch.where(counts[category, label] > 0, label, -1)
    return names


class CodeEvaluator(RealEvaluator):
    """Error of the categories that Q reads from images, each of which stands for a class.

    ``code_error`` names a category by majority: the paper matches "each category to a digit type",
    and neither says how nor on which images. ``code_error_one_to_one`` gives each class to one
    category, which is stricter: where two categories share a digit, another digit has none.
    The names are learnt on training images and tested on others.

    Args:
        match: Split whose labels name the categories; ``test`` as well would flatter.
        n_match: Its images, the first; None takes all.
        split: Split that is classified.
        n_real: Its images, the first; None takes all.
    """

    def __init__(
        self,
        match: str = "train",
        n_match: PositiveInt | None = None,
        split: str = "test",
        n_real: PositiveInt | None = None,
    ) -> None:
        super().__init__("code", "Q", match, n_match, split, n_real)

    def options(self, n_fit: int) -> Mapping[str, Any]:
        """Where the categories have their names from."""
        return {"matched_on": self.fit, "n_match": n_fit, **CI}

    def reader(self, model: Any) -> Reader:
        """The model's ``classify``."""
        if not hasattr(model, "classify"):
            raise MetricError(f"{type(model).__name__} reads no category from images")
        return model.classify

    def values(self, fit: Labelled, test: Labelled, shown: bool) -> Measured:
        """Name the categories and count what they get wrong."""
        size = [int(max(a.max(), b.max())) + 1 for a, b in zip(fit, test, strict=True)]
        flat = (fit.rows * size[1] + fit.labels).bincount(minlength=size[0] * size[1])
        counts = flat.view(size).cpu()
        measured: Measured = {}
        for suffix, names in (("", majority(counts)), ("_one_to_one", one_to_one(counts))):
            wrong = float((names[test.rows.cpu()] != test.labels.cpu()).double().mean())
            measured |= share(wrong, len(test.rows), f"code_error{suffix}")
        return measured
