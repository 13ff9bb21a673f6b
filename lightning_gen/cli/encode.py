"""Show the codes that a run's model makes of real images, and what comes back of them."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lightning_gen.cli.arguments import bind, wants_help
from lightning_gen.errors import ConfigError
from lightning_gen.types import PositiveInt

if TYPE_CHECKING:
    from torch import Tensor

    from lightning_gen.runs.load import Opened

NEEDS = {
    "codes": ("encode",),
    "map": ("encode",),
    "reconstructions": ("reconstruct",),
    "arithmetic": ("encode", "decode"),
}


def encode(
    run: Path,
    what: Literal["codes", "reconstructions", "map", "arithmetic"] = "codes",
    n: PositiveInt | None = None,
    split: str = "test",
    method: Literal["codes", "pca", "tsne"] | None = None,
    a: str | None = None,
    b: str | None = None,
    out: Path | None = None,
    checkpoint: Literal["last", "best"] = "last",
) -> Path:
    """Encode real images, and show their codes or what comes back of them.

    - codes: an .npz of codes and labels, in the order of the split;
    - reconstructions: rows of images, corrupted where the model corrupts, and what comes back;
    - map: the codes as points in two dimensions, coloured by label;
    - arithmetic: each row begins with an image of class a, to whose code a growing share of the
      difference between the mean codes of b and a is added.

    Args:
        run: The run's folder.
        what: What to show.
        n: How many images (codes: all; map: 2000; reconstructions: 32; arithmetic: 8).
        split: Split of the images.
        method: A map shows two-dimensional codes as they are, others by pca or tsne.
        a: Class or attribute of the images; without it they are all that are not b.
        b: Class or attribute that they are moved to, e.g. 8, or Smiling.
        out: File to write; by default named after what is shown.
        checkpoint: The newest, or the one with the best monitored score.

    Returns:
        What was written.
    """
    only = {"method": (method, "map"), "a": (a, "arithmetic"), "b": (b, "arithmetic")}
    for key, (value, shown) in only.items():
        if value is not None and what != shown:
            fix = f"leave it out, or what={shown}"
            raise ConfigError(f"what={what} does not take it", where=key, fix=fix)
    if what in {"arithmetic"} and b is None:
        raise ConfigError("arithmetic leads to a class or an attribute", where="b", fix="a=3 b=8")
    from lightning_gen.runs import atomic
    from lightning_gen.runs.load import load_run

    opened = load_run(run, checkpoint=checkpoint)
    _check(opened, what)
    path = out or Path(f"{what}.npz" if what == "codes" else f"{what}.png")
    if what == "codes":
        made = _codes(opened, n, split)
    elif what == "map":
        made = _map(opened, n or 2000, split, method)
    else:
        made = _grid(opened, n or {"arithmetic": 8}.get(what, 32), split, a, b)
    atomic.write(path, made)
    return path


def _check(opened: "Opened", what: str) -> None:
    """Refuse what the model lacks, naming what it can."""
    model, is_image = opened.model, len(opened.data.shape) == 3

    def lacks(shown: str) -> list[str]:
        return [name for name in NEEDS[shown] if not hasattr(model, name)]

    name = type(model).__name__
    if hasattr(model, "translate"):
        raise ConfigError(f"{name} translates", where="run", fix="lightning-gen translate")
    if not is_image and what in {"reconstructions", "arithmetic"}:
        raise ConfigError("points are no pictures", where=f"what={what}", fix="what=map")
    if lacks(what):
        known = [shown for shown in NEEDS if not lacks(shown)]
        methods = ", ".join(f"{method}()" for method in lacks(what))
        fix = f"what={known[0]}" if known else "a run of model=vae"
        raise ConfigError(f"{name} has no {methods}", where=f"what={what}", fix=fix)


def _read(opened: "Opened", split: str, n: int | None) -> tuple["Tensor", "Tensor | None"]:
    """Codes of the first n images, and their labels."""
    import torch

    from lightning_gen.callbacks.reconstructions import read

    size = opened.data.size(split)
    return read(opened.model, opened.data, split, torch.arange(min(n or size, size)))


def _codes(opened: "Opened", n: int | None, split: str) -> bytes:
    """An archive of codes and labels."""
    import numpy as np

    codes, labels = _read(opened, split, n)
    arrays: dict[str, Any] = {"codes": codes.numpy()}
    if labels is not None:
        arrays["labels"] = labels.numpy()
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def _map(opened: "Opened", n: int, split: str, method: str | None) -> bytes:
    """A picture of the codes."""
    from lightning_gen.callbacks.reconstructions import latent_map

    codes, labels = _read(opened, split, n)
    d = codes[0].numel()
    if method in {"codes"} and d > 2:
        what = f"codes of {d} dimensions do not lie in a plane"
        raise ConfigError(what, where="method", fix="method=pca")
    if len(codes) < 3:
        raise ConfigError("a map has three points or more", where="n", fix="n=2000")
    return _png(latent_map(codes, labels, method or ("codes" if d <= 2 else "pca")))


def _grid(opened: "Opened", n: int, split: str, a: str | None, b: str | None) -> bytes:
    """Rows of images."""
    from lightning_gen.callbacks.reconstructions import arithmetic_rows, reconstruction_rows
    from lightning_gen.callbacks.sample_grid import draw

    if b is None:
        rows = reconstruction_rows(opened.model, opened.data, n, min(n, 8), split)
    else:
        rows = arithmetic_rows(opened.model, opened.data, n, a, b, split=split)
    return _png(draw(*rows))


def _png(image: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def main(argv: list[str]) -> int:
    """Run ``lightning-gen encode run=PATH``.

    Args:
        argv: Words after the verb.
    """
    if wants_help(encode, "encode", argv):
        return 0
    print(encode(**bind(encode, argv)))
    return 0
