"""Score a run's model."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lightning_gen.cli.arguments import Settings, bind, wants_help
from lightning_gen.cli.settings import set_sampling
from lightning_gen.errors import ConfigError
from lightning_gen.types import PositiveInt

if TYPE_CHECKING:
    from lightning_gen.runs.load import Opened


def evaluate(
    run: Path,
    n: PositiveInt | None = None,
    split: str | None = None,
    weights: Literal["ema", "raw", "both"] = "ema",
    checkpoint: Literal["last", "best"] = "last",
    metrics: str | None = None,
    model: Settings | None = None,
    out: Path | None = None,
) -> list[dict[str, Any]]:
    """Score a checkpoint under the run's own protocol, or another.

    Settings of a model's sampler are changed by words such as model.steps=10 of a diffusion model;
    they are part of each score's protocol. Seconds for a sample are written beside the scores.

    Args:
        run: The run's folder.
        n: Generated samples; by default as many as the run's final evaluation.
        split: Split of the real data compared with.
        weights: The averaged weights, those as trained, or both.
        checkpoint: The newest, or the one with the best monitored score.
        metrics: Another group of conf/metrics than the run's, e.g. inception.
        model: Settings of the sampler by name, see above.
        out: A JSON file for the scores, with pictures beside it; by default evaluation.json in the
            run's folder.

    Returns:
        The scores as JSON records.
    """
    from lightning_gen.callbacks.sample_grid import draw
    from lightning_gen.config.compose import compose_group, instantiate
    from lightning_gen.metrics.suited import Suited
    from lightning_gen.runs.atomic import write_json
    from lightning_gen.runs.load import load_run

    opened = load_run(run, checkpoint=checkpoint)
    set_sampling(opened.model, model)
    config = opened.config
    node = compose_group("metrics", metrics, config) if metrics else config["metrics"]
    if not node:
        raise ConfigError(
            "the run has no metrics", where=f"{run}/config.yaml", fix="metrics=mnist, for example"
        )
    final = (config["callbacks"].get("scores") or {}).get("final_n_fake")
    evaluator = instantiate(node) if metrics else Suited(instantiate(node))
    target = out or run / "evaluation.json"
    records: list[dict[str, Any]] = []
    pictures: dict[str, Any] = {}
    for which in ("ema", "raw") if weights == "both" else (weights,):
        evaluation = evaluator.evaluate(
            opened.model, opened.data, n_fake=n or final, split=split, weights=which, progress=True
        )
        records += [score.to_json() for score in evaluation.scores]
        pictures |= {f"{name}_{which}": x for name, x in evaluation.pictures.items()}
    facts = {"iteration": opened.model.iteration, "checkpoint": checkpoint}
    if hasattr(opened.model, "sample"):
        facts["seconds_per_sample"] = _seconds_per_sample(opened)
    write_json(target, {**facts, "scores": records})
    for name, images in pictures.items():
        draw(images / 127.5 - 1).save(target.with_name(f"{name}.png"))
    return records


def _seconds_per_sample(opened: "Opened") -> float:
    """Seconds for one of 64 samples that are drawn together, the second time they are."""
    from lightning_gen.metrics.feature_pass import BLOCK, draw, sampling

    with sampling(opened.model, "ema"):
        draw(opened.model, opened.data, 0, 0)
        start = time.perf_counter()
        draw(opened.model, opened.data, 0, 0).cpu()
    return (time.perf_counter() - start) / BLOCK


def main(argv: list[str]) -> int:
    """Run ``lightning-gen evaluate run=PATH``.

    Args:
        argv: Words after the verb.
    """
    if wants_help(evaluate, "evaluate", argv):
        return 0
    arguments = bind(evaluate, argv)
    from lightning_gen.cli.summary import console, scores_table

    records = evaluate(**arguments)
    console().print(scores_table(records, f"scores of {arguments['run']}"))
    return 0
