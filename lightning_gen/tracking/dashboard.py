"""A W&B workspace and a report of the baselines, written as code with wandb-workspaces.

W&B's line plots have no reference line. What they have is expressions over what a run logs, at the
points where it was logged: so a published number is ``0 * ${eval/...} + value`` beside the score
``${eval/...}`` that is comparable with it. Expressions may stand in place of a plot's metrics, so
such a plot has nothing else.

Run as ``python -m`` it reads what to build as JSON from stdin, publishes it, and answers with the
links or with ``failed``: like :mod:`lightning_gen.tracking.wandb_process`, so that a server that
hangs is left behind.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_gen.config.paper import Paper
from lightning_gen.errors import OutputError
from lightning_gen.tracking.panels import (
    SCORES,
    SECTIONS,
    X_AXIS,
    Panel,
    facts,
    paper_key,
    shown,
)

NAME = "lightning_gen"
TITLE = "Reproduced baselines"
WIDTH, HEIGHT, COLUMNS = 8, 6, 3  # of a report's panel, in the 24 columns of its grid
TIMEOUT = 90.0
"""Seconds a server may take for all of it."""


@dataclass(frozen=True)
class Experiment:
    """What a dashboard says of an experiment; all of it is JSON.

    Args:
        name: Its name, the W&B group of its runs.
        known: What decides which names its runs log.
        papers: By the name of a score in W&B, the published number that is comparable with it,
            after the name over whose points it is drawn.
        heading: Citation, address, and the rest of the line about the source.
        notes: What it does otherwise than the paper.
        table: Reported, obtained, gap and verdict, in Markdown.
    """

    name: str
    known: list[str]
    papers: Mapping[str, tuple[str, float]]
    heading: tuple[str, str, str] | None = None
    notes: Sequence[str] = ()
    table: str = ""

    @property
    def facts(self) -> set[str]:
        """``known`` as a set."""
        return set(self.known)


def describe(name: str, config: Mapping[str, Any], paper: Paper | None, table: str) -> Experiment:
    """Collect what a dashboard says of an experiment.

    Args:
        name: Its name.
        config: Its checked configuration.
        paper: Its paper.
        table: The verdicts in Markdown; empty where there is no paper.
    """
    known = facts(config)
    if paper is None:
        return Experiment(name, sorted(known), {})
    papers: dict[str, tuple[str, float]] = {}
    for result in paper.numbers:
        key, along = paper_key(config, paper, result) or ("", "")
        if any(p.shows(key) and shown(p, [known]) for p in SECTIONS[SCORES]):
            papers[key] = (along, float(result.value))
    place = f", {paper.table}" if paper.table else ""
    source = f": {paper.source}" if paper.source else ""
    heading = (paper.citation, paper.url, f"{place}. Evidence: {paper.evidence}{source}.")
    return Experiment(name, sorted(known), papers, heading, list(paper.departures), table)


def sections(experiments: Sequence[Experiment]) -> dict[str, list[Panel]]:
    """Choose from the catalogue the panels that the experiments' runs fill.

    The scores begin with those that a paper reports, each with a line at every number.

    Args:
        experiments: What is shown.
    """
    known = [experiment.facts for experiment in experiments]
    chosen = {
        name: [panel for panel in panels if shown(panel, known)]
        for name, panels in SECTIONS.items()
    }
    chosen[SCORES] = [*_with_papers(experiments), *chosen[SCORES]]
    return {name: panels for name, panels in chosen.items() if panels}


def _with_papers(experiments: Sequence[Experiment]) -> Iterator[Panel]:
    for key in dict.fromkeys(key for e in experiments for key in e.papers):
        reported = {e.name: e.papers[key] for e in experiments if key in e.papers}
        words = ", ".join(f"{name} {value:g}" for name, (_, value) in reported.items())
        lines = tuple(dict.fromkeys((along, value) for along, value in reported.values()))
        yield Panel(f"{key.partition('/')[2]}; papers: {words}", key, lines=lines)


def workspace(project: str, entity: str, experiments: Sequence[Experiment]) -> Any:
    """Build the workspace: runs grouped by experiment, over the images seen.

    Args:
        project: W&B project.
        entity: W&B user or team.
        experiments: Whose runs are shown.

    Returns:
        A ``wandb_workspaces.workspaces.Workspace``.
    """
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces.expr import Metric

    return ws.Workspace(
        entity=entity,
        project=project,
        name=NAME,
        sections=[
            ws.Section(
                name=name,
                panels=[plot(panel, f"workspace/{name}/{i}") for i, panel in enumerate(panels)],
                is_open=True,
                panel_settings=ws.SectionPanelSettings(x_axis=X_AXIS),
            )
            for name, panels in sections(experiments).items()
        ],
        settings=ws.WorkspaceSettings(x_axis=X_AXIS, max_runs=50),
        runset_settings=ws.RunsetSettings(
            filters=[Metric("Group").isin([experiment.name for experiment in experiments])],
            groupby=[Metric("Group")],
        ),
    )


def report(project: str, entity: str, experiments: Sequence[Experiment], *, live: bool) -> Any:
    """Build the report: of each experiment with a paper its source, its verdicts and its scores.

    Args:
        project: W&B project.
        entity: W&B user or team.
        experiments: Those without a paper are left out.
        live: Whether run sets name their project, for which the server is asked; without it they
            take the report's own.

    Returns:
        A ``wandb_workspaces.reports.v2.Report``.
    """
    import wandb_workspaces.reports.v2 as wr
    from wandb_workspaces.expr import Metric

    blocks: list[Any] = [wr.TableOfContents()]
    for experiment in experiments:
        if experiment.heading is None:
            continue
        citation, url, rest = experiment.heading
        blocks += [
            wr.H2(experiment.name),
            wr.P([wr.Link(citation, url), rest]),
            *([wr.UnorderedList(list(experiment.notes))] if experiment.notes else []),
            *([wr.MarkdownBlock(experiment.table)] if experiment.table else []),
        ]
        runs = wr.Runset(
            entity=entity if live else "",
            project=project if live else "",
            name=experiment.name,
            filters=[Metric("Group") == experiment.name],
            groupby=["group"],
        )
        runs._id = _identifier(f"report/{experiment.name}")
        chosen = sections([experiment])
        panels = [
            plot(panel, f"report/{experiment.name}/{i}", i)
            for i, panel in enumerate(
                panel for name in list(SECTIONS)[:2] for panel in chosen.get(name, [])
            )
        ]
        blocks.append(wr.PanelGrid(runsets=[runs], panels=panels))
    return wr.Report(project=project, entity=entity, title=TITLE, blocks=blocks, width="fluid")


def plot(panel: Panel, place: str, index: int = 0) -> Any:
    """Make W&B's panel; groups of runs are shown as mean and standard deviation.

    Args:
        panel: What it shows.
        place: Where it stands, from which its identifier is made.
        index: Its number in the grid of a report.
    """
    import wandb_workspaces.reports.v2 as wr

    row, column = divmod(index, COLUMNS)
    layout = wr.Layout(x=column * WIDTH, y=row * HEIGHT, w=WIDTH, h=HEIGHT)
    if panel.pictures:
        made: Any = wr.MediaBrowser(
            title=panel.title, media_keys=panel.names, mode="gallery", layout=layout
        )
    else:
        made = wr.LinePlot(
            title=panel.title,
            x=X_AXIS,
            y=[] if panel.lines else [*panel.names],
            metric_regex=panel.regex,
            custom_expressions=[*expressions(panel)] or None,
            title_x="images seen",
            groupby_aggfunc="mean",
            groupby_rangefunc="stddev",
            smoothing_type="none",
            max_runs_to_show=50,
            layout=layout,
        )
    made._id = _identifier(place)
    return made


def expressions(panel: Panel) -> Iterator[str]:
    """Write a panel with lines in W&B's expressions: its scores, then the lines.

    Example:
        >>> list(expressions(Panel("modes", "eval/modes", lines=(("eval/modes", -6.5),))))
        ['${eval/modes}', '0 * ${eval/modes} - 6.5']
    """
    for name in panel.names if panel.lines else ():
        yield f"${{{name}}}"
    for along, value in panel.lines:
        yield f"0 * ${{{along}}} {'-' if value < 0 else '+'} {abs(value)!r}"


def _identifier(place: str) -> str:
    """W&B's identifier of a panel or run set: made of its place, so that it stays the same."""
    return hashlib.sha256(place.encode()).hexdigest()[:12]


