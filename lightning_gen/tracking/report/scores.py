"""Scores side by side: only like with like, with the test that two groups deserve."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lightning_gen.errors import LightningGenError
from lightning_gen.metrics.protocol import Score, comparable
from lightning_gen.tracking.directions import direction
from lightning_gen.tracking.records import Record, one_line
from lightning_gen.tracking.report.groups import Group

if TYPE_CHECKING:
    from lightning_gen.baselines.verdict import Row as Verdict
    from lightning_gen.config.paper import Paper

CONFIDENCE = 0.95
_HASHES = ("extractor_sha256", "data_fingerprint")


class Cell(NamedTuple):
    """A group's value of a score: the mean over its seeds."""

    by_seed: list[tuple[int, float]]
    mean: float
    se: float | None
    best: bool
    note: str | None


@dataclass(frozen=True)
class Column:
    """One score under one protocol, in every group.

    Args:
        score: One of its scores, for name and protocol.
        better: ``higher``, ``lower`` or None where neither is.
        unlike: Fields that differ from other columns of this metric.
        cells: One a group; None where it has no such score.
    """

    score: Score
    better: str | None
    unlike: list[str]
    cells: list[Cell | None]

    @property
    def protocol(self) -> dict[str, str]:
        """How it was measured, in short words; hashes by their first eight digits."""
        fields = asdict(self.score.protocol)
        words = fields | fields.pop("options")
        return {
            key: str(value)[:8] if key in _HASHES else str(value)
            for key, value in words.items()
            if value not in ("", None)
        }


def better(metric: str, record: Record | None = None) -> str | None:
    """Say whether a higher or a lower value is better; a run's paper has the first word.

    Example:
        >>> better("fid"), better("modes"), better("pairwise_ratio")
        ('lower', 'higher', None)
    """
    paper = (record.config.get("paper") if record else None) or {}
    results = paper.get("results") if isinstance(paper, dict) else None
    for result in results if isinstance(results, list) else []:
        if isinstance(result, dict) and result.get("metric") == metric and result.get("better"):
            return str(result["better"])
    return direction(metric)


def columns(groups: Sequence[Group]) -> list[Column]:
    """Sort the runs' last scores into columns of comparable ones.

    Args:
        groups: From :func:`lightning_gen.tracking.report.groups.group`.

    Returns:
        Columns, those of a metric beside each other.
    """
    classes: dict[str, list[tuple[Score, list[list[tuple[Record, Score]]]]]] = {}
    for i, group in enumerate(groups):
        for record in group.settled:
            for score in record.scores:
                alike = classes.setdefault(score.metric, [])
                found = next((held for one, held in alike if not comparable(one, score)), None)
                if found is None:
                    found = [[] for _ in groups]
                    alike.append((score, found))
                found[i].append((record, score))
    made = []
    for metric, alike in classes.items():
        unlike = {
            field: None
            for one, _ in alike
            for other, _ in alike
            for field in comparable(one, other)
        }
        for one, held in alike:
            direction = better(metric, next(pairs[0][0] for pairs in held if pairs))
            cells = _ranked([_cell(pairs) for pairs in held], direction)
            made.append(Column(one, direction, list(unlike), cells))
    return made


def _cell(pairs: list[tuple[Record, Score]]) -> Cell | None:
    """Average a group's scores; a run measured several times counts once, with its mean."""
    if not pairs:
        return None
    by_run: dict[str, tuple[int, list[float]]] = {}
    notes: dict[str, None] = {}
    for record, score in pairs:
        if score.value is not None and math.isfinite(score.value):
            by_run.setdefault(record.source, (record.seed, []))[1].append(score.value)
        elif score.note:
            notes[score.note] = None
    by_seed = [(seed, float(np.mean(values))) for seed, values in by_run.values()]
    values = [value for _, value in by_seed]
    n = len(values)
    se = float(np.std(values, ddof=1)) / math.sqrt(n) if n > 1 else None
    mean = float(np.mean(values)) if n else math.nan
    return Cell(by_seed, mean, se, False, "; ".join(notes) or None)


def _ranked(cells: list[Cell | None], direction: str | None) -> list[Cell | None]:
    """Mark the best of at least two values."""
    means = [cell.mean for cell in cells if cell is not None and cell.by_seed]
    if direction is None or len(means) < 2:
        return cells
    best = max(means) if direction in {"higher"} else min(means)
    return [cell and cell._replace(best=cell.mean == best) for cell in cells]


class Comparison(NamedTuple):
    """Second group minus first, of one score."""

    column: Column
    first: str
    second: str
    method: str
    difference: float
    low: float
    high: float
    p: float
    remark: str | None


