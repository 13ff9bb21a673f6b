"""Build a W&B workspace and a report of the baselines."""

from pathlib import Path
from typing import TYPE_CHECKING

from lightning_gen.cli.arguments import bind, wants_help
from lightning_gen.errors import ConfigError

if TYPE_CHECKING:
    from lightning_gen.tracking.dashboard import Experiment

DRY_RUN = "--dry-run"


def dashboard(
    project: str,
    entity: str | None = None,
    experiments: str | None = None,
    results: Path | None = None,
    out: Path | None = None,
    dry_run: bool = False,
) -> dict[str, str]:
    """Build a W&B workspace and a report of the baselines, and publish both.

    The workspace has the runs of the experiments, grouped: samples, scores against images seen with
    the papers' values as lines, mode collapse, losses and player health, cost. The report has each
    paper, its verdicts and its scores. With --dry-run both are written as JSON and nothing is sent.

    Args:
        project: The W&B project, that of logger.project.
        entity: W&B user or team; by default the key's own.
        experiments: Names with commas between them; by default all that have a paper.
        results: Folder of the result files of `lightning-gen reproduce`.
        out: With --dry-run, a folder or a .json file; by default the folder dashboard.
        dry_run: The same as --dry-run.

    Returns:
        Links, or files, by name.
    """
    from lightning_gen.tracking.dashboard import publish, specification, write

    if not project:
        raise ConfigError("project= is empty", fix="project=NAME, that of logger.project")
    if out is not None and not dry_run:
        raise ConfigError("out= is for --dry-run", where="out", fix=f"add {DRY_RUN}")
    chosen = [_describe(name, results) for name in _names(experiments)]
    if not dry_run:
        return publish(project, entity, chosen)
    files = write(specification(project, entity or "", chosen), out or Path("dashboard"))
    return {file.stem: str(file) for file in files}


def main(argv: list[str]) -> int:
    """Run ``lightning-gen dashboard project=NAME``.

    Args:
        argv: Words after the verb.
    """
    if wants_help(dashboard, "dashboard", argv):
        return 0
    words = ["dry_run=true" if word in {DRY_RUN} else word for word in argv]
    for name, place in dashboard(**bind(dashboard, words)).items():
        print(f"{name:10} {place}")
    return 0


def _names(asked: str | None) -> list[str]:
    from lightning_gen.baselines.registry import load_recipe, named
    from lightning_gen.config.paths import group_files

    if asked is None:
        known = list(group_files("experiment"))
        return [name for name in known if load_recipe(name).paper] or known
    names = [name.strip() for name in asked.strip("[]").split(",")]
    for baseline in named(names):
        if baseline.check is not None:
            raise ConfigError(
                f"{baseline.name} is a known answer: it trains nothing that W&B could show",
                where="experiments",
                fix="lightning-gen list experiments",
            )
    return list(dict.fromkeys(names))


def _describe(name: str, results: Path | None) -> "Experiment":
    from lightning_gen.baselines.registry import load_recipe
    from lightning_gen.baselines.results import read
    from lightning_gen.baselines.table import cells, judged, table_row
    from lightning_gen.config.compose import check_overrides
    from lightning_gen.config.paths import shipped
    from lightning_gen.tracking.dashboard import describe

    baseline = load_recipe(name)
    path = (results or shipped("experiments") / "results") / f"{name}.json"
    rows = judged(baseline, read(path) if path.exists() else None).rows
    rows = [row for row in rows if row.metric]  # the rest: the paper has no number
    lines = ["| number | reported | obtained | gap | verdict | why |", "|" + " --- |" * 6]
    for row in rows:
        shown = cells(row)
        del shown["n"]
        lines.append(table_row(shown.values()))
    config = check_overrides([f"experiment={name}"])
    return describe(name, config, baseline.paper, "\n".join(lines) if rows else "")
