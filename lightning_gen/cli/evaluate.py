"""Score a run's model."""

from pathlib import Path
from typing import Any, Literal

from lightning_gen.cli.arguments import bind, wants_help
from lightning_gen.errors import ConfigError
from lightning_gen.types import PositiveInt


def evaluate(
    run: Path,
    n: PositiveInt | None = None,
    split: str | None = None,
    weights: Literal["ema", "raw", "both"] = "ema",
    checkpoint: Literal["last", "best"] = "last",
    metrics: str | None = None,
    out: Path | None = None,
) -> list[dict[str, Any]]:
    """Score a checkpoint under the run's own protocol, or another.

    Args:
        run: The run's folder.
        n: Generated samples; by default as many as the run's final evaluation.
        split: Split of the real data compared with.
        weights: The averaged weights, those as trained, or both.
        checkpoint: The newest, or the one with the best monitored score.
        metrics: Another group of conf/metrics than the run's, e.g. inception.
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
    write_json(
        target,
        {"iteration": opened.model.iteration, "checkpoint": checkpoint, "scores": records},
    )
    for name, images in pictures.items():
        draw(images / 127.5 - 1).save(target.with_name(f"{name}.png"))
    return records


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
