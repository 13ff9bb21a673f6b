"""RESULTS.md: every published number beside the one obtained, how it was run, and its source."""

from collections.abc import Iterator, Sequence

from lightning_gen.baselines import shortlist
from lightning_gen.baselines.results import BaselineResult
from lightning_gen.baselines.table import (
    Judged,
    cell,
    cells,
    counts,
    how,
    in_words,
    number,
    table_row,
)
from lightning_gen.baselines.verdict import Row

HEADER = """# Results

What the papers report, what this code obtains, and the verdict. Made from the files in
[results](results) by `lightning-gen reproduce`; nothing in it is typed. A number is compared only
with one that was measured in the same way; where it was not, the field that differs is named.
After ± stands the standard error over seeds (n of them), or of one seed what its protocol says.
"""
GRADES = {
    "read": "read in the paper or its authors' code",
    "transcribed": "transcribed from somebody's copy",
    "unconfirmed": "not confirmed",
    "derived": "derived, or counted exactly",
}


def markdown(found: Sequence[Judged]) -> str:
    """Write RESULTS.md.

    Args:
        found: Judged baselines.
    """
    known = [one for one in found if one.baseline.check is not None]
    recipes = [one for one in found if one.baseline.check is None]
    lines = [HEADER]
    for some in shortlist.shipped_lists():
        lines += [f"## {some.title}", "", shortlist.markdown(some, found), ""]
    lines += ["## All numbers", "", f"Of {counts(found)}.", ""]
    for title, ones in (("Known answers", known), ("Recipes", recipes)):
        lines += [f"### {title}", "", *_verdicts(ones), ""]
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


def _sources(found: Sequence[Judged]) -> Iterator[str]:
    for one in found:
        paper = one.baseline.paper
        if paper is None:
            continue
        place = f", {paper.table}" if paper.table else ""
        source = f" ({paper.source})" if paper.source else ""
        yield f"- `{one.baseline.name}`: [{cell(paper.citation)}]({paper.url}){place}; "
        yield f"  {GRADES[paper.evidence]}{cell(source)}."
        alike = [
            {k: v for k, v in row.protocol.items() if all(r.protocol.get(k) == v for r in one.rows)}
            for row in one.rows[:1]
        ]
        if alike and alike[0]:
            yield f"  - Measured with{in_words(alike[0])}."
        if paper.checkpoint:
            yield f"  - The weights that the paper scores: {paper.checkpoint}; ours: the last."
        for departure in paper.departures:
            yield f"  - Otherwise than the paper: {departure}."
