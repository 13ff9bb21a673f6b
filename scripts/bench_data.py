"""Images per second of the training stream over torchvision's MNIST with ToTensor and DataLoader.

    python scripts/bench_data.py [data=DIR] [cache=DIR] [batch=128] [seconds=1] [rounds=5] [out=F]

Both give shuffled float batches on the CPU, in one process with one thread, in turns of equal time;
a rate is the median over the rounds. torchvision runs with 0 and with 2 worker processes (kept
alive, warmed up), and the better of the two counts. The goal is a ratio of at least 10.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import torch
from platformdirs import user_cache_dir
from torch.utils.data import DataLoader
from torchvision import datasets, transforms
from tqdm import tqdm

from lightning_gen.cli.arguments import bind
from lightning_gen.data.mnist import FILES, MNIST, to_idx
from lightning_gen.data.module import StreamLoader
from lightning_gen.errors import LightningGenError
from lightning_gen.types import PositiveFloat, PositiveInt


def main(
    *,
    data: str = "data",
    cache: str = user_cache_dir("lightning_gen"),
    batch: PositiveInt = 128,
    seconds: PositiveFloat = 1.0,
    rounds: PositiveInt = 5,
    out: Path | None = None,
) -> dict[str, Any]:
    """Measure, print and return the rates."""
    torch.set_num_threads(1)
    ours = MNIST(data, cache, batch_size=batch)
    ours.prepare_data()
    ours.setup()
    with tempfile.TemporaryDirectory() as root:
        rivals = {
            f"torchvision, {w} workers": torchvision_epochs(ours, root, batch, w) for w in (0, 2)
        }
        sources = {"lightning_gen": stream(ours), **rivals}
        for batches in sources.values():  # Start workers, fill caches.
            rate(batches, seconds)
        turns = tqdm(range(rounds), "rounds", file=sys.stderr)
        taken = [{name: rate(batches, seconds) for name, batches in sources.items()} for _ in turns]
        for batches in rivals.values():
            batches.close()
    rates = {name: statistics.median(turn[name] for turn in taken) for name in sources}
    best = max(rates[name] for name in rivals)
    result = {
        "images_per_second": rates,
        "ratio": rates["lightning_gen"] / best,
        "batch": batch,
        "seconds": seconds,
        "rounds": rounds,
        "torch": torch.__version__,
    }
    for name, value in rates.items():
        print(f"{name:24} {value:12,.0f} images/s")
    print(f"{'ratio':24} {result['ratio']:12.1f}")
    if out is not None:
        out.write_text(json.dumps(result, indent=1))
    return result


def stream(data: MNIST) -> Iterator[torch.Tensor]:
    """Batches of the training stream, as floats."""
    dataset = data._set("train")
    loader = StreamLoader(dataset, batch_size=data.batch_size, stop=10**9)
    for batch in loader:
        yield data.on_after_batch_transfer(batch).image


def torchvision_epochs(
    data: MNIST, root: str, batch: int, workers: int
) -> Generator[torch.Tensor, None, None]:
    """Batches of torchvision's MNIST, epoch after epoch."""
    raw = Path(root, "MNIST", "raw")
    raw.mkdir(parents=True, exist_ok=True)
    arrays = [
        data.prepared.array(f"{s}_{k}") for s in ("train", "test") for k in ("image", "label")
    ]
    for name, array in zip(FILES, arrays, strict=True):
        (raw / name).write_bytes(to_idx(array.squeeze().astype("uint8")))
    digits = datasets.MNIST(root, transform=transforms.ToTensor())
    loader = DataLoader(
        digits, batch, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )
    while True:
        for image, _ in loader:
            yield image


def rate(batches: Iterator[torch.Tensor], seconds: float) -> float:
    """Images per second over so many seconds."""
    seen, start = 0, time.perf_counter()
    while (taken := time.perf_counter() - start) < seconds:
        seen += len(next(batches))
    return seen / taken


if __name__ == "__main__":
    try:
        main(**bind(main, sys.argv[1:]))
    except LightningGenError as error:
        sys.exit(str(error))
