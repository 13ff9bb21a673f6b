"""Pictures of translations: test images, what becomes of them, and what they should become."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from lightning_gen.metrics.domains import Domains, Translated


def alike(images: list[Tensor]) -> Tensor:
    """Images (N, C, H, W) of several shapes, side by side in one: colours, and the largest size.

    Args:
        images: Grey ones become RGB where others are; small ones are enlarged pixel by pixel.

    Returns:
        (len(images), N, C, H, W).
    """
    channels = max(x.shape[1] for x in images)
    size = max(x.shape[2] for x in images), max(x.shape[3] for x in images)
    return torch.stack(
        [interpolate(x.expand(-1, channels, -1, -1), size, mode="nearest-exact") for x in images]
    )


def spread(n: int, size: int) -> Tensor:
    """Indices (n,) spread evenly over a set, as files may be sorted by class."""
    return torch.arange(n) * size // n


def translation_rows(model: Any, data: Any, n: int) -> tuple[Tensor, int]:
    """Rows of the same test images in all runs: input, output, cycle, target.

    The cycle is there where the model goes back, the target where images are paired. Of a model of
    two directions the second one stands beside the first; of one of more domains, every
    translation of an image stands beside it.

    Args:
        model: A model with ``translate``.
        data: A data module with domains, set up.
        n: Rows.

    Returns:
        Images (n * columns, C, H, W) in [-1, 1], row by row, and the number of columns.
    """
    part = "test" if len(data.domains) == 2 and "pairs" in data.gives else data.splits[-1]
    targets = [to for to in model.targets if to in data.domains]
    columns: list[Tensor] = []
    if "pairs" in data.gives:
        for to in targets:
            source = Translated(model, Domains(data), part, to)
            rows = spread(n, len(source))
            x = source.data.real(source.split, rows, model.device).image
            y = model.translate(x, to)
            columns += [x, y]
            if source.returns:
                columns.append(model.translate(y, next(d for d in data.domains if d != to)))
            if "paired" in data.gives:
                columns.append(source.data.real(source.truth, rows, model.device).image)
    else:
        x = data.real(part, spread(n, data.size(part)), model.device).image
        columns = [x, *(model.translate(x, to) for to in targets)]
    return alike(columns).transpose(0, 1).flatten(0, 1), len(columns)
