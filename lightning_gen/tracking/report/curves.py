"""Curves of all runs: thinned without losing their extremes, with a band over the seeds."""

import base64
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np

from lightning_gen.metrics.protocol import comparable
from lightning_gen.tracking.records import KINDS, Curve, Record
from lightning_gen.tracking.report.groups import Group

Spread = Literal["se", "std"]
PANEL_POINTS = 6_000  # drawn in one panel, whatever the number of runs
GRID = 200  # points of a mean
FEWEST, MOST = 100, 1000  # points of a run's curve


class Band(NamedTuple):
    """Mean over seeds with its band, on a grid that is common to them: each (N,)."""

    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def thin(y: np.ndarray, points: int) -> np.ndarray:
    """Choose the points of a curve to draw: the least and the greatest of each stretch, and ends.

    Args:
        y: Values (N,).
        points: Draw about so many, 4 at least.

    Returns:
        Their indices, ascending.

    Example:
        >>> thin(np.array([0.0, 1, 9, 1, 0, -7, 0, 0]), 4)
        array([0, 2, 5, 7])
    """
    if len(y) <= points:
        return np.arange(len(y))
    edges = np.linspace(0, len(y), max(points - 2, 2) // 2 + 1).astype(int)
    stretches = [slice(a, b) for a, b in pairwise(edges)]
    lows = [s.start + int(y[s].argmin()) for s in stretches]
    highs = [s.start + int(y[s].argmax()) for s in stretches]
    return np.unique([0, *lows, *highs, len(y) - 1])


def band(curves: Sequence[Curve], spread: Spread) -> Band | None:
    """Average curves over seeds, where all of them have been.

    Between its points each curve is taken to be straight.

    Args:
        curves: One a seed, two at least; ``images`` may be hours as well.
        spread: Half-width of the band: standard error of the mean, or standard deviation.

    Returns:
        None where the curves share no stretch of the axis.
    """
    start, stop = max(c.images[0] for c in curves), min(c.images[-1] for c in curves)
    if start >= stop:
        return None
    points = np.unique(np.concatenate([c.images for c in curves]))
    grid = points[(points >= start) & (points <= stop)]
    if len(grid) > GRID:
        grid = np.linspace(start, stop, GRID)
    values = np.stack([np.interp(grid, c.images, c.values) for c in curves])
    mean, width = values.mean(0), values.std(0, ddof=1)
    width = width / np.sqrt(len(curves)) if spread in {"se"} else width
    return Band(grid, mean, mean - width, mean + width)


def by_hours(record: Record, curve: Curve) -> Curve | None:
    """Put a curve on the axis of device-hours, as far as the run says them."""
    hours = record.hours(curve.images)
    if hours is None:
        return None
    known = np.isfinite(hours)
    return Curve(hours[known], curve.values[known]) if known.any() else None


def panels(groups: Sequence[Group], spread: Spread) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Make the panels of the page, one a quantity: a line a run, a band a group of seeds.

    Args:
        groups: All groups.
        spread: What the bands show.

    Returns:
        Panels ready for JSON, scores first; and how many points were logged and are drawn.
    """
    records = [record for group in groups for record in group.records]
    budget = int(np.clip(PANEL_POINTS / max(len(records), 1), FEWEST, MOST))
    keys = dict.fromkeys(key for record in records for key in record.curves)
    ordered = sorted(keys, key=lambda key: KINDS.index(key.partition("/")[0]))
    count = {"logged": 0, "drawn": 0, "per_run": budget}
    made = []
    for key in ordered:
        kind, _, name = key.partition("/")
        traces = []
        for i, group in enumerate(groups):
            found = [(r, r.curves[key]) for r in group.records if key in r.curves]
            for record, curve in found:
                traces.append(_line(i, record, curve, budget))
                count["logged"] += len(curve.values)
                count["drawn"] += traces[-1]["n"]
            settled = [(r, r.curves[key]) for r in group.settled if key in r.curves]
            traces += _mean(i, settled, spread)
        made.append(
            {"kind": kind, "name": name, "traces": traces, "unlike": _unlike(records, name)}
        )
    return made, count


def _line(group: int, record: Record, curve: Curve, points: int) -> dict[str, Any]:
    kept = thin(curve.values, points)
    images = curve.images[kept]
    hours = record.hours(images)
    return {
        "group": group,
        "run": f"{record.experiment} seed {record.seed}",
        "n": len(kept),
        "x": _pack(images),
        "h": None if hours is None else _pack(hours),
        "y": _pack(curve.values[kept]),
    }


def _mean(group: int, found: list[tuple[Record, Curve]], spread: Spread) -> list[dict[str, Any]]:
    if len(found) < 2:
        return []
    timed = [hours for record, curve in found if (hours := by_hours(record, curve)) is not None]
    axes = {
        "images": band([curve for _, curve in found], spread),
        "hours": band(timed, spread) if len(timed) == len(found) else None,
    }
    packed = {
        axis: None if b is None else {name: _pack(a) for name, a in b._asdict().items()}
        for axis, b in axes.items()
    }
    return [{"group": group, "seeds": len(found), **packed}]


def _unlike(records: Sequence[Record], name: str) -> list[str]:
    """Fields in which the last scores of this name differ between runs."""
    scores = [score for record in records for score in record.scores if score.name == name]
    return list(dict.fromkeys(f for score in scores[1:] for f in comparable(scores[0], score)))


def _pack(values: np.ndarray) -> str:
    """Encode numbers as plotly.js reads them: little-endian float32 in base64."""
    return base64.b64encode(values.astype("<f4").tobytes()).decode()
