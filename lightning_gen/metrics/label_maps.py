"""How well label maps are drawn: the scores by which pix2pix and CycleGAN judge Cityscapes.

References:
    Long, Shelhamer, Darrell, *Fully Convolutional Networks for Semantic Segmentation*, 2014
    (arXiv:1411.4038), section 5; Zhu et al., *Unpaired Image-to-Image Translation using
    Cycle-Consistent Adversarial Networks*, 2017 (arXiv:1703.10593), table 3.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_gen.metrics.domains import Translated
from lightning_gen.metrics.feature_measure import Measured
from lightning_gen.metrics.translation_measure import TranslationMeasure


class LabelScores(NamedTuple):
    """Shares of pixels, all in [0, 1]."""

    pixel_accuracy: float
    class_accuracy: float
    mean_iou: float


def nearest_label(x: Tensor, palette: Tensor) -> Tensor:
    """The class whose colour is nearest to each pixel.

    Args:
        x: Pictures (N, 3, H, W) in [0, 255].
        palette: Colours (K, 3) of the classes.

    Returns:
        Classes (N, H, W).

    Example:
        >>> x = torch.tensor([250.0, 10.0, 0.0]).view(1, 3, 1, 1)
        >>> nearest_label(x, torch.tensor([[0.0, 0.0, 0.0], [255.0, 0.0, 0.0]]))
        tensor([[[1]]])
    """
    pixels = x.permute(0, 2, 3, 1).flatten(0, 2)
    nearest = torch.cdist(pixels.float(), palette.to(pixels)).argmin(1)
    return nearest.view(x.shape[0], *x.shape[2:])


def confusion(found: Tensor, truth: Tensor, classes: int) -> Tensor:
    """Counts (K, K) of pixels by true class (rows) and found class.

    Args:
        found: Classes found, of any shape.
        truth: True classes, of the same shape.
        classes: K.
    """
    pairs = (truth * classes + found).flatten()
    return pairs.bincount(minlength=classes**2).view(classes, classes)


def label_scores(counts: Tensor) -> LabelScores:
    """Scores of a confusion matrix; classes that the truth does not have are left out.

    Args:
        counts: (K, K), true classes in rows.

    Example:
        >>> label_scores(torch.tensor([[3, 1], [0, 0]]))
        LabelScores(pixel_accuracy=0.75, class_accuracy=0.75, mean_iou=0.75)
    """
    counts = counts.double()
    right, true, found = counts.diagonal(), counts.sum(1), counts.sum(0)
    there = true > 0
    union = (true + found - right)[there]
    return LabelScores(
        float(right.sum() / counts.sum()),
        float((right[there] / true[there]).mean()),
        float((right[there] / union).mean()),
    )


def colours(palette: Sequence[Sequence[int]]) -> Tensor:
    """A palette (K, 3) of colours in [0, 255]."""
    return torch.tensor(palette, dtype=torch.float32).view(-1, 3)


class LabelMapMeasure(TranslationMeasure):
    """Pixel and class accuracy and mean IoU of label maps drawn in the colours of a palette."""

    name, scores = "label_map", LabelScores._fields

    def suits(self, source: Translated) -> bool:
        """Only the second domain may be one of label maps, of the data's ``palette``."""
        return bool(getattr(source.data.data, "palette", None)) and source.to in {"b"}

    def values(self, source: Translated, j: int) -> Mapping[str, Tensor]:
        """Confusion (K, K) of each picture."""
        palette = colours(source.data.data.palette)
        maps = ((image + 1) * 127.5 for image in (source.block(j), source.target(j)))
        found, true = (nearest_label(image, palette) for image in maps)
        counts = [confusion(f, t, len(palette)) for f, t in zip(found, true, strict=True)]
        return {"confusion": torch.stack(counts)}

    def summary(self, rows: Mapping[str, Tensor]) -> Measured:
        """Scores of all pictures together."""
        return label_scores(rows["confusion"].sum(0))._asdict()
