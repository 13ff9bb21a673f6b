"""From what a paper reports and what was measured to a verdict; unlike measurements never meet."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, NamedTuple

from lightning_gen.config.paper import Early, Paper, Result, words
from lightning_gen.metrics.protocol import Score, comparable

Verdict = Literal[
    "reproduced",
    "better",
    "short of it",
    "on course",
    "off course",
    "not comparable",
    "data missing",
    "not run at its budget",
    "not run",
    "no published number",
]
OF_SIDE: dict[str, Verdict] = {
    "within": "reproduced",
    "better": "better",
    "beyond": "short of it",
}
SHORTER: frozenset[Verdict] = frozenset({"not run at its budget", "on course", "off course"})


@dataclass(frozen=True)
class Measured:
    """What one seed came to.

    Args:
        seed: The seed.
        images_seen: Images trained on; 0 where nothing is trained.
        scores: Its scores.
        missing: The data or weights that were not to be had, and how to get them.
        failed: Why there is no result.
    """

    seed: int
    images_seen: int = 0
    scores: Sequence[Score] = field(default_factory=list)
    missing: str | None = None
    failed: str | None = None


@dataclass(frozen=True)
class Row:
    """A published number beside the one obtained.

    Args:
        metric: What is measured; empty where the paper has no number.
        reported: The published number.
        spread: What the paper prints after +-.
        mean: The mean over seeds.
        se: Its standard error; the score's own +- where there is one seed; None without either.
        n: Number of seeds.
        gap: What is judged, the mean or the best seed, less the published number.
        verdict: One of :data:`Verdict`.
        why: The band, or what forbids a verdict.
        protocol: What the number is fixed to, e.g. ``split=val``: tells rows of a metric apart.
        shorter: Where less was trained than the paper does, how much.
    """

    metric: str
    reported: float | None
    spread: float | None
    mean: float | None
    se: float | None
    n: int
    gap: float | None
    verdict: Verdict
    why: str
    protocol: Mapping[str, Any] = field(default_factory=dict)
    shorter: str = ""


class _Found(NamedTuple):
    """The score of each seed that comes nearest to what a number was measured by."""

    scores: list[Score]
    unlike: list[str]


def judge(paper: Paper, measured: Sequence[Measured]) -> list[Row]:
    """Compare every number of a paper with what was measured.

    A mean over seeds inside the band is ``reproduced``; outside it is ``better`` on the side that
    the number names as better, else ``short of it``. Where the paper shows the best of its runs,
    the best seed is judged in place of the mean, and the row says so. No verdict is given where
    the protocol differs, where less was trained than the paper does, or where nothing was measured;
    where a recipe says what its number is to be after so many images, it is ``on course`` or off,
    by those of its seeds that did not give that band.

    Args:
        paper: The block of an experiment.
        measured: One entry a seed.

    Example:
        >>> from lightning_gen.metrics.protocol import Protocol
        >>> how = Protocol("ring", "", "", 0, 2500, "", "raw", 0, "ab12")
        >>> modes = dict(metric="modes", value=7.9, band=[7.5, 8], why="2 se", better="higher")
        >>> paper = Paper("PacGAN", "arXiv:1712.04086", results=[modes])
        >>> seeds = [Measured(seed, 0, [Score("modes", 8 - seed, how)]) for seed in (0, 1)]
        >>> [row] = judge(paper, seeds)
        >>> row.verdict, row.mean, row.se, round(row.gap, 6)
        ('reproduced', 7.5, 0.5, -0.4)
    """
    return [_judge(paper, result, measured) for result in paper.numbers] or [
        Row("", None, None, None, None, len(measured), None, "no published number", "")
    ]


def _judge(paper: Paper, result: Result, measured: Sequence[Measured]) -> Row:
    fixed = paper.measurement(result)
    missing = next((m.missing for m in measured if m.missing), None)
    failed = next((f"seed {m.seed}: {m.failed}" for m in measured if m.failed), None)
    found = _find(result.metric, fixed, measured)
    values = [score.value for score in found.scores if score.value is not None]
    verdict: Verdict
    shorter = ""
    if missing:
        verdict, why = "data missing", missing
    elif failed or not measured:
        verdict, why = "not run", failed or ""
    elif not found.scores or len(values) < len(measured):
        notes = [score.note for score in found.scores if score.value is None and score.note]
        verdict = "data missing" if notes else "not run"
        why = notes[0] if notes else f"{result.metric} was not measured"
    elif found.unlike:
        verdict, why = "not comparable", "; ".join(found.unlike)
    else:
        by_seed = dict(zip((m.seed for m in measured), values, strict=True))
        least = min(m.images_seen for m in measured)
        verdict, why, shorter = _verdict(paper, result, by_seed, least)
    complete = bool(values) and len(values) == len(measured)
    mean = statistics.fmean(values) if complete else None
    se = found.scores[0].ci if complete else None
    if len(values) > 1:
        se = statistics.stdev(values) / math.sqrt(len(values))
    unlike = not complete or verdict in {"not comparable"}
    gap = None if unlike else _figure(result, values) - result.value
    published = (result.metric, result.value, result.spread)
    return Row(*published, mean, se, len(values), gap, verdict, why, fixed, shorter)


def _figure(result: Result, values: Sequence[float]) -> float:
    """What of the seeds is held against the paper's number."""
    nearest = partial(min, key=lambda value: abs(value - result.value))
    best = {"lower": min, "higher": max}.get(result.better or "", nearest)
    return {"mean": statistics.fmean, "best": best}[result.over](values)


