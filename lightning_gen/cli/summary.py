"""What a command prints of a run when it is done."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from lightning_gen.baselines.table import verdicts
from lightning_gen.baselines.verdict import Measured, judge
from lightning_gen.config.paper import read_paper
from lightning_gen.metrics.protocol import Score


def protocol_words(record: Mapping[str, Any]) -> dict[str, str]:
    """Say a score's protocol in short words: hashes by their first eight digits.

    Args:
        record: A score as JSON.
    """
    protocol = {
        k: v for k, v in record["protocol"].items() if k != "options" and v not in ("", None)
    }
    protocol |= record["protocol"].get("options") or {}
    long = {"extractor_sha256", "data_fingerprint"}
    return {k: str(v)[:8] if k in long else str(v) for k, v in protocol.items()}


def scores_table(records: list[dict[str, Any]], title: str) -> Table:
    """Lay out scores with their protocols; what all of them share is said once, below.

    Args:
        records: Scores as JSON, from scores.json or an evaluation.
        title: Heading of the table.
    """
    protocols = [protocol_words(record) for record in records]
    items = [set(protocol.items()) for protocol in protocols]
    shared = set.intersection(*items) if items else set()
    caption = "protocol: " + " ".join(
        f"{k}={v}" for k, v in protocols[0].items() if (k, v) in shared
    )
    table = Table(
        "score", "value", "and", title=title, title_justify="left",
        caption=caption, caption_justify="left",
    )  # fmt: skip
    for record, protocol in zip(records, protocols, strict=True):
        shown = "n/a" if record.get("value") is None else f"{record['value']:.4g}"
        if record.get("ci") is not None:
            shown += f" ± {record['ci']:.2g}"
        own = " ".join(f"{k}={v}" for k, v in protocol.items() if (k, v) not in shared)
        note = f" ({record['note']})" if record.get("note") else ""
        table.add_row(record["name"], shown, own + note)
    return table


def console() -> Console:
    """Make a console that keeps long lines whole when the output is not a terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=160)


def print_summary(run: Any) -> None:
    """Print the last scores, the folder, the newest grid and the way to W&B.

    Args:
        run: The run.
    """
    out = console()
    out.print(f"\n{run.status['state']}: {run.status['images_seen']:,} images seen")
    if run.status.get("reason"):
        out.print(run.status["reason"], markup=False)
    scores = run.scores()
    if scores and scores[-1]["scores"]:
        title = f"scores at {scores[-1]['images_seen']:,} images"
        out.print(scores_table(scores[-1]["scores"], title))
        if (paper := read_paper(run.config.get("paper"))) and paper.results:
            last = [Score.from_json(score) for score in scores[-1]["scores"]]
            one = Measured(run.config["seed"], run.status["images_seen"], last)
            out.print(verdicts([(run.config["experiment_name"], judge(paper, [one]))]))
    lines = [("run", str(run.path))]
    grids = sorted(Path(run.path, "samples").glob("samples-*.png"))
    lines += [("samples", str(grids[-1]))] if grids else []
    lines += [("W&B", hint) for hint in run.view_hints()]
    for name, line in lines:
        out.print(f"{name:8} {line}", soft_wrap=True, markup=False, highlight=False)