def specification(
    project: str, entity: str, experiments: Sequence[Experiment]
) -> dict[str, dict[str, Any]]:
    """Give the workspace and the report as what W&B stores; the network is not used.

    Args:
        project: W&B project.
        entity: W&B user or team; empty is not said.
        experiments: What is shown.
    """
    built = {
        "workspace": workspace(project, entity, experiments),
        "report": report(project, entity, experiments, live=False),
    }
    return {
        name: one._to_model().model_dump(mode="json", by_alias=True, exclude_none=True)
        for name, one in built.items()
    }


def write(specifications: Mapping[str, Any], out: Path) -> list[Path]:
    """Write specifications as JSON, the same bytes for the same content.

    Args:
        specifications: By name.
        out: One file, if its name ends in .json; else the folder of a file for each.

    Raises:
        OutputError: If it cannot be written.
    """
    from lightning_gen.runs import atomic

    files: dict[Path, Any] = {out / f"{k}.json": v for k, v in specifications.items()}
    if out.suffix in {".json"}:
        files = {out: specifications}
    for path, content in files.items():
        text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False)
        try:
            with atomic.output_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            atomic.write(path, f"{text}\n".encode())
        except OutputError as error:
            raise OutputError(error.what, where=path, fix="out=FOLDER you can write to") from error
    return list(files)


