"""Draw samples from a run's model."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator

from lightning_gen.cli.arguments import bind, wants_help
from lightning_gen.errors import ConfigError
from lightning_gen.types import NonNegativeInt, PositiveInt

BLOCK = 64

Labels = Annotated[
    list[int] | None, BeforeValidator(lambda v: v.split(",") if isinstance(v, str) else v)
]


def sample(
    run: Path,
    n: PositiveInt = 64,
    seed: NonNegativeInt = 0,
    out: Path | None = None,
    format: Literal["grid", "png", "npz"] = "grid",
    labels: Labels = None,
    weights: Literal["ema", "raw"] = "ema",
    checkpoint: Literal["last", "best"] = "last",
) -> Path:
    """Draw samples and write them as one grid, as single pictures or as an array.

    Args:
        run: The run's folder.
        n: How many.
        seed: Seed of the latents; the first n of them are the same for every n and every run.
        out: File to write, or folder for format=png; by default samples.{png,npz} or samples/.
        format: One grid, one PNG a sample, or an .npz of uint8 images (points: float32) and labels.
        labels: Comma-separated labels of a conditional model, repeated over the samples.
        weights: The averaged weights, or those as trained.
        checkpoint: The newest, or the one with the best monitored score.

    Returns:
        What was written.
    """
    import io
    from contextlib import nullcontext

    import numpy as np
    import torch
    from tqdm import tqdm

    from lightning_gen.callbacks.sample_grid import draw, to_bytes
    from lightning_gen.randomness import fold
    from lightning_gen.runs import atomic
    from lightning_gen.runs.load import load_run

    opened = load_run(run, checkpoint=checkpoint)
    model, classes = opened.model, opened.data.num_classes
    if labels is not None and not model.requires_labels:
        raise ConfigError("the run's model is not conditional", where="labels", fix="leave it out")
    if labels is not None and not all(0 <= label < classes for label in labels):
        raise ConfigError(f"labels must be in 0..{classes - 1}", where="labels", fix="labels=0,1,2")
    cycle = torch.tensor(labels or list(range(classes or 1)))
    blocks, asked = [], []
    with nullcontext() if weights == "ema" else model.raw_weights():
        for start in tqdm(range(0, n, BLOCK), "sampling", disable=n <= BLOCK, unit="block"):
            generator = torch.Generator().manual_seed(fold(seed, "sample", start // BLOCK))
            wanted = cycle[torch.arange(start, start + BLOCK) % len(cycle)]
            given = wanted if model.requires_labels else None
            blocks.append(model.sample(BLOCK, labels=given, generator=generator))
            asked.append(wanted)
    samples = torch.cat(blocks)[:n].cpu()
    is_image = samples.ndim == 4
    array = (to_bytes(samples) if is_image else samples).numpy()

    def png(image: "torch.Tensor") -> bytes:
        buffer = io.BytesIO()
        mixture = opened.data.mixture
        draw(image, centres=None if mixture is None else mixture[0]).save(buffer, "PNG")
        return buffer.getvalue()

    path = out or Path({"grid": "samples.png", "npz": "samples.npz", "png": "samples"}[format])
    if format == "grid":
        atomic.write(path, png(samples))
    elif format == "npz":
        buffer = io.BytesIO()
        np.savez_compressed(buffer, images=array, labels=torch.cat(asked)[:n].numpy())
        atomic.write(path, buffer.getvalue())
    elif is_image:
        from torchvision.io import encode_png

        with atomic.output_errors(path):
            path.mkdir(parents=True, exist_ok=True)
        for i, image in enumerate(tqdm(torch.from_numpy(array), "writing", disable=n <= BLOCK)):
            atomic.write(path / f"{i:06d}.png", encode_png(image).numpy().tobytes())
    else:
        raise ConfigError("points are no pictures", where="format=png", fix="format=npz or grid")
    return path


def main(argv: list[str]) -> int:
    """Run ``lightning-gen sample run=PATH``.

    Args:
        argv: Words after the verb.
    """
    if wants_help(sample, "sample", argv):
        return 0
    print(sample(**bind(sample, argv)))
    return 0
