"""List what there is: models, experiments, data sets, metrics."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from lightning_gen.baselines.registry import comment
from lightning_gen.config import paths
from lightning_gen.config.signature import TargetError, modules, of_module, read
from lightning_gen.config.suggest import did_you_mean, nearest
from lightning_gen.errors import ConfigError

Row = tuple[str, ...]


def main(argv: list[str]) -> int:
    """Run ``lightning-gen list models|experiments|data|metrics``.

    Args:
        argv: What to list.
    """
    known = f"one of {', '.join(KINDS)}"
    if not argv or {"-h", "--help"} & set(argv):
        print(f"usage: lightning-gen list KIND\n\nKIND is {known}.")
        print("`list experiments --paper` shows what the papers report and what counts as passed.")
        return 0
    kinds = [word for word in argv if word not in {"--paper"}]
    for kind in kinds:
        if kind not in KINDS:
            near = did_you_mean(nearest(kind, KINDS, n=1))
            raise ConfigError(f"nothing called {kind!r} can be listed{near}", fix=known)
    if len(kinds) < len(argv) and kinds not in ([], ["experiments"]):
        raise ConfigError("--paper is of experiments", fix="lightning-gen list experiments --paper")
    if len(kinds) < len(argv):
        show("papers", list(papers()), PAPER_COLUMNS)
        return 0
    for kind in kinds:
        show(kind, list(KINDS[kind]()))
    return 0


def models() -> Iterator[Row]:
    """Models: name, paper, one line."""
    return _targets("model")


def data() -> Iterator[Row]:
    """Data sets: name, source, one line."""
    return _targets("data")


def experiments() -> Iterator[Row]:
    """Experiments: name, paper of the model, first line of the file."""
    papers = {name: paper for name, paper, _ in models()}
    for name, file in paths.group_files("experiment").items():
        try:
            yield name, papers.get(_choice(file, "model") or "", ""), comment(file)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            yield name, "", f"{file} cannot be read: {' '.join(str(error).split())}"


def metrics() -> Iterator[Row]:
    """Metrics: file, paper, one line; then the choices of ``metrics=``."""
    for module in modules("lightning_gen.metrics"):
        summary, reference = of_module(module)
        if reference is not None:
            yield module.rpartition(".")[2], reference, summary
    for name, file in paths.group_files("metrics").items():
        yield f"metrics={name}", "", comment(file)


PAPER_COLUMNS = ("name", "paper", "number", "reported", "passes", "evidence", "tier", "minutes")


def papers() -> Iterator[Row]:
    """Published numbers: how they were measured, what passes, how sure they are, what they cost."""
    from lightning_gen.baselines.registry import baselines
    from lightning_gen.baselines.table import number, what
    from lightning_gen.baselines.verdict import judge

    for baseline in baselines():
        paper = baseline.paper
        if paper is None:
            yield (baseline.name, *[""] * (len(PAPER_COLUMNS) - 1))
            continue
        place = f"{paper.citation}{f', {paper.table}' if paper.table else ''} ({paper.link})"
        cost = [f"{v:g} {k[:3]}" for k, v in paper.cost.items() if v is not None]
        numbers = [*paper.numbers, None][: max(1, len(paper.results))]
        for row, result in zip(judge(paper, []), numbers, strict=True):
            yield (
                baseline.name,
                place,
                what(row) if result else "no published number",
                number(row.reported, row.spread),
                result.passes if result else "",
                paper.evidence,
                paper.tier,
                " ".join(cost),
            )


KINDS: dict[str, Callable[[], Iterator[Row]]] = {
    "models": models,
    "experiments": experiments,
    "data": data,
    "metrics": metrics,
}


def show(kind: str, rows: list[Row], columns: Row = ("name", "paper", "")) -> None:
    """Print rows as a table, or with tabs between the columns when nobody watches.

    Args:
        kind: Title.
        rows: A cell a column.
        columns: Their headings.
    """
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, title=kind, box=None, title_justify="left")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _targets(group: str) -> Iterator[Row]:
    for name, file in paths.group_files(group).items():
        target = _yaml(file).get("_target_")
        try:
            signature = read(str(target))
        except TargetError as error:
            yield name, "", error.what
        else:
            yield name, signature.reference or "", signature.summary


def _choice(file: Path, group: str) -> str | None:
    """Which choice of a group an experiment's defaults name."""
    for entry in _yaml(file).get("defaults") or []:
        for key, value in entry.items() if isinstance(entry, dict) else ():
            if key.split()[-1].strip("/") in {group}:
                return str(value)
    return None


def _yaml(file: Path) -> dict[str, Any]:
    loaded = yaml.safe_load(file.read_text(encoding="utf-8"))
    return loaded if isinstance(loaded, dict) else {}
