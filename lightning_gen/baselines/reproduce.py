"""Run a baseline with its seeds and score it under exactly the paper's protocol."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lightning_gen.baselines.registry import Baseline
from lightning_gen.baselines.results import SeedResult
from lightning_gen.baselines.verdict import mismatch
from lightning_gen.config.compose import check_overrides, compose_data, compose_group, instantiate
from lightning_gen.config.paper import Paper
from lightning_gen.errors import (
    ConfigError,
    DataError,
    Interrupted,
    LightningGenError,
    Preempted,
)
from lightning_gen.metrics.protocol import Score
from lightning_gen.runs import child, identity, provenance
from lightning_gen.runs.run import Run

ALLOWED = ("trainer", "paths", "logger", "budget", "data.resident", "callbacks.progress")
KEPT = ("python", "platform", "cpus", "device", "versions")
PICTURES = ("samples", "reconstructions")
STOPPED: dict[int, type[LightningGenError]] = {75: Preempted, 130: Interrupted}


def check(baseline: Baseline, overrides: Sequence[str]) -> None:
    """Check all that can be checked before anything starts.

    Args:
        baseline: What is to be reproduced.
        overrides: Hydra's words.

    Raises:
        ConfigError: If an override changes what the recipe is, or a configuration is wrong.
    """
    for word in overrides:
        key = word.partition("=")[0].lstrip("+~")
        if not identity.covers(ALLOWED, key):
            raise ConfigError(
                f"{word!r} would change the recipe",
                where=baseline.name,
                fix=f"only {', '.join(ALLOWED)} may be set; lightning-gen train for anything else",
            )
    if baseline.check is None:
        check_overrides(_words(baseline, overrides, 0))
    elif baseline.data is not None:
        compose_data(baseline.data, _paths(overrides))


def run(
    baseline: Baseline, overrides: Sequence[str], seeds: Sequence[int] | None = None
) -> Iterator[SeedResult]:
    """Run the seeds one after another; finished runs are only scored.

    Args:
        baseline: What is to be reproduced.
        overrides: Hydra's words.
        seeds: Seeds in place of the baseline's own.

    Yields:
        What each seed came to, also when that is a failure.

    Raises:
        Preempted: A signal came; the same command continues.
        Interrupted: Ctrl-C, likewise.
    """
    one = _recipe if baseline.check is None else _known
    for seed in seeds or (baseline.paper.seeds if baseline.paper else [0]):
        try:
            yield one(baseline, overrides, seed)
        except DataError as error:
            yield SeedResult(seed, missing=_sentence(error), time=provenance.now())
        except (Preempted, Interrupted):
            raise
        except LightningGenError as error:
            yield SeedResult(seed, failed=_sentence(error), time=provenance.now())


def _known(baseline: Baseline, overrides: Sequence[str], seed: int) -> SeedResult:
    """Run a check in this process."""
    import torch

    assert baseline.check is not None
    about = {**provenance.describe([], "cpu"), "device": "1 x CPU"}
    data = _data(compose_data(baseline.data, _paths(overrides))) if baseline.data else None
    check = instantiate(baseline.check)
    started = time.perf_counter()
    scores = check(data, seed=seed, progress=True)
    return SeedResult(
        seed,
        [score.to_json() for score in scores],
        minutes=(time.perf_counter() - started) / 60,
        commit=_commit(about),
        machine=_machine(about, torch.get_num_threads()),
        time=about["time"],
    )


def _recipe(baseline: Baseline, overrides: Sequence[str], seed: int) -> SeedResult:
    """Train in a process of its own, unless the run is finished, and score."""
    words = _words(baseline, overrides, seed)
    config = check_overrides(words)
    path = identity.run_path(config)
    if not _finished(path, config["budget"]["images"]):
        _data(config["data"])
        code = child.call(["train", *words])
        if code in STOPPED:
            fix = "the same command continues"
            raise STOPPED[code](f"{baseline.name}, seed {seed} was stopped", where=path, fix=fix)
        if code:
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            reason = Run.read(path).status.get("reason") if (path / "config.yaml").exists() else ""
            raise LightningGenError(f"training ended with {how}: {reason or 'see above'}")
    opened = Run.read(path)
    costs = [row["values"] for row in opened.history(["system"])]
    hours = costs[-1].get("device_hours") if costs else None
    memory = [cost["peak_memory_bytes"] for cost in costs if cost.get("peak_memory_bytes")]
    scores = [Score.from_json(score) for score in opened.last_scores()["scores"]]
    if baseline.paper is not None:
        scores += measure(path, baseline.paper, scores)
    return SeedResult(
        seed,
        [score.to_json() for score in scores],
        images_seen=opened.status["images_seen"],
        minutes=None if hours is None else 60 * hours,
        peak_memory_gib=max(memory) / 2**30 if memory else None,
        commit=_commit(opened.provenance),
        machine=_machine(opened.provenance, opened.config["trainer"]["threads"]),
        alerts=[title for title, _, _ in opened.alerts()],
        time=opened.provenance["time"],
    )


def measure(run: Path, paper: Paper, known: Sequence[Score]) -> list[Score]:
    """Measure what a paper reports, as it does, as far as the run has not been measured so yet.

    Args:
        run: Folder of a finished run.
        paper: What is reported, and how it was measured.
        known: The scores that there are.
    """
    open_plans: dict[tuple[Any, ...], None] = {}
    for result in paper.numbers:
        fixed = paper.measurement(result)
        same = [s for s in known if s.metric == result.metric and not mismatch(s, fixed)]
        if not same:
            open_plans[tuple(fixed.get(name) for name in ("n_fake", "split", "weights"))] = None
    if not open_plans:
        return []
    from lightning_gen.metrics.suited import Suited
    from lightning_gen.runs.load import load_run

    opened = load_run(run)
    config = opened.config
    node = config["metrics"]
    if paper.metrics:
        node = compose_group("metrics", paper.metrics, config)
    if not node:
        raise ConfigError("nothing to measure by", where=run, fix="metrics: in the paper block")
    scores: list[Score] = []
    for n_fake, split, weights in open_plans:
        evaluator = instantiate(node) if paper.metrics else Suited(instantiate(node))
        evaluation = evaluator.evaluate(
            opened.model,
            opened.data,
            n_fake=n_fake,
            split=split,
            weights=weights or "ema",
            progress=True,
        )
        scores += evaluation.scores
    return scores


def picture(baseline: Baseline, overrides: Sequence[str], seed: int) -> Path | None:
    """Find the newest sample grid of a seed's run; a check has none.

    Args:
        baseline: What was reproduced.
        overrides: Hydra's words.
        seed: The seed.
    """
    if baseline.check is not None:
        return None
    run = identity.run_path(check_overrides(_words(baseline, overrides, seed)))
    kinds = (sorted((run / "samples").glob(f"{key}-*.png")) for key in PICTURES)
    return next((grids[-1] for grids in kinds if grids), None)


def _data(node: Any) -> Any:
    data = instantiate(node)
    data.prepare_data()
    data.setup()
    return data


def _finished(path: Path, images: int) -> bool:
    if not (path / "config.yaml").exists():
        return False
    status = Run.read(path).status
    return status["state"] == "finished" and status["images_seen"] >= images


def _words(baseline: Baseline, overrides: Sequence[str], seed: int) -> list[str]:
    return [f"experiment={baseline.name}", *overrides, f"seed={seed}"]


def _paths(overrides: Sequence[str]) -> list[str]:
    return [word for word in overrides if word.startswith("paths.")]


def _commit(about: dict[str, Any]) -> str | None:
    state = about.get("package_git")
    return f"{state['commit']}{'-dirty' * bool(state['dirty'])}" if state else None


def _machine(about: dict[str, Any], threads: int | None) -> dict[str, Any]:
    return {k: about[k] for k in KEPT if k in about} | {"threads": threads or about.get("cpus")}


def _sentence(error: LightningGenError) -> str:
    place = f"{error.what} ({error.where})" if error.where else error.what
    return " ".join("; ".join(filter(None, (place, error.fix))).split())