def _verdict(
    paper: Paper, result: Result, values: Mapping[int, float], images: int
) -> tuple[Verdict, str, str]:
    """The verdict on the seeds' values, why, and how much less was trained than the paper does."""
    if paper.images is not None and images < paper.images:
        shorter, early = f"{images:,} of {paper.images:,} images", paper.early_at(images)
        if early is None or result.metric not in early.bands:
            return "not run at its budget", shorter, shorter
        verdict, why = _early_verdict(result, early, values)
        return verdict, f"{shorter}; {why}", shorter
    figure = _figure(result, list(values.values()))
    judged = {"mean": "", "best": f"the best of {len(values)}, {figure:.4g}, is judged; "}
    why = f"{judged[result.over]}{result.passes}: {result.why}"
    return OF_SIDE[_side(result, result.band, figure)], why, ""


def _early_verdict(
    result: Result, early: Early, values: Mapping[int, float]
) -> tuple[Verdict, str]:
    """Judge a shorter run by the seeds that did not give the band."""
    fresh = {seed: value for seed, value in values.items() if seed not in early.seeds}
    if not fresh:
        return "not run at its budget", "its band was made of these seeds and is silent of them"
    figure, band = _figure(result, list(fresh.values())), early.bands[result.metric]
    seeds = "seed" if len(fresh) == 1 else "seeds"
    named = f"{figure:.4g} of {seeds} {', '.join(map(str, fresh))}"
    judged = f", {named} is judged" if len(fresh) < len(values) else ""
    why = f"{words(band)} is on course{judged}: {early.why}"
    return ("off course" if _side(result, band, figure) == "beyond" else "on course"), why


def _side(
    result: Result, band: tuple[float | None, float | None], figure: float
) -> Literal["within", "better", "beyond"]:
    """Where a figure lies: within a band, on the side of it that is better, or beyond it."""
    low = -math.inf if band[0] is None else band[0]
    high = math.inf if band[1] is None else band[1]
    if low <= figure <= high:
        return "within"
    better = {"higher": figure > high, "lower": figure < low}.get(result.better or "", False)
    return "better" if better else "beyond"


def _find(metric: str, fixed: Mapping[str, Any], measured: Sequence[Measured]) -> _Found:
    """Take of each seed the score whose protocol comes nearest; say in what it still differs."""
    scores: list[Score] = []
    unlike: dict[str, None] = {}
    for one in measured:
        rated = [(mismatch(s, fixed), s) for s in one.scores if s.metric == metric]
        if rated:
            differing, score = min(rated, key=lambda pair: len(pair[0]))
            scores.append(score)
            unlike |= dict.fromkeys(differing)
    for score in scores[1:]:
        among = comparable(scores[0], score)
        unlike |= dict.fromkeys(f"{name} differs between seeds" for name in among)
    return _Found(scores, list(unlike))


def mismatch(score: Score, fixed: Mapping[str, Any]) -> list[str]:
    """Name the fields in which a score was measured otherwise than a number is fixed to.

    Args:
        score: The score.
        fixed: From :meth:`~lightning_gen.config.paper.Paper.measurement`.

    Example:
        >>> from lightning_gen.metrics.protocol import Protocol
        >>> how = Protocol("ring", "", "", 0, 2500, "", "raw", 0, "ab12", {"k": 3})
        >>> mismatch(Score("modes", 8, how), {"n_fake": 5000, "options.k": 3})
        ['n_fake is 2500, the paper has 5000']
    """
    protocol = vars(score.protocol)
    has = {k: v for k, v in protocol.items() if k != "options"} | {
        f"options.{k}": v for k, v in score.protocol.options.items()
    }
    return [
        f"{name} is {has.get(name, 'not said')}, the paper has {value}"
        for name, value in fixed.items()
        if has.get(name) != value
    ]