def compare(column: Column, groups: Sequence[Group], i: int, j: int) -> Comparison | str:
    """Test whether a score differs between two groups, with the interval of the difference.

    Runs with the same seeds in both groups are paired by seed; else it is Welch's test, which
    does not take the variances to be equal.

    Args:
        column: Of comparable scores.
        groups: All groups.
        i: The first, which is subtracted.
        j: The second.

    Returns:
        The comparison, or why there is none.

    References:
        Student. The probable error of a mean. Biometrika, 1908.
        Welch. The generalization of "Student's" problem. Biometrika, 1947.
    """
    from scipy import stats

    a, b = column.cells[i], column.cells[j]
    for cell, group in ((a, groups[i]), (b, groups[j])):
        n = len(cell.by_seed) if cell is not None else 0
        if n < 2:
            seeds = "no seed" if n == 0 else "1 seed"
            return f"no interval exists: {group.label} has {seeds} with this score, it takes 2"
    assert a is not None and b is not None
    x, y = dict(a.by_seed), dict(b.by_seed)
    paired = x.keys() == y.keys() and len(x) == len(a.by_seed) and len(y) == len(b.by_seed)
    if paired:
        method = f"paired by seed, n = {len(x)}"
        differences = np.array([y[seed] - x[seed] for seed in x])
        flat = bool(np.ptp(differences) == 0)
    else:
        method = f"Welch, n = {len(a.by_seed)} and {len(b.by_seed)}"
        flat = a.se == 0 and b.se == 0
    difference = b.mean - a.mean
    if flat:
        remark = "the seeds do not vary: no test applies"
        nothing = (math.nan, math.nan, math.nan)
        return Comparison(
            column, groups[i].label, groups[j].label, method, difference, *nothing, remark
        )
    if paired:
        result = stats.ttest_rel([y[seed] for seed in x], list(x.values()))
    else:
        second, first = ([value for _, value in cell.by_seed] for cell in (b, a))
        result = stats.ttest_ind(second, first, equal_var=False)
    low, high = (float(end) for end in result.confidence_interval(CONFIDENCE))
    return Comparison(
        column, groups[i].label, groups[j].label, method, difference, low, high,
        float(result.pvalue), None,
    )  # fmt: skip


def comparisons(
    table: Sequence[Column], groups: Sequence[Group]
) -> tuple[list[Comparison], list[str]]:
    """Compare every group with the first, in each score that both have.

    Args:
        table: From :func:`columns`.
        groups: All groups.

    Returns:
        The comparisons, and reasons why there are no others.
    """
    made: list[Comparison] = []
    reasons: dict[str, None] = {}
    for j in range(1, len(groups)):
        shared = [column for column in table if column.cells[0] and column.cells[j]]
        if not shared:
            fields = dict.fromkeys(field for column in table for field in column.unlike)
            why = f" (unlike in {', '.join(fields)})" if fields else ""
            reasons[f"{groups[0].label} and {groups[j].label} share no comparable score{why}"] = (
                None
            )
        for column in shared:
            found = compare(column, groups, 0, j)
            if isinstance(found, str):
                reasons[found] = None
            else:
                made.append(found)
    return made, list(reasons)


class PaperGap(NamedTuple):
    """A group's paper and how its numbers were met; ``problem`` where that cannot be said."""

    group: Group
    paper: "Paper | None" = None
    url: str | None = None
    rows: "Sequence[Verdict]" = ()
    problem: str | None = None


def paper_gaps(groups: Sequence[Group]) -> list[PaperGap]:
    """Judge the groups whose configuration names a paper.

    Args:
        groups: All groups.
    """
    from lightning_gen.baselines.verdict import Measured, judge
    from lightning_gen.config.paper import Paper

    def ended(record: Record) -> bool:
        return record.state in {"finished"}

    gaps = []
    for group in groups:
        block: Any = group.records[0].config.get("paper")
        if not block:
            continue
        measured = [
            Measured(r.seed, r.scored_at or 0, r.scores, failed=None if ended(r) else r.state)
            for r in group.records
        ]
        try:
            paper = Paper(**block)
            url = paper.url if paper.url.startswith(("https://", "http://")) else None
            gaps.append(PaperGap(group, paper, url, judge(paper, measured)))
        except (LightningGenError, ValueError, TypeError, LookupError, AttributeError) as error:
            gaps.append(
                PaperGap(group, problem=f"its paper block cannot be read: {one_line(error)}")
            )
    return gaps
