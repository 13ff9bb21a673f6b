"""Reported beside obtained: judged baselines, and a table of them for a terminal."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.table import Table

from lightning_gen.baselines import results
from lightning_gen.baselines.registry import Baseline, baselines
from lightning_gen.baselines.results import BaselineResult
from lightning_gen.baselines.verdict import Row, judge

COLUMNS = ("number", "reported", "obtained", "n", "gap", "verdict", "why")


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
    return row.metric + in_words(
        {
            k: v
            for k, v in row.protocol.items()
            if not among or any(other.get(k) != v for other in others)
        }
    )


def in_words(protocol: Mapping[str, Any]) -> str:
    """Write what a number is fixed to: `` (split=val, k=3)``.

    Args:
        protocol: Names and values.
    """
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


def table_row(words: Iterable[str]) -> str:
    """Write a row of a Markdown table.

    Args:
        words: Its cells.
    """
    return "| " + " | ".join(map(cell, words)) + " |"


def cell(text: str) -> str:
    """Write text so that it stays in its cell.

    Args:
        text: Any.
    """
    return text.replace("|", "\\|").replace("\n", " ")
