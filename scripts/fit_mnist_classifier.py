"""Fit the MNIST classifier that ``lightning_gen.metrics`` ships as an extractor.

    python scripts/fit_mnist_classifier.py            # 5 to 8 minutes on a CPU

It learns the 60,000 training digits under small affine maps, and, on a quarter as many images that
are no digits (noise, shuffled pixels, blurs), to be undecided: a classifier that is sure of noise
would find modes in it. The weights and a card (accuracy, hash, command, versions) go to
``lightning_gen/metrics/weights``.
"""

import argparse
import hashlib
import json
import math
import platform
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from lightning_gen.data.mnist import MNIST
from lightning_gen.errors import MetricError
from lightning_gen.metrics.extractors import MNIST_WEIGHTS, MNISTNet


def affine(x: Tensor) -> Tensor:
    """Rotate (12 degrees), scale (10 %), shear (.15) and shift (2 pixels) each image at random."""
    angle, shear, scale_x, scale_y = torch.empty(4, len(x)).uniform_(-1, 1)
    angle, shear = angle * math.radians(12), shear * 0.15
    scale_x, scale_y = 1 + 0.1 * scale_x, 1 + 0.1 * scale_y
    theta = torch.stack(
        [
            *(angle.cos() * scale_x, (shear - angle.sin()) * scale_y),
            torch.empty(len(x)).uniform_(-4 / 28, 4 / 28),
            *(angle.sin() * scale_x, angle.cos() * scale_y),
            torch.empty(len(x)).uniform_(-4 / 28, 4 / 28),
        ],
        dim=1,
    ).view(-1, 2, 3)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x + 1, grid, align_corners=False) - 1  # outside is black


def no_digits(x: Tensor) -> Tensor:
    """Turn images into uniform noise, their own pixels shuffled, smooth noise and heavy blurs."""
    shuffled, smooth, blurred, noise = x.clone().tensor_split(4)
    order = torch.randperm(shuffled[0].numel())
    shuffled = shuffled.flatten(1)[:, order].view_as(shuffled)
    coarse = torch.empty(len(smooth), 1, 7, 7).uniform_(-1, 1)
    smooth = F.interpolate(coarse, size=x.shape[-1], mode="bilinear")
    blurred = F.interpolate(F.adaptive_avg_pool2d(blurred, 3), size=x.shape[-1], mode="bilinear")
    noise = torch.empty_like(noise).uniform_(-1, 1)
    return torch.cat([shuffled, smooth, blurred, noise])


def fit(x: Tensor, y: Tensor, *, epochs: int, batch_size: int, lr: float, seed: int) -> MNISTNet:
    """Train on images (N, 1, 28, 28) in [-1, 1] with labels (N,), by Adam and a one-cycle rate."""
    torch.manual_seed(seed)
    net = MNISTNet().to(memory_format=torch.channels_last)
    steps = epochs * (len(x) // batch_size)
    optimizer = torch.optim.AdamW(net.parameters(), lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    bar = tqdm(total=steps, desc="fit")
    for _ in range(epochs):
        for index in torch.randperm(len(x)).split(batch_size)[: len(x) // batch_size]:
            images = torch.cat([affine(x[index]), no_digits(x[index[: batch_size // 4]])])
            with torch.autocast("cpu", torch.bfloat16):
                logits = net(images.to(memory_format=torch.channels_last)).logits
            log_p = logits.float().log_softmax(1)
            loss = F.nll_loss(log_p[:batch_size], y[index]) - 0.1 * log_p[batch_size:].mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            bar.update()
    return net.eval()


@torch.no_grad()
def accuracy(net: MNISTNet, x: Tensor, y: Tensor) -> float:
    """Share of images whose largest logit is their label's."""
    hits = [
        (net(a).logits.argmax(1) == b).sum()
        for a, b in zip(x.split(500), y.split(500), strict=True)
    ]
    return int(sum(hits)) / len(y)


def main() -> None:
    """Fit, measure on the test split, and write the weights with their card."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", default="data", help="folder of the prepared data sets")
    parser.add_argument("--cache", default="data/cache", help="folder for downloads")
    parser.add_argument("--out", type=Path, default=MNIST_WEIGHTS)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    data = MNIST(args.data, args.cache, batch_size=args.batch_size)
    data.prepare_data()
    data.setup("fit")
    train, test = data.real("train"), data.real("test")
    settings = {k: v for k, v in vars(args).items() if k not in {"data", "cache", "out"}}
    net = fit(train.image, train.label, **settings)
    score = accuracy(net, test.image, test.label)
    if score < 0.993:
        raise MetricError(f"test accuracy {score:.4f} < 0.993", fix="train for more --epochs")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, args.out)
    card = {
        "file": args.out.name,
        "sha256": hashlib.sha256(args.out.read_bytes()).hexdigest(),
        "bytes": args.out.stat().st_size,
        "test_accuracy": score,
        "data_fingerprint": data.fingerprint,
        "command": "python scripts/fit_mnist_classifier.py",
        **settings,
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    args.out.with_suffix(".json").write_text(json.dumps(card, indent=2) + "\n")
    print(f"test accuracy {score:.4f}: {args.out}")


if __name__ == "__main__":
    main()