def publish(
    project: str, entity: str | None, experiments: Iterable[Experiment], timeout: float = TIMEOUT
) -> dict[str, str]:
    """Save the workspace and the report in W&B.

    Args:
        project: W&B project.
        entity: W&B user or team; None is the key's own.
        experiments: What is shown.
        timeout: Seconds the server may take.

    Returns:
        The links by name.

    Raises:
        OutputError: If there is no key or no server, or the server refuses.
    """
    from lightning_gen.tracking.wandb import check

    found = check()
    reason = found.get("failed") or found.get("reason")
    server = found.get("server")
    if reason is None:
        asked = {
            "project": project,
            "entity": entity,
            "experiments": [vars(experiment) for experiment in experiments],
        }
        answer = _ask(json.dumps(asked), timeout)
        if "failed" not in answer:
            return answer
        reason = answer["failed"]
    raise OutputError(
        f"the dashboard was not published: {reason}",
        where=server,
        fix="`wandb login` or WANDB_API_KEY for a key, WANDB_BASE_URL for another server, entity= "
        "for another team; --dry-run writes the specification without any of them",
    )


def _ask(asked: str, timeout: float) -> dict[str, str]:
    command = [sys.executable, "-m", "lightning_gen.tracking.dashboard"]
    try:
        done = subprocess.run(
            command, input=asked, capture_output=True, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"no answer within {timeout:g} s"}
    lines = done.stdout.splitlines() or ['{"failed": "the process of W&B ended"}']
    answer: dict[str, str] = json.loads(lines[-1])
    return answer


def main() -> None:
    """Publish what stdin asks for."""
    asked = json.load(sys.stdin)
    experiments = [Experiment(**experiment) for experiment in asked["experiments"]]
    try:
        with Path(os.devnull).open("w") as null, redirect_stderr(null):
            import wandb

            entity = asked["entity"] or wandb.Api().default_entity or ""
            built = {  # the report first: it asks for the project
                "report": report(asked["project"], entity, experiments, live=True),
                "workspace": workspace(asked["project"], entity, experiments),
            }
            links = {name: one.save().url for name, one in built.items()}
    except Exception as error:  # W&B may fail in any way; the other process says how
        text = " ".join(str(error).split())
        links = {"failed": f"{type(error).__name__}: {text}"[:300].rstrip(": ")}
    print(json.dumps(links), flush=True)


if __name__ == "__main__":
    main()
