"""Images per second of `lightning-gen train` over a hand-written loop with the same networks.

Both train the DCGAN of experiments/dcgan_mnist.yaml in one process, in turns, on the same bytes
with the same precision, optimisers and moving average. The framework runs with its default
callbacks; the time of its evaluations, sample grids and checkpoints is left out and printed as a
share. Usage: python scripts/bench_training.py [images=N] [rounds=N] [OVERRIDE...]
"""

import statistics
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.nn.functional import softplus

from lightning_gen.callbacks.base import RunCallback
from lightning_gen.config.compose import check_overrides
from lightning_gen.runs import session
from lightning_gen.runs.atomic import write_json

WARM_UP = 8  # iterations


class Watch(pl.Callback):
    """Time of the training loop from the end of the warm-up to the last step."""

    def __init__(self) -> None:
        self.start = self.end = self.paused = 0.0

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
        """Note the time."""
        self.end = time.perf_counter()
        callbacks = (c for c in trainer.callbacks if isinstance(c, RunCallback))
        self.paused = sum(c.paused for c in callbacks)
        if pl_module.iteration == WARM_UP:
            self.start, self.paused_before = self.end, self.paused


def framework(config: dict) -> tuple[float, float]:
    """Train with the framework.

    Returns:
        Images per second between evaluations, and the share of time in them.
    """
    watch = Watch()
    build = session.build_trainer

    def watched(config: dict, callbacks: list, *args: Any) -> pl.Trainer:
        return build(config, [*callbacks, watch], *args)

    with tempfile.TemporaryDirectory() as folder:
        session.build_trainer = watched
        try:
            session.train(config | {"paths": config["paths"] | {"runs": folder}}, command=sys.argv)
        finally:
            session.build_trainer = build
    seconds = watch.end - watch.start
    paused = watch.paused - watch.paused_before
    images = config["budget"]["images"] // config["data"]["batch_size"] - WARM_UP
    return images * config["data"]["batch_size"] / (seconds - paused), paused / seconds


def by_hand(config: dict) -> float:
    """Train with a loop as one writes it for oneself, and give its images per second."""
    data, model = session.build_data(config), session.build_model(config)
    G, D, average = model.G, model.D, model.G_ema
    (opt_D, opt_G), _ = model.configure_optimizers()
    batch, iterations = data.batch_size, config["budget"]["images"] // data.batch_size
    images = torch.from_numpy(data._set("train").images[:])
    half = config["trainer"]["precision"] == "bf16-mixed"
    precision = (lambda: torch.autocast("cpu", torch.bfloat16)) if half else nullcontext
    start = 0.0
    for i in range(iterations):
        x = images[torch.randint(len(images), (batch,))].float().div_(127.5).sub_(1)
        with precision():
            fake = G(torch.rand(batch, model.latent_dim) * 2 - 1)
            loss = softplus(-D(x).float()).mean() + softplus(D(fake.detach()).float()).mean()
        opt_D.zero_grad()
        loss.backward()
        opt_D.step()
        with precision():
            loss = softplus(-D(fake).float()).mean()
        opt_G.zero_grad()
        loss.backward()
        opt_G.step()
        average.update(G, images=batch, images_seen=(i + 1) * batch)
        if i + 1 == WARM_UP:
            start = time.perf_counter()
    return (iterations - WARM_UP) * batch / (time.perf_counter() - start)


def main(argv: list[str]) -> None:
    """Run both in turns and print the ratio."""
    own = dict(word.split("=") for word in argv if word.startswith(("images=", "rounds=", "out=")))
    rest = [w for w in argv if w.partition("=")[0] not in own]
    budget = f"budget.images={own.get('images', 40_000)}"
    config = check_overrides(["experiment=dcgan_mnist", "trainer=cpu", budget, *rest])
    rows = []
    for _ in range(int(own.get("rounds", 3))):
        hand = by_hand(config)
        ours, share = framework(config)
        rows.append({"by_hand": hand, "framework": ours, "ratio": ours / hand, "paused": share})
        print(
            f"by hand {hand:7.0f} img/s   framework {ours:7.0f} img/s   ratio {ours / hand:.3f}   "
            f"evaluation, grids and checkpoints {share:.1%} of the time",
            flush=True,
        )
    ratio = statistics.median(row["ratio"] for row in rows)
    print(f"median ratio {ratio:.3f} on {torch.get_num_threads()} threads")
    if "out" in own:
        write_json(Path(own["out"]), {"median_ratio": ratio, "rounds": rows})


if __name__ == "__main__":
    main(sys.argv[1:])
