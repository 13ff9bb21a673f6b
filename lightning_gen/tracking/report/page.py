"""One page that holds a whole comparison and needs no network."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from lightning_gen.tracking.records import Problem, Record
from lightning_gen.tracking.report import curves, groups, pictures, scores
from lightning_gen.tracking.report.groups import Group, Row

HERE = Path(__file__).parent
SECTIONS = {
    "eval": "Scores",
    "collapse": "Mode collapse",
    "train": "Losses and player health",
    "system": "Speed and memory",
}


@dataclass(frozen=True)
class Report:
    """Everything that a comparison says, before it is drawn or printed.

    Args:
        groups: Runs by configuration.
        problems: Runs that were left out.
        differences: Keys in which the groups differ.
        columns: The scores.
        comparisons: Each group against the first.
        untested: Why there are no more comparisons.
        papers: How the groups' papers were met.
    """

    groups: list[Group]
    problems: list[Problem]
    differences: list[Row]
    columns: list[scores.Column]
    comparisons: list[scores.Comparison]
    untested: list[str]
    papers: list[scores.PaperGap]

    @property
    def shared_protocol(self) -> dict[str, str]:
        """What all scores have in common, to be said once."""
        first, *rest = [column.protocol for column in self.columns] or [{}]
        return {k: v for k, v in first.items() if all(other.get(k) == v for other in rest)}

    def own_protocol(self, column: scores.Column) -> dict[str, str]:
        """What else a score was measured by.

        Args:
            column: One of :attr:`columns`.
        """
        shared = self.shared_protocol
        return {k: v for k, v in column.protocol.items() if k not in shared}


def compare(records: Sequence[Record], problems: Sequence[Problem] = ()) -> Report:
    """Compare runs.

    Args:
        records: Runs, the group of the first being the one that others are compared with.
        problems: Runs that could not be read.
    """
    found = groups.group(records)
    columns = scores.columns(found)
    made, untested = scores.comparisons(columns, found)
    return Report(
        found, list(problems), groups.differences(found), columns, made, untested,
        scores.paper_gaps(found),
    )  # fmt: skip


def render(report: Report, spread: curves.Spread = "se") -> str:
    """Draw a comparison as one HTML page.

    Nothing of a run can act in it: text is escaped, and the page's policy admits no script but the
    two that are its own, and no address outside it.

    Args:
        report: From :func:`compare`.
        spread: What the bands around means show.
    """
    from plotly.offline import get_plotlyjs

    panels, points = curves.panels(report.groups, spread)
    films, shown = pictures.films(report.groups)
    plotly, script = get_plotlyjs(), (HERE / "page.js").read_text("utf-8")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    environment.filters |= {"number": number, "plusminus": plusminus, "words": words}
    return environment.get_template("page.html.j2").render(
        report=report,
        records=[(i, record) for i, group in enumerate(report.groups) for record in group.records],
        panels=panels,
        sections={kind: title for kind, title in SECTIONS.items() if any(_of(kind, panels))},
        films=films,
        points=points,
        pictures=shown,
        side=pictures.SIDE,
        grid=curves.GRID,
        spread={"se": "standard error of the mean", "std": "standard deviation"}[spread],
        diagnostics=_diagnostics(report.groups),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        plotly=Markup(plotly),  # noqa: S704 (the library itself)
        script=Markup(script),  # noqa: S704 (a file of this package)
        style=Markup((HERE / "page.css").read_text("utf-8")),  # noqa: S704 (likewise)
        hashes=[_hash(plotly), _hash(script)],
        data={
            "labels": [group.label for group in report.groups],
            "panels": panels,
            "films": films,
        },
    )


def _of(kind: str, panels: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [panel for panel in panels if panel["kind"] == kind]


def _diagnostics(found: Sequence[Group]) -> list[str]:
    """Names of the collapse diagnostics that any run has."""
    records = (record for group in found for record in group.records)
    keys = dict.fromkeys(key for record in records for key in record.curves)
    return [key.partition("/")[2] for key in keys if key.startswith("collapse/")]


def _hash(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def number(value: float | None, digits: int = 4) -> str:
    """Write a number in few digits; a dash where there is none.

    Example:
        >>> number(0.123456), number(640000), number(None)
        ('0.1235', '640,000', '–')
    """
    if value is None or value != value:
        return "–"
    if abs(value) >= 1000:
        return f"{value:,.0f}" if abs(value) < 1e12 else f"{value:.{digits}g}"
    return f"{value:.{digits}g}"


def plusminus(mean: float, width: float | None) -> str:
    """Write a mean with what stands after +-.

    Example:
        >>> plusminus(7.25, 0.4787)
        '7.25 ± 0.48'
    """
    return number(mean) + (f" ± {width:.2g}" if width is not None else "")


def words(fields: dict[str, str]) -> str:
    """Write fields as ``key=value``."""
    return " ".join(f"{key}={value}" for key, value in fields.items())
