"""Draw samples from a run's model."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator

from lightning_gen.cli.arguments import Settings, bind, wants_help
from lightning_gen.cli.settings import set_sampling
from lightning_gen.errors import ConfigError
from lightning_gen.types import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from lightning_gen.runs.load import Opened

TABLES = {"interpolation", "walk", "traversal", "mixing", "classes"}
ENDINGS = {"grid": ".png", "npz": ".npz", "png": "", "txt": ".txt", "gif": ".gif", "webp": ".webp"}
FILMS: dict[str, dict[str, Any]] = {"gif": {}, "webp": {"lossless": True}}
SIDE, MILLISECONDS = 128, 60  # of a film's frame, at least

Commas = BeforeValidator(lambda v: v.split(",") if isinstance(v, str) else v)
Labels = Annotated[list[int] | None, Commas]
Texts = Annotated[list[str] | None, Commas]


def sample(
    run: Path,
    what: Literal["samples", "interpolation", "walk", "traversal", "mixing", "classes"] = "samples",
    n: PositiveInt | None = None,
    steps: PositiveInt | None = None,
    seed: NonNegativeInt = 0,
    out: Path | None = None,
    format: Literal["grid", "png", "npz", "gif", "webp", "txt"] | None = None,
    labels: Labels = None,
    text: Texts = None,
    prompt: str | None = None,
    model: Settings | None = None,
    psi: NonNegativeFloat | None = None,
    limit: PositiveFloat | None = None,
    crossover: PositiveInt | None = None,
    weights: Literal["ema", "raw"] = "ema",
    checkpoint: Literal["last", "best"] = "last",
) -> Path:
    """Draw samples, or show what latents mean, as one grid, as single pictures or as an array.

    Settings of a model's sampler are changed by words such as model.steps=10 of a diffusion model,
    or model.temperature=0.8 model.top_k=40 of a model of text.

    What else than samples there is depends on the model. Rows and samples count from zero:

    - interpolation: row i is the way from sample 2i to sample 2i + 1;
    - walk: row i is the way from sample i to the next, and the last comes back to the first;
    - traversal: one code of InfoGAN changes along a row, for n samples' noise and each code;
    - mixing: coarse styles of what begins the row, fine styles of what is above the column;
    - classes: row i is class i, of the same latents from row to row.

    Args:
        run: The run's folder.
        what: What to show.
        n: How many samples (64; 4 texts), or how many rows (8, or all classes).
        steps: Images in a row (10).
        seed: Seed of the latents; the first n of them are the same for every n and every run.
        out: File to write, or folder for format=png; by default named after what is shown.
        format: One grid, one PNG an image, or an .npz of uint8 images (points: float32) and labels,
            with latents, row, column and t (the share of the way) where these are known. A walk may
            be an animated gif or webp.
        labels: Comma-separated labels of a conditional model, repeated over the samples or the
            rows; a walk has one.
        text: The same of a model of captions: text="two red sevens,one green three".
        prompt: What a model of text goes on from.
        model: Settings of the sampler by name, see above.
        psi: Truncation of StyleGAN2: 1 changes nothing, 0 shows the mean alone.
        limit: The continuous codes of a traversal run from -limit to limit (1).
        crossover: How many layers of a mix are coarse (half of them).
        weights: The averaged weights, or those as trained.
        checkpoint: The newest, or the one with the best monitored score.

    Returns:
        What was written.
    """
    only = {
        "steps": (steps, TABLES),
        "limit": (limit, {"traversal"}),
        "crossover": (crossover, {"mixing"}),
        f"format={format}": (FILMS.get(format or ""), {"walk"}),
    }
    for key, (value, shown) in only.items():
        if value is not None and what not in shown:
            fix = f"leave it out, or what={' or what='.join(sorted(shown))}"
            raise ConfigError(f"what={what} does not take it", where=key, fix=fix)
    from contextlib import nullcontext

    from lightning_gen.callbacks.latent_pictures import TOOLS, Plan, aside
    from lightning_gen.callbacks.sample_grid import draw
    from lightning_gen.runs.load import load_run

    opened = load_run(run, checkpoint=checkpoint)
    network, mixture = opened.model, opened.data.mixture
    _check(opened, what, labels, text, psi, crossover)
    is_text = _check_text(opened, prompt, format)
    set_sampling(network, model)
    format = format or ("txt" if is_text else "grid")
    path = out or Path(what + ENDINGS[format])
    with nullcontext() if weights == "ema" else network.raw_weights():
        if is_text:
            _write_texts(path, format, opened, _texts(opened, prompt, n or 4, seed))
            return path
        cycle = _cycle(opened.data, labels, text, n or 64)
        if what not in TABLES:
            samples, asked = _samples(network, n or 64, seed, cycle, psi)
            centres = None if mixture is None else mixture[0]
            _write(path, format, samples, {"labels": asked}, lambda: draw(samples, centres=centres))
            return path
        plan = Plan(
            rows=n or {"classes": len(cycle)}.get(what, 8),
            columns=steps or 10,
            seed=seed,
            labels=cycle if network.requires_labels else None,
            psi=psi,
            limit=limit or 1.0,
            crossover=crossover,
        )
        with aside(seed, network.device):
            table = TOOLS[what].table(network, plan)
    arrays = {**table.arrays, "row": table.row, "column": table.column}
    _write(path, format, table.images, arrays, table.picture)
    return path


def _check(
    opened: "Opened",
    what: str,
    labels: list[int] | None,
    text: list[str] | None,
    psi: float | None,
    crossover: int | None,
) -> None:
    """Refuse what the model cannot do, naming what it can."""
    from lightning_gen.callbacks.latent_pictures import TOOLS

    model, classes = opened.model, opened.data.num_classes
    if labels is not None and not model.requires_labels:
        raise ConfigError("the run's model is not conditional", where="labels", fix="leave it out")
    captions = "captions" in opened.data.gives
    if captions and labels is not None:
        raise ConfigError("the run's model takes captions", where="labels", fix='text="..."')
    if text is not None and not captions:
        raise ConfigError("the run's model knows no words", where="text", fix="leave it out")
    if labels is not None and not all(0 <= label < classes for label in labels):
        raise ConfigError(f"labels must be in 0..{classes - 1}", where="labels", fix="labels=0,1,2")
    is_image, name = len(opened.data.shape) == 3, type(model).__name__
    known = ["samples", *(key for key, tool in TOOLS.items() if is_image and tool.suits(model))]
    if what not in known:
        lacks = f"{name} has {TOOLS[what].lacks}" if is_image else "the samples are no images"
        raise ConfigError(
            f"{lacks}; this run's model has what={', '.join(known)}",
            where=f"what={what}",
            fix=f"what={known[-1]}",
        )
    if psi is not None and "mixing" not in known:
        raise ConfigError(f"{name} has no truncation", where="psi", fix="leave it out")
    if crossover is not None and crossover > model.latent_layers:
        many = f"{crossover} layers of {model.latent_layers} cannot be coarse"
        raise ConfigError(many, where="crossover", fix=f"crossover={model.latent_layers}")
    if labels is not None and len(labels) > 1 and what in {"walk"}:
        raise ConfigError("a walk keeps to one class", where="labels", fix=f"labels={labels[0]}")
    if text is not None and len(text) > 1 and what in {"walk"}:
        raise ConfigError("a walk keeps to one caption", where="text", fix=f'text="{text[0]}"')


def _check_text(opened: "Opened", prompt: str | None, format: str | None) -> bool:
    """Whether the samples are texts; refuse what only texts have, or what they have not."""
    is_text = "text" in opened.data.gives
    if prompt is not None and not is_text:
        raise ConfigError("the run's model is not of text", where="prompt", fix="leave it out")
    if format in {"txt"} and not is_text:
        raise ConfigError("the samples are no texts", where="format=txt", fix="format=grid")
    if format not in {None, "txt", "grid", "npz"} and is_text:
        raise ConfigError("texts are no such pictures", where=f"format={format}", fix="format=txt")
    return is_text


def _texts(opened: "Opened", prompt: str | None, n: int, seed: int) -> "Tensor":
    """Draw n texts, tokens (n, t), on the CPU, the prompt among them."""
    import torch

    from lightning_gen.callbacks.latent_pictures import BLOCK, block_seed

    given, blocks = opened.data.ids(prompt or ""), []
    for start in range(0, n, BLOCK):
        generator = torch.Generator().manual_seed(block_seed(seed, start // BLOCK))
        blocks.append(opened.model.continue_from(given, BLOCK, generator=generator))
    return torch.cat(blocks)[:n].cpu()


def _write_texts(path: Path, format: str, opened: "Opened", tokens: "Tensor") -> None:
    """Write texts in one of their formats."""
    import numpy as np

    from lightning_gen.callbacks.pages import page, written
    from lightning_gen.runs import atomic

    texts, buffer = opened.data.texts(tokens), io.BytesIO()
    if format in {"npz"}:
        np.savez_compressed(buffer, tokens=tokens.numpy())
    elif format in {"grid"}:
        page(texts).save(buffer, "PNG")
    else:
        buffer.write(written(texts).encode())
    atomic.write(path, buffer.getvalue())


def _cycle(data: Any, labels: list[int] | None, text: list[str] | None, n: int) -> "Tensor":
    """Labels or captions (K, ...) that are asked for in turn: those given, else all or n."""
    import torch

    if text is not None:
        return torch.stack([data.ids(caption) for caption in text])
    if labels is not None:
        return torch.tensor(labels)
    conditions = data.conditions(data.num_classes or n)
    return torch.zeros(1, dtype=torch.long) if conditions is None else conditions


def _samples(
    model: Any, n: int, seed: int, cycle: "Tensor", psi: float | None
) -> tuple["Tensor", "Tensor"]:
    """Draw n samples on the CPU, and the labels they are asked for, which come in turn."""
    import torch
    from tqdm import tqdm

    from lightning_gen.callbacks.latent_pictures import BLOCK, block_seed

    blocks, asked = [], []
    options = {} if psi is None else {"psi": psi}
    for start in tqdm(range(0, n, BLOCK), "sampling", disable=n <= BLOCK, unit="block"):
        generator = torch.Generator().manual_seed(block_seed(seed, start // BLOCK))
        wanted = cycle[torch.arange(start, start + BLOCK) % len(cycle)]
        given = wanted if model.requires_labels else None
        blocks.append(model.sample(BLOCK, labels=given, generator=generator, **options))
        asked.append(wanted)
    return torch.cat(blocks)[:n].cpu(), torch.cat(asked)[:n]


def _write(
    path: Path,
    format: str,
    samples: "Tensor",
    arrays: dict[str, "Tensor"],
    picture: Callable[[], "Image"],
) -> None:
    """Write samples in one of the formats; those in ``arrays`` belong to them one by one."""
    import numpy as np
    import torch
    from tqdm import tqdm

    from lightning_gen.callbacks.sample_grid import to_bytes
    from lightning_gen.runs import atomic

    is_image = samples.ndim == 4
    array = (to_bytes(samples) if is_image else samples).numpy()
    buffer = io.BytesIO()
    if format == "grid":
        picture().save(buffer, "PNG")
        atomic.write(path, buffer.getvalue())
    elif format == "npz":
        others: dict[str, Any] = {name: values.numpy() for name, values in arrays.items()}
        np.savez_compressed(buffer, images=array, **others)
        atomic.write(path, buffer.getvalue())
    elif format in FILMS:
        first, *rest = _frames(samples)
        options = {"duration": MILLISECONDS, "loop": 0, **FILMS[format]}
        first.save(buffer, format, save_all=True, append_images=rest, **options)
        atomic.write(path, buffer.getvalue())
    elif is_image:
        from torchvision.io import encode_png

        with atomic.output_errors(path):
            path.mkdir(parents=True, exist_ok=True)
        for i, image in enumerate(
            tqdm(torch.from_numpy(array), "writing", disable=len(array) <= 64)
        ):
            atomic.write(path / f"{i:06d}.png", encode_png(image).numpy().tobytes())
    else:
        raise ConfigError("points are no pictures", where="format=png", fix="format=npz or grid")


def _frames(samples: "Tensor") -> list["Image"]:
    """Turn images into the frames of a film, small ones enlarged by a whole factor."""
    from PIL import Image

    from lightning_gen.callbacks.sample_grid import to_bytes

    height, width = samples.shape[2:]
    factor = -(-SIDE // min(height, width))
    pixels = to_bytes(samples).expand(-1, 3, -1, -1).permute(0, 2, 3, 1).contiguous().numpy()
    size = (width * factor, height * factor)
    return [Image.fromarray(x).resize(size, Image.Resampling.NEAREST) for x in pixels]


def main(argv: list[str]) -> int:
    """Run ``lightning-gen sample run=PATH``.

    Args:
        argv: Words after the verb.
    """
    if wants_help(sample, "sample", argv):
        return 0
    path = sample(**bind(sample, argv))
    if path.suffix in {".txt"}:
        print(path.read_text("utf-8"), end="")
    print(path)
    return 0
