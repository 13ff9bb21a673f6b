"""Compare runs on one page, or in the terminal."""

import re
from pathlib import Path
from typing import Any, Literal

from lightning_gen.cli.arguments import bind, usage
from lightning_gen.errors import ConfigError, DataError

TERMINAL = "--terminal"


def compare(
    runs: list[str],
    out: Path = Path("report.html"),
    band: Literal["se", "std"] = "se",
    terminal: bool = False,
) -> Any:
    """Compare runs: configurations, scores, curves, samples, mode collapse and cost.

    Args:
        runs: Folders of runs (also of runs that train) or of experiments, and runs in W&B as
            wandb://entity/project/run. Seeds of one configuration are one group.
        out: The page to write; it is one file and opens without a network.
        band: Around the mean of seeds: standard error of the mean, or standard deviation.
        terminal: Write no page (--terminal prints the tables).

    Returns:
        The :class:`lightning_gen.tracking.report.page.Report`.
    """
    from tqdm import tqdm

    from lightning_gen.runs import atomic
    from lightning_gen.tracking import records
    from lightning_gen.tracking.report import page

    found = records.find(runs)
    read = list(
        tqdm(records.read(found), "runs", len(found), unit="run", leave=False, disable=None)
    )
    problems = [item for item in read if isinstance(item, records.Problem)]
    sound = [item for item in read if isinstance(item, records.Record)]
    if not sound:
        first = problems[0]
        what = f"none of {len(problems)} runs can be read" if problems[1:] else "it cannot be read"
        raise DataError(
            f"{what}: {first.reason}", where=first.source, fix="restore the run, or name another"
        )
    report = page.compare(sound, problems)
    if not terminal:
        html = page.render(report, band)
        with atomic.output_errors(out):
            out.parent.mkdir(parents=True, exist_ok=True)
        atomic.write(out, html.encode("utf-8", "replace"))
    return report


def main(argv: list[str]) -> int:
    """Run ``lightning-gen compare RUN... [out=report.html]``.

    Args:
        argv: Words after the verb.
    """
    import inspect

    words = f"RUN... {usage(_options)} [{TERMINAL}]"
    if {"-h", "--help"} & set(argv):
        print(f"usage: lightning-gen compare {words}\n\n{inspect.getdoc(compare)}")
        return 0
    options = [word for word in argv if _is_option(word)]
    runs = [word for word in argv if word not in options and word != TERMINAL]
    arguments = bind(_options, options)
    if unknown := [word for word in runs if word.startswith("-")]:
        raise ConfigError(f"unknown option {unknown[0]!r}", where="compare", fix=words)
    if not runs:
        raise ConfigError("no run is named", where="compare", fix=f"lightning-gen compare {words}")
    terminal = TERMINAL in argv
    report = compare(runs, **arguments, terminal=terminal)
    if terminal:
        show(report)
    for problem in report.problems:
        print(f"left out: {problem.source}: {problem.reason}")
    if not terminal:
        print(arguments.get("out", Path("report.html")))
    return 0


def _options(out: Path = Path("report.html"), band: Literal["se", "std"] = "se") -> None:
    """What is given as key=value."""


def _is_option(word: str) -> bool:
    """A word like out=report.html, which is not a folder of that name."""
    return re.match(r"\w+=", word) is not None and not Path(word).exists()


def show(report: Any) -> None:
    """Print a comparison.

    Args:
        report: From :func:`compare`.
    """
    from rich.markup import escape
    from rich.table import Table

    from lightning_gen.cli.summary import console
    from lightning_gen.tracking.report.page import number, plusminus, words

    screen = console()

    def table(title: str, *heads: str) -> Table:
        return Table(*heads, title=title, title_justify="left", caption_justify="left")

    def put(made: Table, *cells: object, **options: Any) -> None:
        made.add_row(*(escape(str(cell)) for cell in cells), **options)

    runs = table("runs", "group", "seed", "state", "images seen", "device-hours")
    differences = table("what differs", "key", *(escape(group.label) for group in report.groups))
    scores = table("scores", "score", "group", "value", "seeds", "")
    tests = table("differences", "score", "", "value", "95 % interval", "p", "test")
    for group in report.groups:
        for run in group.records:
            hours = number(run.last("system/device_hours"), 3)
            put(runs, group.label, run.seed, run.state, f"{run.images_seen:,}", hours)
    for row in report.differences:
        put(differences, row.key, *row.values, style="dim" if row.harmless else None)
    for column in report.columns:
        unlike = f"≠ {', '.join(column.unlike)}" if column.unlike else ""
        for group, cell in zip(report.groups, column.cells, strict=True):
            if cell is not None:
                value = plusminus(cell.mean, cell.se) if cell.by_seed else f"refused: {cell.note}"
                remark = " ".join(filter(None, ["best" if cell.best else "", unlike]))
                put(scores, column.score.name, group.label, value, len(cell.by_seed), remark)
        scores.add_section()
    scores.caption = "protocol: " + escape(words(report.shared_protocol))
    for c in report.comparisons:
        interval = c.remark or f"[{number(c.low)}, {number(c.high)}]"
        versus = f"{c.second} − {c.first}"
        put(
            tests,
            c.column.score.name,
            versus,
            number(c.difference),
            interval,
            number(c.p, 2),
            c.method,
        )
    for made in (runs, differences, scores, tests):
        if made.row_count:
            screen.print(made)
    for reason in report.untested:
        screen.print(reason, markup=False)
    for gap in report.papers:
        heading = f"{gap.group.label}: {gap.paper.citation if gap.paper else gap.problem}"
        heads = ("metric", "reported", "obtained", "gap", "verdict", "why")
        papers = table(escape(heading), *heads)
        for row in gap.rows:
            reported = "–" if row.reported is None else plusminus(row.reported, row.spread)
            obtained = "–" if row.mean is None else plusminus(row.mean, row.se)
            put(papers, row.metric, reported, obtained, number(row.gap), row.verdict, row.why)
        screen.print(papers)
