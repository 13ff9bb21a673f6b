"""A list of baselines, each of some numbers and of what must hold between them, with verdicts."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from lightning_gen.baselines.registry import read as read_yaml
from lightning_gen.baselines.table import Judged, number, table_row
from lightning_gen.baselines.verdict import SHORTER, Row
from lightning_gen.config.paths import shipped
from lightning_gen.errors import ConfigError

PASSED = ("reproduced", "better")


@dataclass(frozen=True)
class Entry:
    """A baseline of the list; a number is named ``recipe.metric``.

    Args:
        title: What is measured.
        numbers: Judged as their recipes say, all of a metric where a recipe has several.
        rising: Numbers whose means must rise from each to the next.
        bands: The lowest and highest mean of a number, at any budget.
    """

    title: str
    numbers: Sequence[str] = ()
    rising: Sequence[Sequence[str]] = ()
    bands: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Every number, once."""
        risen = (name for names in self.rising for name in names)
        return list(dict.fromkeys([*self.numbers, *risen, *self.bands]))


class Ruling(NamedTuple):
    """An entry with its numbers as read and its verdict.

    Attributes:
        entry: The entry.
        rows: Name and judged number; reported is None where no paper has it.
        verdict: ``reproduced``, or what is wrong.
        why: What that is said of; where less was trained than is asked for, also whether what is to
            rise does so.
    """

    entry: Entry
    rows: list[tuple[str, Row]]
    verdict: str
    why: str


class Shortlist(NamedTuple):
    """A list and what it is called."""

    title: str
    entries: list[Entry]


def shipped_lists() -> list[Shortlist]:
    """The lists under ``experiments/tables``."""
    return [read(file) for file in sorted(shipped("experiments").glob("tables/*.yaml"))]


def read(file: Path) -> Shortlist:
    """Read a list.

    Args:
        file: YAML with a ``title`` and ``entries``.

    Raises:
        ConfigError: If it is something else.
    """
    loaded = read_yaml(file)
    try:
        return Shortlist(loaded["title"], [Entry(**entry) for entry in loaded["entries"]])
    except (KeyError, TypeError) as error:
        raise ConfigError(f"must have a title and entries ({error})", where=file) from None


def rule(entry: Entry, found: Iterable[Judged]) -> Ruling:
    """Say whether all that an entry names holds.

    Args:
        entry: The entry.
        found: Judged baselines.

    Raises:
        ConfigError: If there is no such baseline.
    """
    by_name = {one.baseline.name: one for one in found}
    rows: list[tuple[str, Row]] = []
    for name in entry.names:
        recipe, _, metric = name.partition(".")
        if recipe not in by_name:
            raise ConfigError(f"{name!r} is of no baseline", where=entry.title)
        rows += [(name, row) for row in _rows(by_name[recipe], metric)]
    verdict, why = next(_failures(entry, rows), ("reproduced", ""))
    if verdict in SHORTER and entry.rising and not any(_inverted(entry, rows)):
        why = f"in order; {why}"
    return Ruling(entry, rows, verdict, why)


def _rows(one: Judged, metric: str) -> list[Row]:
    """The judged numbers of a metric; where the paper has none, one of the scores alone."""
    if rows := [row for row in one.rows if row.metric == metric]:
        return rows
    seeds = one.result.measured() if one.result else []
    each = [next((s for s in m.scores if s.metric == metric), None) for m in seeds]
    values = [score.value for score in each if score and score.value is not None]
    mean = fmean(values) if values and len(values) == len(seeds) else None
    ci = each[0].ci if len(values) == 1 and each[0] else None
    return [Row(metric, None, None, mean, ci, len(values), None, "no published number", "")]


def _failures(entry: Entry, rows: Sequence[tuple[str, Row]]) -> Iterator[tuple[str, str]]:
    """What does not hold, and of what it is said."""
    means = {name: row.mean for name, row in rows}
    shorter = {name: row for name, row in rows if row.shorter}

    def missed(name: str, what: str) -> tuple[str, str]:
        if row := shorter.get(name):
            course = "" if row.verdict == "not run at its budget" else f", {row.verdict}"
            return "not run at its budget", f"{name} {what}: {row.shorter}{course}"
        return "short of it", f"{name} {what}"

    for name, row in rows:
        if row.mean is None:
            yield "not run", name
        elif name in entry.numbers and row.verdict not in PASSED:
            yield row.verdict, f"{name}: {row.why}"
    for name, (low, high) in entry.bands.items():
        if not low <= (means[name] or 0.0) <= high:
            yield missed(name, f"is to be {low:g} to {high:g}")
    for first, second in _inverted(entry, rows):
        yield missed(first, f"is to be below {second}")


def _inverted(entry: Entry, rows: Sequence[tuple[str, Row]]) -> Iterator[tuple[str, str]]:
    """Neighbours among the rising whose means do not rise."""
    means = {name: math.nan if row.mean is None else row.mean for name, row in rows}
    for names in entry.rising:
        yield from ((a, b) for a, b in pairwise(names) if not means[a] < means[b])


def markdown(some: Shortlist, found: Sequence[Judged]) -> str:
    """Write a list as a table, with what is reproduced counted.

    Args:
        some: The list.
        found: Judged baselines.
    """
    columns = ("", "baseline", "recipes", "images", "reported", "obtained", "verdict")
    lines = [table_row(columns), "|" + " --- |" * len(columns)]
    rulings = [rule(entry, found) for entry in some.entries]
    results = {one.baseline.name: one.result for one in found}
    for n, (entry, rows, verdict, why) in enumerate(rulings, start=1):
        recipes = list(dict.fromkeys(name.partition(".")[0] for name, _ in rows))
        trained = (seed.images_seen for r in recipes for seed in getattr(results[r], "seeds", ()))
        cells = (
            str(n),
            entry.title,
            ", ".join(f"`{recipe}`" for recipe in recipes),
            ", ".join(f"{images:,}" for images in dict.fromkeys(trained) if images),
            ", ".join(number(row.reported, row.spread) or "-" for _, row in rows),
            ", ".join(number(row.mean, row.se) or "-" for _, row in rows),
            f"**{verdict}**" if verdict in PASSED else f"{verdict} ({why})",
        )
        lines.append(table_row(cells))
    passed = sum(ruling.verdict in PASSED for ruling in rulings)
    return "\n".join([*lines, "", f"{passed} of {len(rulings)} reproduced."])
