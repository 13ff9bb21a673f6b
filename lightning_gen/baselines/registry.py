"""What can be reproduced: recipes, and checks whose answer is known; read without torch."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lightning_gen.config.paper import Paper
from lightning_gen.config.paths import experiment_dirs, group_files
from lightning_gen.config.problems import ConfigErrors, Problem
from lightning_gen.config.schema import validate_known, validate_paper
from lightning_gen.config.suggest import did_you_mean, nearest
from lightning_gen.errors import ConfigError


@dataclass(frozen=True)
class Baseline:
    """A recipe (``experiments/<name>.yaml``) or a check (``experiments/known/<name>.yaml``).

    Args:
        name: The file's name.
        summary: Its first comment.
        paper: What it is measured by; None if the file has no such block.
        check: Of a check, the node of its class; None makes it a recipe.
        data: Of a check, its choice of ``conf/data``.
    """

    name: str
    summary: str
    paper: Paper | None
    check: Mapping[str, Any] | None = None
    data: str | None = None


def baselines() -> list[Baseline]:
    """Every check, then every recipe.

    Raises:
        ConfigErrors: If a file is wrong.
    """
    return [*(load_known(name) for name in known_files()), *(load_recipe(n) for n in _recipes())]


def named(names: list[str]) -> list[Baseline]:
    """Look baselines up.

    Args:
        names: Names of files.

    Raises:
        ConfigError: Naming each unknown one, with the nearest.
    """
    known, recipes = known_files(), _recipes()
    problems = [
        Problem(
            name,
            "is no experiment and no known answer",
            near=did_you_mean(nearest(name, [*known, *recipes])),
            remedy="lightning-gen list experiments --paper",
        )
        for name in names
        if name not in {*known, *recipes}
    ]
    if problems:
        raise ConfigErrors(problems)
    return [load_known(name) if name in known else load_recipe(name) for name in names]


def known_files() -> dict[str, Path]:
    """The checks and their files, the user's own before the shipped."""
    files = [f for d in reversed(experiment_dirs()) for f in sorted((d / "known").glob("*.yaml"))]
    return {f.stem: f for f in sorted(files, key=lambda f: f.stem)}


def load_known(name: str) -> Baseline:
    """Read and check ``experiments/known/<name>.yaml``.

    Args:
        name: The check.

    Raises:
        ConfigErrors: If the file is wrong.
    """
    file = known_files()[name]
    values, problems = validate_known(read(file))
    if problems:
        raise ConfigErrors(list(_in(file, problems)))
    paper = Paper(**values["paper"])
    return Baseline(name, comment(file), paper, values["check"], values.get("data"))


def load_recipe(name: str) -> Baseline:
    """Read the ``paper:`` block of ``experiments/<name>.yaml``, without composing it.

    Args:
        name: The experiment.

    Raises:
        ConfigErrors: If the block is wrong.
    """
    file = _recipes()[name]
    problems: list[Problem] = []
    block = validate_paper(read(file).get("paper"), problems)
    if problems:
        raise ConfigErrors(list(_in(file, problems)))
    return Baseline(name, comment(file), None if block is None else Paper(**block))


def read(file: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Args:
        file: The file.

    Raises:
        ConfigError: If it is none.
    """
    try:
        loaded = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {' '.join(str(error).split())}", where=file) from None
    if not isinstance(loaded, dict):
        raise ConfigError("must be a mapping", where=file)
    return loaded


def comment(file: Path) -> str:
    """The first comment of a YAML file that is not Hydra's.

    Args:
        file: The file.
    """
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") and "@package" not in line:
            return line.lstrip("# ")
    return ""


def _recipes() -> dict[str, Path]:
    return group_files("experiment")


def _in(file: Path, problems: list[Problem]) -> Iterator[Problem]:
    for p in problems:
        yield Problem(f"{file}: {p.key}", p.rule, p.value, p.remedy, p.near)
