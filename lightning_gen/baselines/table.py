"""Reported beside obtained: the table of a terminal, and RESULTS.md."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.table import Table

from lightning_gen.baselines import results
from lightning_gen.baselines.registry import Baseline, baselines
from lightning_gen.baselines.results import BaselineResult
from lightning_gen.baselines.verdict import Row, judge

HEADER = """# Results

What the papers report, what this code obtains, and the verdict. Made from the files in
[results](results) by `lightning-gen reproduce`; nothing in it is typed. A number is compared only
with one that was measured in the same way; where it was not, the field that differs is named.
After ± stands the standard error over seeds (n of them), or of one seed what its protocol says.
"""
COLUMNS = ("number", "reported", "obtained", "n", "gap", "verdict", "why")
GRADES = {
    "read": "read in the paper or its authors' code",
    "transcribed": "transcribed from somebody's copy",
    "unconfirmed": "not confirmed",
    "derived": "derived, or counted exactly",
}


class Judged(NamedTuple):
    """A baseline, what it came to, and the verdict on each of its numbers."""

    baseline: Baseline
    result: BaselineResult | None
    rows: list[Row]


def judged(baseline: Baseline, result: BaselineResult | None) -> Judged:
    """Judge a baseline by its result file.

    Args:
        baseline: What is reproduced.
        result: What it came to; None: it was not run.
    """
    measured = result.measured() if result else []
    return Judged(baseline, result, judge(baseline.paper, measured) if baseline.paper else [])


def judge_all(folder: Path) -> list[Judged]:
    """Judge every baseline by the result files of a folder.

    Args:
        folder: The folder; a baseline without a file in it was not run.
    """
    found = []
    for baseline in baselines():
        path = folder / f"{baseline.name}.json"
        found.append(judged(baseline, results.read(path) if path.exists() else None))
    return found


def counts(found: Iterable[Judged]) -> str:
    """Count the verdicts: ``35: 25 reproduced, 10 not run``.

    Args:
        found: Judged baselines.
    """
    verdicts = Counter(row.verdict for one in found for row in one.rows if row.metric)
    words = ", ".join(f"{n} {verdict}" for verdict, n in verdicts.most_common())
    return f"{verdicts.total()} numbers {words}"


def number(value: float | None, half: float | None = None) -> str:
    """Write a number to the digits that its uncertainty leaves, at most five.

    Example:
        >>> number(-1366.93, 1.4), number(13.8661), number(0.93), number(None)
        ('-1366.9 ± 1.4', '13.866', '0.93', '')
    """
    if value is None:
        return ""
    if not half:
        return f"{value:.5g}"
    digits = max(0, 1 - _exponent(half))
    return f"{value:.{digits}f} ± {half:.{digits}f}"


def _exponent(value: float) -> int:
    return int(f"{value:e}".partition("e")[2])


def what(row: Row, among: Sequence[Row] = ()) -> str:
    """Name a number by its metric and what tells it from others of that metric.

    Args:
        row: A judged number.
        among: The other numbers of its paper; without them the whole protocol is said.
    """
    others = [r.protocol for r in among if r.metric == row.metric and r is not row]
    return row.metric + _words(
        {
            k: v
            for k, v in row.protocol.items()
            if not among or any(other.get(k) != v for other in others)
        }
    )


def _words(protocol: Mapping[str, Any]) -> str:
    words = [f"{k.removeprefix('options.')}={v}" for k, v in protocol.items()]
    return f" ({', '.join(words)})" if words else ""


def cells(row: Row, among: Sequence[Row] = ()) -> dict[str, str]:
    """Write a judged number, a cell for each of :data:`COLUMNS`.

    Args:
        row: A judged number.
        among: The other numbers of its paper, as for :func:`what`.
    """
    gap = "" if row.gap is None else f"{row.gap:+.3g}"
    reported, obtained = number(row.reported, row.spread), number(row.mean, row.se)
    words = (what(row, among), reported, obtained, str(row.n or ""), gap, row.verdict, row.why)
    return dict(zip(COLUMNS, words, strict=True))


def verdicts(found: Iterable[tuple[str, Sequence[Row]]]) -> Table:
    """Lay verdicts out for a terminal.

    Args:
        found: Name and judged numbers of each baseline.
    """
    table = Table("baseline", *COLUMNS)
    for name, rows in found:
        for row in rows:
            table.add_row(name, *cells(row, rows).values())
    return table


def markdown(found: Sequence[Judged]) -> str:
    """Write RESULTS.md.

    Args:
        found: Judged baselines.
    """
    known = [one for one in found if one.baseline.check is not None]
    recipes = [one for one in found if one.baseline.check is None]
    lines = [HEADER, f"Of {counts(found)}.", ""]
    for title, some in (("Known answers", known), ("Recipes", recipes)):
        lines += [f"## {title}", "", *_verdicts(some), ""]
    lines += ["## How they were run", "", *_runs(found), "", "## Where the numbers stand", ""]
    lines += [*_sources(found), ""]
    return "\n".join(lines)


def _verdicts(found: Sequence[Judged]) -> Iterator[str]:
    yield "| baseline | number | reported | obtained | n | gap | verdict | band, or why not |"
    yield "|" + " --- |" * 8
    for one in found:
        for row in one.rows:
            shown = cells(row, one.rows)
            shown["obtained"] = shown["obtained"] or _scores(one.result, row)
            if row.verdict in {"reproduced", "better"}:
                shown["verdict"] = f"**{row.verdict}**"
            yield table_row([f"`{one.baseline.name}`", *shown.values()])


def _scores(result: BaselineResult | None, row: Row) -> str:
    """Where a paper has no number: the scores of the first seed."""
    if row.metric or result is None or not result.seeds:
        return ""
    scores = [s for s in result.seeds[0].scores if s["value"] is not None]
    return ", ".join(f"{s['name']} {number(s['value'])}" for s in scores[:3])


def _runs(found: Sequence[Judged]) -> Iterator[str]:
    yield "| baseline | command | seeds | images | minutes a seed | device | memory | commit |"
    yield "|" + " --- |" * 8
    for one in found:
        if one.result is None or not one.result.seeds:
            continue
        yield table_row([f"`{one.baseline.name}`", *how(one.result)])


def how(result: BaselineResult) -> list[str]:
    """Say how a baseline was run: command, seeds, images, minutes a seed, device, memory, commit.

    Args:
        result: Of at least one seed.
    """
    seeds = result.seeds
    minutes = [s.minutes for s in seeds if s.minutes is not None]
    memory = [s.peak_memory_gib for s in seeds if s.peak_memory_gib is not None]
    return [
        f"`{result.command}`",
        ", ".join(str(s.seed) for s in seeds),
        f"{max(s.images_seen for s in seeds):,}" if any(s.images_seen for s in seeds) else "",
        f"{sum(minutes) / len(minutes):.2g}" if minutes else "",
        _device(seeds[0].machine),
        f"{max(memory):.1f} GiB" if memory else "",
        ", ".join(dict.fromkeys(_commit(s.commit) for s in seeds)),
    ]


def _commit(commit: str | None) -> str:
    name, _, dirty = (commit or "").partition("-")
    return name[:8] + (" + changes" if dirty else "")


def _device(machine: Mapping[str, Any]) -> str:
    device, threads = str(machine.get("device", "")), machine.get("threads")
    on_cpu = device.endswith("CPU") and threads
    return f"{device}, {threads} thread{'s'[: threads != 1]}" if on_cpu else device


def _sources(found: Sequence[Judged]) -> Iterator[str]:
    for one in found:
        paper = one.baseline.paper
        if paper is None:
            continue
        place = f", {paper.table}" if paper.table else ""
        source = f" ({paper.source})" if paper.source else ""
        yield f"- `{one.baseline.name}`: [{_cell(paper.citation)}]({paper.url}){place}; "
        yield f"  {GRADES[paper.evidence]}{_cell(source)}."
        alike = [
            {k: v for k, v in row.protocol.items() if all(r.protocol.get(k) == v for r in one.rows)}
            for row in one.rows[:1]
        ]
        if alike and alike[0]:
            yield f"  - Measured with{_words(alike[0])}."
        for departure in paper.departures:
            yield f"  - Otherwise than the paper: {departure}."


def table_row(words: Iterable[str]) -> str:
    """Write a row of a Markdown table.

    Args:
        words: Its cells.
    """
    return "| " + " | ".join(map(_cell, words)) + " |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
