"""Time to prepare faces of CelebA's shape over an epoch of torchvision's ImageFolder on them.

    python scripts/bench_celeba.py [n=20000] [resolution=64] [crop=148] [rounds=3] [out=FILE]

Both read the same drawn JPEGs of 178 x 218 pixels, crop the middle and scale it by Lanczos' filter,
in as many processes as there are cores: here once and for all, into arrays on the disk with their
checksums; there for one epoch of float batches from a DataLoader. They take turns; a rate is the
median over the rounds. The goal is a ratio of at least 1: preparation pays within one epoch.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1]))  # for tests/

from lightning_gen.cli.arguments import bind
from lightning_gen.errors import LightningGenError
from lightning_gen.types import PositiveInt
from tests.data.faces import draw_celeba

# torch is imported where it is used: the processes that decode import this file, and need none.


def main(
    *,
    n: PositiveInt = 20_000,
    resolution: PositiveInt = 64,
    crop: PositiveInt = 148,
    batch: PositiveInt = 128,
    rounds: PositiveInt = 3,
    out: Path | None = None,
) -> dict[str, Any]:
    """Measure, print and return the rates."""
    import torch
    import torchvision

    from lightning_gen.data.pictures import _cores

    workers, taken = _cores(), []
    with tempfile.TemporaryDirectory() as root:
        source = Path(root, "source")
        draw_celeba(source, n, progress=lambda numbers: tqdm(numbers, "drawing"))
        pictures = [file.stat().st_size for file in (source / "img_align_celeba").iterdir()]
        for _ in tqdm(range(rounds), "rounds", file=sys.stderr):
            ours = prepare(root, source, resolution, crop)
            theirs = epoch(source, resolution, crop, batch, workers)
            taken.append({"lightning_gen": ours, "torchvision": theirs})
    seconds = {name: statistics.median(turn[name] for turn in taken) for name in taken[0]}
    result = {
        "images_per_second": {name: n / value for name, value in seconds.items()},
        "ratio": seconds["torchvision"] / seconds["lightning_gen"],
        "n": n,
        "bytes_per_picture": statistics.mean(pictures),
        "resolution": resolution,
        "crop": crop,
        "batch": batch,
        "workers": workers,
        "rounds": rounds,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
    }
    for name, value in seconds.items():
        print(f"{name:24} {n / value:12,.0f} images/s {value:8.1f} s")
    print(f"{'ratio':24} {result['ratio']:12.2f}")
    if out is not None:
        out.write_text(json.dumps(result, indent=1))
    return result


def prepare(root: str, source: Path, resolution: int, crop: int) -> float:
    """Seconds until the arrays are on the disk, made anew."""
    from lightning_gen.data.celeba import CelebA

    data = CelebA(root, root, folder=str(source), batch_size=1, resolution=resolution, crop=crop)
    start = time.perf_counter()
    data.prepare_data(fresh=True)
    return time.perf_counter() - start


def epoch(source: Path, resolution: int, crop: int, batch: int, workers: int) -> float:
    """Seconds of an epoch of torchvision's ImageFolder, the start of its workers included."""
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    steps = [
        transforms.CenterCrop(crop),
        transforms.Resize(resolution, transforms.InterpolationMode.LANCZOS),
        transforms.ToTensor(),
    ]
    start = time.perf_counter()
    pictures = ImageFolder(str(source), transforms.Compose(steps))
    loader = DataLoader(pictures, batch, shuffle=True, num_workers=workers)
    seen = sum(len(image) for image, _ in tqdm(loader, "torchvision", leave=False))
    assert seen == len(pictures)
    return time.perf_counter() - start


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        main(**bind(main, sys.argv[1:]))
    except LightningGenError as error:
        sys.exit(str(error))
