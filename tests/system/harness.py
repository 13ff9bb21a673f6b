"""Real training processes that start fast: forked from a server that has imported everything."""

import json
import multiprocessing
import os
import signal
import sys
from functools import cache
from pathlib import Path

import torch

from lightning_gen.config.compose import check_overrides
from tests.suited import data_of, translates, words_of

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["lightning_gen.runs.session", "lightning_gen.metrics.evaluator", "scipy.linalg"]
)
TINY = [
    "logger=none",
    "trainer.accelerator=cpu",
    "trainer.devices=1",
    "trainer.threads=1",
    "data.batch_size=16",
    "callbacks.progress=null",
    "callbacks.history.every_images=16",
]
SMALL = {
    **{"width": 4, "n_critic": 2, "unroll": 2, "phase_images": 32, "blocks": 1},
    **{"sweeps": 2, "temperatures": 50, "importance_samples": 3, "autoencoder_images": 64},
    **dict.fromkeys(["units", "x_units", "y_units", "z_units", "q_units", "hidden"], 16),
    **{"layers": 2, "steps": 4, "pair_steps": 2, "reflow_images": 64, "last_levels": 20},
    **dict.fromkeys(["growth", "patches", "source_images"], 16),
    **dict.fromkeys(["embeddings", "components", "topics", "pseudo_inputs"], 16),
}  # at most


@cache
def sizes(model):
    """The values of a model's configuration that make it small."""

    def visit(node, key):
        for name, value in node.items():
            if isinstance(value, dict):
                yield from visit(value, f"{key}.{name}")
            elif isinstance(value, list) and name in SMALL:
                yield f"{key}.{name}", f"[{','.join([str(SMALL[name])] * len(value))}]"
            elif name in SMALL and value > SMALL[name]:
                yield f"{key}.{name}", SMALL[name]

    chosen = [f"model={model}", *words_of(model)]
    return dict(visit(check_overrides(chosen)["model"], "model"))


def tiny(model, folder, data_root, iterations=9, n=None, **options):
    """Overrides of a run of a few steps, with two evaluations of n samples and two checkpoints."""
    per_step = 16 * sizes(model).get("model.n_critic", 1)
    # FID needs more images than the classifier has features, 128 for each channel.
    grey = data_of(model) in {"mnist", "digits"}
    few, metrics = (192, "fid,modes") if grey else (64, "modes")
    n = n or few
    return [
        *TINY,
        *(f"{k}={v}" for k, v in sizes(model).items()),
        f"model={model}",
        *words_of(model),
        f"paths.data={data_root}",
        f"paths.cache={data_root}/cache",
        f"paths.runs={folder}",
        f"budget.images={iterations * per_step}",
        f"callbacks.scores.every_images={4 * per_step}",
        f"callbacks.scores.n_fake={n}",
        f"callbacks.scores.final_n_fake={n}",
        f"metrics.{'n' if translates(model) else 'n_real'}={n}",
        *([] if data_of(model) in {"text"} else [f"metrics.metrics=[{metrics}]"]),
        f"callbacks.sample_grid.every_images={4 * per_step}",
        f"callbacks.checkpoint.every_images={3 * per_step}",
        *(f"{k}={v}" for k, v in options.items()),
    ]


def _run(overrides, die, environment):
    """In the child: train, and die by SIGKILL at the n-th call of a function."""
    os.environ.update(environment)
    if die is not None:
        module, owner, name, count, after = die
        __import__(module)
        target = sys.modules[module]
        for part in filter(None, owner.split(".")):
            target = getattr(target, part)
        original, calls = getattr(target, name), [0]

        def killer(*args, **kwargs):
            calls[0] += 1
            if calls[0] == count and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = original(*args, **kwargs)
            if calls[0] == count:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(target, name, killer)
    from lightning_gen.cli import main

    sys.exit(main(["train", *overrides]))


def train(overrides, die=None, environment=None, timeout=300):
    """Train in a process of its own and give its exit code.

    Args:
        overrides: Of ``lightning-gen train``.
        die: (module, owner, function, n, after): kill before or after its n-th call.
        environment: Added to the child's.
        timeout: Seconds after which the test fails.
    """
    process = CONTEXT.Process(target=_run, args=(overrides, die, environment or {}))
    process.start()
    process.join(timeout)
    if process.is_alive():
        process.kill()
        raise TimeoutError(f"no end of {overrides}")
    return process.exitcode


def only_run(folder):
    """The one run below a folder of runs."""
    (config,) = Path(folder).glob("*/*/config.yaml")
    return config.parent


def outcome(run):
    """Everything of a finished run that must not depend on how often it was interrupted."""
    newest = sorted((run / "checkpoints").glob("*.ckpt"))[-1]
    payload = torch.load(newest, weights_only=True)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {
        "tensors": dict(_flat({k: payload[k] for k in ("model", "optimizers", "schedules")})),
        "time": (payload["iteration"], payload["images_seen"]),
        "history": [row for row in rows if row["kind"] not in {"system"}],
        "scores": json.loads((run / "scores.json").read_text()),
        "samples": {p.name: p.read_bytes() for p in sorted((run / "samples").glob("*.png"))},
        "state": json.loads((run / "status.json").read_text())["state"],
    }


def _flat(value, key=""):
    if isinstance(value, dict):
        for k, v in value.items():
            yield from _flat(v, f"{key}.{k}")
    elif isinstance(value, (list, tuple)):
        for i, v in enumerate(value):
            yield from _flat(v, f"{key}.{i}")
    else:
        yield key, value


def assert_same(a, b):
    """Assert bitwise equality of two outcomes, naming what differs."""
    assert a["tensors"].keys() == b["tensors"].keys()
    for key, value in a["tensors"].items():
        other = b["tensors"][key]
        same = torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other
        assert same, key
    for key in ("time", "history", "scores", "state"):
        assert a[key] == b[key], key
    assert a["samples"].keys() == b["samples"].keys()
    assert a["samples"] == b["samples"]
