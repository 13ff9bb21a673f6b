"""List what there is: models, experiments, data sets, metrics."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from lightning_gen.config import paths
from lightning_gen.config.signature import TargetError, modules, of_module, read
from lightning_gen.config.suggest import did_you_mean, nearest
from lightning_gen.errors import ConfigError

Row = tuple[str, str, str]


def main(argv: list[str]) -> int:
    """Run ``lightning-gen list models|experiments|data|metrics``.

    Args:
        argv: What to list.
    """
    known = f"one of {', '.join(KINDS)}"
    if not argv or argv[0] in {"-h", "--help"}:
        print(f"usage: lightning-gen list KIND\n\nKIND is {known}.")
        return 0
    for kind in argv:
        if kind not in KINDS:
            near = did_you_mean(nearest(kind, KINDS, n=1))
            raise ConfigError(f"nothing called {kind!r} can be listed{near}", fix=known)
    for kind in argv:
        show(kind, list(KINDS[kind]()))
    return 0


def models() -> Iterator[Row]:
    """Models: name, paper, one line."""
    return _targets("model")


def data() -> Iterator[Row]:
    """Data sets: name, source, one line."""
    return _targets("data")


def experiments() -> Iterator[Row]:
    """Experiments: name, paper of the model, first line of the file."""
    papers = {name: paper for name, paper, _ in models()}
    for name, file in paths.group_files("experiment").items():
        try:
            yield name, papers.get(_choice(file, "model") or "", ""), _comment(file)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            yield name, "", f"{file} cannot be read: {' '.join(str(error).split())}"


def metrics() -> Iterator[Row]:
    """Metrics: file, paper, one line; then the choices of ``metrics=``."""
    for module in modules("lightning_gen.metrics"):
        summary, reference = of_module(module)
        if reference is not None:
            yield module.rpartition(".")[2], reference, summary
    for name, file in paths.group_files("metrics").items():
        yield f"metrics={name}", "", _comment(file)


KINDS: dict[str, Callable[[], Iterator[Row]]] = {
    "models": models,
    "experiments": experiments,
    "data": data,
    "metrics": metrics,
}


def show(kind: str, rows: list[Row]) -> None:
    """Print rows as a table, or with tabs between the columns when nobody watches.

    Args:
        kind: Title.
        rows: Name, paper, one line.
    """
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "paper", "", title=kind, box=None, title_justify="left")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _targets(group: str) -> Iterator[Row]:
    for name, file in paths.group_files(group).items():
        target = _yaml(file).get("_target_")
        try:
            signature = read(str(target))
        except TargetError as error:
            yield name, "", error.what
        else:
            yield name, signature.reference or "", signature.summary


def _choice(file: Path, group: str) -> str | None:
    """Which choice of a group an experiment's defaults name."""
    for entry in _yaml(file).get("defaults") or []:
        for key, value in entry.items() if isinstance(entry, dict) else ():
            if key.split()[-1].strip("/") in {group}:
                return str(value)
    return None


def _yaml(file: Path) -> dict[str, Any]:
    loaded = yaml.safe_load(file.read_text(encoding="utf-8"))
    return loaded if isinstance(loaded, dict) else {}


def _comment(file: Path) -> str:
    """The first comment of a YAML file that is not Hydra's."""
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") and "@package" not in line:
            return line.lstrip("# ")
    return ""
