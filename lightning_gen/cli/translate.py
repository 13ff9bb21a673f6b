"""Translate pictures by a run's model."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lightning_gen.cli.arguments import bind, wants_help
from lightning_gen.errors import ConfigError, DataError, OutputError
from lightning_gen.types import NonNegativeInt, PositiveInt

if TYPE_CHECKING:
    from torch import Tensor

    from lightning_gen.runs.load import Opened


def translate(
    run: Path,
    in_: Path,
    out: Path,
    to: str | None = None,
    size: PositiveInt | None = None,
    tile: PositiveInt | None = None,
    overlap: NonNegativeInt | None = None,
    on_error: Literal["stop", "skip"] = "stop",
    checkpoint: Literal["last", "best"] = "last",
) -> Path:
    """Translate a picture, or all pictures of a folder, each as large as it is.

    Pictures are written as PNG under the names they have. What a network needs in pixels is added
    at the lower and right edges as a reflection, and cut off again.

    Args:
        run: The run's folder.
        in_: A picture, or a folder of pictures at any depth.
        out: Folder for the translations; pictures of the same names are replaced.
        to: Domain they are translated to, where the model knows several: a or b, or a class or
            an attribute of the data.
        size: Cut the largest square from the middle and scale it to so many pixels first, as most
            data sets do.
        tile: Translate in tiles of so many pixels, for pictures that do not fit the memory; with
            instance norm a network sees each tile by itself, so its contrast may differ.
        overlap: Pixels shared by neighbouring tiles, over which they are blended (a quarter).
        on_error: Stop at a file that is no picture, or skip it and say so.
        checkpoint: The newest, or the one with the best monitored score.

    Returns:
        The folder of translations.
    """
    if overlap is not None and (tile is None or overlap >= tile):
        fix = "tile=256 overlap=64" if tile is None else f"overlap={tile // 4}"
        raise ConfigError("tiles overlap by less than their size", where="overlap", fix=fix)
    from lightning_gen.functional.tiling import padded, tiled
    from lightning_gen.runs.load import load_run

    pictures = list(_pictures(in_))
    if out.resolve() in {in_.resolve(), *(source.resolve() for source, _ in pictures)}:
        raise ConfigError("translations may not replace the pictures", where="out", fix="out=OTHER")
    opened = load_run(run, checkpoint=checkpoint)
    model, target = opened.model, _target(opened, to)

    def whole(x: "Tensor") -> "Tensor":
        return padded(lambda x: model.translate(x, target), x, model.multiple)

    def parts(x: "Tensor") -> "Tensor":
        assert tile is not None
        return tiled(whole, x, tile, tile // 4 if overlap is None else overlap)

    channels = _channels(opened, target)
    _write_all(pictures, out, parts if tile else whole, channels, size, on_error)
    return out


def _pictures(path: Path) -> Iterator[tuple[Path, str]]:
    """Each picture, and its name below the folder."""
    from lightning_gen.data.image_folder import list_pictures

    if path.is_file():
        yield path, path.name
        return
    if not path.is_dir():
        raise ConfigError("there is no such picture or folder", where=f"in={path}", fix="in=FOLDER")
    found = list_pictures(path)
    for name, why in found.refused.items():
        raise DataError(f"{name} {why}", where=path / name)
    if not found.pictures:
        raise DataError(f"no pictures in the folder ({found.ignored} other files)", where=path)
    yield from ((path / name, name) for name in found.pictures)


def _target(opened: "Opened", to: str | None) -> str:
    """The domain asked for, or the only one there is."""
    model = opened.model
    if not hasattr(model, "translate"):
        name = type(model).__name__
        raise ConfigError(f"{name} does not translate", where="run", fix="a run of model=cyclegan")
    known = ", ".join(model.targets)
    if to is None and len(model.targets) == 1:
        return model.targets[0]
    if to is None or to not in model.targets:
        what = f"the run's model translates to {known}"
        where = "to" if to is None else f"to={to}"
        raise ConfigError(what, where=where, fix=f"to={model.targets[0]}")
    return to


def _channels(opened: "Opened", to: str) -> int:
    """Channels of the pictures that are translated to a domain."""
    data = opened.data
    return data.shape_a[0] if "pairs" in data.gives and to in {"b"} else data.shape[0]


def _write_all(
    pictures: list[tuple[Path, str]],
    out: Path,
    function: "Callable[[Tensor], Tensor]",
    channels: int,
    size: int | None,
    on_error: str,
) -> None:
    """Read, translate and write one picture after the other."""
    import sys

    import torch
    from torchvision.io import encode_png
    from tqdm import tqdm

    from lightning_gen.callbacks.sample_grid import to_bytes
    from lightning_gen.data.pictures import BadPicture, Policy, decode
    from lightning_gen.runs import atomic

    policy = Policy(channels, size or 0, "convert", "center_crop" if size else "keep")
    for source, name in tqdm(pictures, "translating", disable=len(pictures) < 2, unit="picture"):
        try:
            array = decode(source, policy)
        except BadPicture as error:
            if on_error in {"stop"}:
                raise DataError(str(error), where=source, fix="on_error=skip") from error
            tqdm.write(f"lightning_gen: skipped {source}: {error}", file=sys.stderr)
            continue
        x = torch.tensor(array).float().div(127.5).sub(1)[None]
        try:
            y = function(x)[0]
        except RuntimeError as error:
            shape = f"{x.shape[3]} x {x.shape[2]}"
            what = f"the network cannot take a picture of {shape} pixels: {error}"
            raise OutputError(
                what, where=source, fix="size= of the run's data, or tile="
            ) from error
        target = (out / name).with_suffix(".png")
        with atomic.output_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
        atomic.write(target, encode_png(to_bytes(y)).numpy().tobytes())


def main(argv: list[str]) -> int:
    """Run ``lightning-gen translate run=PATH in=FOLDER out=FOLDER``.

    Args:
        argv: Words after the verb.
    """
    if wants_help(translate, "translate", argv):
        return 0
    print(translate(**bind(translate, argv)))
    return 0
