"""The space of a sweep: a file in W&B's own format, checked before anything starts.

Both engines read the same file::

    method: bayes                                        # or random, or grid
    metric: {name: fid_mnist@10k_test, goal: minimize}   # a score, by its whole name
    run_cap: 20                                          # trials, unless trials= says otherwise
    parameters:                                          # any key of the configuration
      model.optimizers.G.lr: {distribution: log_uniform_values, min: 1.0e-5, max: 1.0e-3}
      model.optimizers.G.betas: {values: [[0.5, 0.999], [0.0, 0.9]]}
      data.batch_size: {value: 64}
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, Literal, Self, cast

import yaml
from hydra.core.override_parser.types import Quote, QuotedString

from lightning_gen.config import compose
from lightning_gen.config.paths import group_files
from lightning_gen.config.problems import NOTHING, ConfigErrors, Problem
from lightning_gen.config.suggest import did_you_mean, nearest
from lightning_gen.errors import ConfigError
from lightning_gen.runs.identity import HARMLESS, covers

KEYS = ("method", "metric", "parameters", "run_cap", "name", "description")
METHODS = ("grid", "random", "bayes")
GOALS = ("minimize", "maximize")
RANGES = ("uniform", "int_uniform", "log_uniform_values")
LISTED = ("categorical", "constant")
PARAMETER = ("value", "values", "distribution", "min", "max")
PLAIN = re.compile(r"(?!(?:null|true|false|nan|inf)$)[a-z_][\w./-]*", re.IGNORECASE)

Value = str | int | float


@dataclass(frozen=True)
class Parameter:
    """One key of the configuration and what it may be.

    Args:
        key: Dotted key or group, as on the command line.
        values: The values to choose from, as Hydra reads them; empty for a range.
        distribution: Of a range: ``uniform``, ``int_uniform`` or ``log_uniform_values``.
        low: Smallest value of a range.
        high: Largest value of a range, itself included.
    """

    key: str
    values: tuple[str, ...] = ()
    distribution: str = "categorical"
    low: float = 0
    high: float = 0

    @property
    def samples(self) -> Sequence[Value]:
        """Every listed value, or both ends of the range."""
        return self.values or (self.low, self.high)


@dataclass(frozen=True)
class Space:
    """What a sweep varies, and what it looks for.

    Args:
        name: The file's stem.
        method: ``grid`` (every combination), ``random`` or ``bayes`` (learns from the trials).
        metric: Name of the score to look at.
        goal: Which way is better.
        parameters: What varies.
        run_cap: Number of trials where none is asked for.
        source: The file's content.
    """

    name: str
    method: Literal["grid", "random", "bayes"]
    metric: str
    goal: Literal["minimize", "maximize"]
    parameters: tuple[Parameter, ...]
    run_cap: int | None
    source: dict[str, Any]

    @classmethod
    def read(cls, name: str) -> Self:
        """Read a space.

        Args:
            name: A file of ``conf/sweep``, or the path of a YAML file.

        Raises:
            ConfigErrors: Listing every mistake of the file.
        """
        path, known = Path(name), group_files("sweep")
        if path.suffix not in {".yaml", ".yml"}:
            if name not in known:
                near = did_you_mean(nearest(name, known))
                remedy = f"one of {', '.join(known)}, or a file FOLDER/NAME.yaml"
                raise ConfigErrors([Problem("sweep", f"there is no sweep {name!r}{near}",
                                            remedy=remedy)])  # fmt: skip
            path = known[name]
        try:
            node = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            why = " ".join(str(error).split())
            raise ConfigError(f"cannot be read: {why}", where=f"sweep={name}") from None
        problems: list[Problem] = []
        space = cls._parse(path.stem, node, problems)
        if problems or space is None:
            raise ConfigErrors(
                [Problem(f"{path.name}: {p.key}", p.rule, p.value, p.remedy, p.near)
                 for p in problems]
            )  # fmt: skip
        return space

    @classmethod
    def _parse(cls, name: str, node: Any, problems: list[Problem]) -> Self | None:
        if not isinstance(node, dict):
            problems.append(Problem("sweep", "must be a mapping", node, f"keys {', '.join(KEYS)}"))
            return None
        _unknown("", node, KEYS, problems)
        metric, space = node.get("metric"), node.get("parameters")
        metric = metric if isinstance(metric, dict) else {}
        _unknown("metric.", metric, ("name", "goal"), problems)
        _choice("method", node.get("method"), METHODS, problems)
        _choice("metric.goal", metric.get("goal"), GOALS, problems)
        if "@" not in str(metric.get("name")):
            rule = "must be the whole name of a score, as scores.json has it"
            problems.append(Problem("metric.name", rule, metric.get("name"), "fid_mnist@10k_test"))
        cap = node.get("run_cap")
        if cap is not None and (not isinstance(cap, int) or cap < 1):
            problems.append(Problem("run_cap", "must be a whole number from 1 on", cap))
        if not isinstance(space, dict) or not space:
            problems.append(Problem("parameters", "must name at least one key", space))
            space = {}
        read = [_parameter(str(key), node, problems) for key, node in space.items()]
        parameters = tuple(p for p in read if p is not None)
        if node.get("method") in {"grid"}:
            problems += [Problem(f"parameters.{p.key}", "a grid needs listed values",
                                 remedy="values: [...], or method: random")
                         for p in parameters if not p.values]  # fmt: skip
        if problems:
            return None
        return cls(
            name, node["method"], metric["name"], metric["goal"], parameters, cap, dict(node)
        )  # fmt: skip

    @property
    def is_grid(self) -> bool:
        """Whether every combination is one trial."""
        return self.method in {"grid"}

    @property
    def size(self) -> int | None:
        """How many points there are; None when a parameter is a range."""
        sizes = [len(p.values) for p in self.parameters]
        return prod(sizes) if all(sizes) else None

    def point(self, number: int) -> dict[str, Value] | None:
        """Give a point of the grid, the last key varying fastest; None past its end."""
        points = list(product(*(p.values for p in self.parameters)))
        keys = [p.key for p in self.parameters]
        return dict(zip(keys, points[number], strict=True)) if number < len(points) else None

    def check(self, overrides: list[str]) -> dict[str, Any]:
        """Check the configuration at every listed value and both ends of every range.

        Args:
            overrides: What all trials share.

        Returns:
            The configuration at the first value of each.

        Raises:
            ConfigErrors: Listing every mistake once.
        """
        found = [
            Problem(p.key, "is not part of what a run is, so trials would share one", remedy=remedy)
            for p in self.parameters
            if covers(HARMLESS, p.key)
            for remedy in [f"give {p.key}= on the command line: it holds for all trials"]
        ]
        first: dict[str, Value] = {p.key: p.samples[0] for p in self.parameters}
        others = [{p.key: value} for p in self.parameters for value in p.samples[1:]]
        config = None
        try:
            config = compose.check_overrides([*overrides, *words(first)])
        except ConfigErrors as errors:
            found += errors.problems
        with compose._hydra(compose.Request()) as composer:  # one, as it remembers groups
            for other in others:
                lines = composer.parse([*overrides, *words(first | other)])
                composer.compose([override for _, override in lines])
            found += composer.problems
        for key in ("name", "fresh"):
            if config and config["run"][key]:
                rule = "must be left out: each trial has the folder of its own configuration"
                found.append(Problem(f"run.{key}", rule, config["run"][key]))
        if found or config is None:
            raise ConfigErrors(list({str(p): p for p in found}.values()))
        return config

    def for_wandb(self) -> dict[str, Any]:
        """Give the file as W&B takes it: what Python and Hydra write differently is text."""
        parameters = {}
        for key, node in self.source["parameters"].items():
            parameters[key] = dict(node)
            if "values" in node:
                parameters[key]["values"] = [_sent(value) for value in node["values"]]
            if "value" in node:
                parameters[key]["value"] = _sent(node["value"])
        metric = {"name": f"scores/{self.metric}", "goal": self.goal}
        return {"name": self.name, **self.source, "metric": metric, "parameters": parameters}


def words(point: dict[str, Value]) -> list[str]:
    """Write a point as overrides.

    Example:
        >>> words({"model.lr": 1e-05, "data": "ring"})
        ['model.lr=1e-05', 'data=ring']
    """
    return [f"{key}={value}" for key, value in point.items()]


def text(value: Any) -> str:
    """Write a value as Hydra reads it on a command line.

    Example:
        >>> text([0.5, None, True]), text("gan"), text("a, b")
        ('[0.5,null,true]', 'gan', "'a, b'")
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{','.join(map(text, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{text(item)}' for key, item in value.items())}}}"
    if isinstance(value, str) and not PLAIN.fullmatch(value):
        return QuotedString(value, Quote.single).with_quotes()
    return str(value)


def _sent(value: Any) -> Value:
    return value if type(value) in (int, float) else text(value)


def _unknown(
    where: str, node: dict[Any, Any], known: Sequence[str], problems: list[Problem]
) -> None:
    for word in node:
        if word not in known:
            near = did_you_mean(nearest(str(word), known))
            problems.append(Problem(f"{where}{word}", "unknown key", near=near,
                                    remedy=f"one of {', '.join(known)}"))  # fmt: skip


def _choice(key: str, value: Any, known: Sequence[str], problems: list[Problem]) -> None:
    if value not in known:
        near = did_you_mean(nearest(str(value), known))
        problems.append(Problem(key, f"must be one of {', '.join(known)}", value, near=near))


def _parameter(key: str, node: Any, problems: list[Problem]) -> Parameter | None:
    where, count = f"parameters.{key}", len(problems)
    if not isinstance(node, dict):
        problems.append(Problem(where, "must be a mapping", node, "{values: [...]}"))
        return None
    _unknown(f"{where}.", node, PARAMETER, problems)
    listed = [node["value"]] if "value" in node else node.get("values")
    if listed is not None:
        if not isinstance(listed, list) or not listed:
            problems.append(Problem(f"{where}.values", "must be a list of values", listed))
            return None
        _choice(f"{where}.distribution", node.get("distribution", LISTED[0]), LISTED, problems)
        return Parameter(key, tuple(dict.fromkeys(map(text, listed))))
    ends = (node.get("min", NOTHING), node.get("max", NOTHING))
    for name, end in zip(("min", "max"), ends, strict=True):
        if end is NOTHING:
            problems.append(Problem(where, f"has neither values nor {name}"))
        elif type(end) not in (int, float):
            remedy = "YAML reads 1e-5 as a word: write 1.0e-5"
            problems.append(Problem(f"{where}.{name}", "must be a number", end, remedy))
    whole = all(type(end) is int for end in ends)
    kind = node.get("distribution", "int_uniform" if whole else "uniform")
    _choice(f"{where}.distribution", kind, (*RANGES, *LISTED), problems)
    if kind in LISTED:
        problems.append(Problem(where, f"a {kind} parameter needs value or values"))
    if len(problems) > count:
        return None
    low, high = cast(tuple[float, float], ends)
    if not low < high:
        problems.append(Problem(f"{where}.min", f"must be less than max={high}", low))
    if kind in {"int_uniform"} and not whole:
        problems.append(Problem(where, "int_uniform needs whole numbers", [low, high]))
    if kind in {"log_uniform_values"} and low <= 0:
        problems.append(Problem(f"{where}.min", "must be above 0 for a logarithm", low))
    return Parameter(key, (), kind, low, high)
