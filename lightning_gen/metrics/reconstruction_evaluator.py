"""How far images are from what comes back of their codes, and of corrupted ones.

References:
    Hinton & Salakhutdinov, *Reducing the Dimensionality of Data with Neural Networks*, 2006,
    doi:10.1126/science.1127647: the squared error is summed over pixels in [0, 1].
    Vincent et al., *Extracting and Composing Robust Features with Denoising Autoencoders*, 2008,
    doi:10.1145/1390156.1390294.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_gen.core import ImageBatch
from lightning_gen.errors import MetricError
from lightning_gen.functional.pixels import unit_range
from lightning_gen.metrics.feature_measure import Measured
from lightning_gen.metrics.method_evaluator import MethodEvaluator, Read, given, mean_and_error
from lightning_gen.metrics.protocol import Protocol
from lightning_gen.randomness import fold
from lightning_gen.types import PositiveInt


def squared_error(x: Tensor, y: Tensor) -> Tensor:
    """Squared difference of images, summed over pixels in [0, 1].

    Args:
        x: Images (N, C, H, W) in [-1, 1].
        y: Others.

    Returns:
        (N,), 0 to C H W.

    Example:
        >>> squared_error(torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))
        tensor([1.])
    """
    return (unit_range(x.float()) - unit_range(y.float())).square().flatten(1).sum(1)


def reconstruction_errors(model: Any, batch: ImageBatch) -> Tensor:
    """Squared errors (N,) of what a model makes of images.

    Args:
        model: A model with ``reconstruct``.
        batch: Images (N, C, H, W), and labels for a model that asks for them.

    Raises:
        MetricError: There are no pixels to compare.
    """
    if batch.image.ndim != 4:
        raise MetricError("points have no pixels to reconstruct")
    back = model.reconstruct(batch.image, **given(model.reconstruct, batch.label))
    return squared_error(batch.image, back)


class ReconstructionEvaluator(MethodEvaluator):
    """Squared error and PSNR of reconstructions, and of denoised images.

    There are:

    - ``reconstruction_error``: squared error summed over pixels in [0, 1], as a mean over images;
    - ``reconstruction_psnr``: mean over images of the peak signal to noise ratio, in dB;
    - ``denoising_psnr``: the same of what comes back of corrupted images, where the model has a way
      of corrupting them, beside ``noisy_psnr`` of the corrupted images themselves.

    Args:
        n_real: Images, the first; None takes all.
        split: Split that is reconstructed.
        seed: Seed of the corruption.
    """

    needs: ClassVar[str] = "reconstruct"

    def __init__(
        self, n_real: PositiveInt | None = None, split: str = "test", seed: int = 0
    ) -> None:
        super().__init__(split, n_real, seed)

    def protocols(self, model: Any, data: Any, how: Protocol) -> Mapping[str, Protocol]:
        """What errors are summed over, and the corruption."""
        options = {"error": "sum over pixels", "binarisation": data.binarise, **how.options}
        found = {"reconstruction": replace(how, options=options)}
        if hasattr(model, "corrupt"):
            known = {key: getattr(model, key, None) for key in ("corruption", "level")}
            found["denoising"] = replace(how, options={**known, **options})
        return found

    def rows(self, model: Any, batch: ImageBatch, j: int) -> dict[str, Tensor]:
        """Squared errors of each image."""
        found = {"reconstruction": reconstruction_errors(model, batch)}
        if hasattr(model, "corrupt"):
            x = batch.image
            generator = torch.Generator().manual_seed(fold(self.seed, "corruption", j))
            noisy = model.corrupt(x, generator)
            back = model.reconstruct(noisy, **given(model.reconstruct, batch.label))
            found |= {"noisy": squared_error(x, noisy), "denoising": squared_error(x, back)}
        return {**found, "pixels": torch.full_like(found["reconstruction"], batch.image[0].numel())}

    def values(self, metric: str, read: Read) -> Measured:
        """Means of errors and of decibels."""
        notes: dict[str, str] = {}
        found: Measured = {"notes": notes}
        if metric in {"reconstruction"}:
            found |= mean_and_error(read.values[metric], "reconstruction_error")
        for key in {"denoising": ["denoising", "noisy"]}.get(metric, [metric]):
            error, name = read.values[key], f"{key}_psnr"
            same = int((error == 0).sum())
            if same:
                notes[name] = f"infinite, as {same} of {len(error)} images come back exactly"
            else:
                found |= mean_and_error(10 * (read.values["pixels"] / error).log10(), name)
        return found
