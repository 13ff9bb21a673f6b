"""From the command line to a checked configuration, without torch and without touching a file."""

import copy
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, cast

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from platformdirs import user_cache_path

from lightning_gen.config import experiments, rules, schema
from lightning_gen.config.paths import conf_dir
from lightning_gen.config.problems import NOTHING, ConfigErrors, Problem, shorten
from lightning_gen.config.signature import TargetError, read
from lightning_gen.config.suggest import did_you_mean, nearest, nearest_key
from lightning_gen.errors import ConfigError

MOST_CHECKED = 64  # combinations of a sweep; each of the rest is checked when its job starts
LISTED = {"model": "models", "data": "data", "experiment": "experiments", "metrics": "metrics"}
HEADER = "an experiment's first line is '# @package _global_', and it is a mapping"
PLUGINS = ("joblib", "submitit")  # launchers of Hydra's, an extra of the package
REFUSED_FLAGS = ("--config-path", "-cp", "--config-name", "-cn")


@dataclass
class Request:
    """A command line, taken apart.

    Args:
        overrides: Hydra's ``key=value`` words.
        flags: Everything else that starts with a dash.
        multirun: Whether ``-m`` is among them.
        config_dir: The folder after ``--config-dir``.
    """

    overrides: list[str] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    multirun: bool = False
    config_dir: str | None = None


def parse_argv(argv: Sequence[str]) -> Request:
    """Split the words of a Hydra application into overrides and flags.

    Example:
        >>> parse_argv(["-m", "seed=0,1"])
        Request(overrides=['seed=0,1'], flags=['-m'], multirun=True, config_dir=None)
    """
    request = Request()
    words = iter(argv)
    for word in words:
        flag, equals, value = word.partition("=")
        if not word.startswith("-"):
            request.overrides.append(word)
            continue
        if flag in {"--config-dir", "-cd"}:
            request.config_dir = value if equals else next(words, "")
            continue
        request.flags.append(word)
        request.multirun |= flag in {"-m", "--multirun"}
        if flag in {"--cfg", "-c", "--package", "-p", *REFUSED_FLAGS} and not equals:
            next(words, None)
    return request


def check_overrides(argv: Sequence[str]) -> dict[str, Any]:
    """Compose and check the configuration that a command line asks for.

    Args:
        argv: Overrides, and Hydra's flags; of a sweep every combination is checked.

    Returns:
        The resolved configuration, with all literal defaults of our own classes written out; of a
        sweep, that of the first job.

    Raises:
        ConfigErrors: Listing every mistake.
    """
    config = check_sweep(argv)[0][1]
    assert config is not None
    return config


def check_sweep(argv: Sequence[str]) -> list[tuple[list[str], dict[str, Any] | None]]:
    """Check a command line and expand its sweep.

    Args:
        argv: Overrides and Hydra's flags. Without ``-m`` there is one job.

    Returns:
        Overrides and configuration of each job; the configuration is None from job 64 on, which is
        checked when it starts.

    Raises:
        ConfigErrors: Listing every mistake of every job once.
    """
    request = parse_argv(argv)
    with _hydra(request) as composer:
        for flag in (f for f in request.flags if f.partition("=")[0] in REFUSED_FLAGS):
            composer.problem(flag, "the configuration tree is the package's; use --config-dir")
        overrides = composer.parse(request.overrides)
        if request.multirun:
            overrides = composer.sweep_parameters(overrides)
        jobs: list[tuple[list[str], dict[str, Any] | None]] = []
        for chosen in _combinations(overrides, request.multirun, composer):
            lines = [line for line, _ in chosen]
            checked = len(jobs) < MOST_CHECKED
            jobs.append((lines, composer.compose([o for _, o in chosen]) if checked else None))
        if composer.problems:
            raise ConfigErrors(list({str(p): p for p in composer.problems}.values()))
        return jobs


def compose_group(group: str, choice: str, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Compose another choice of a group for a configuration that stands.

    Args:
        group: A group of ``conf/``, e.g. ``"metrics"``.
        choice: One of its files.
        config: The configuration whose values are interpolated; the group in it is replaced.

    Returns:
        The group's checked node.

    Raises:
        ConfigErrors: If the choice is unknown or does not fit the configuration.
    """
    with _hydra(Request()) as composer:
        override = composer.parse([f"{group}={choice}"])[0][1]
        if composer.right(override) is override:
            base = {k: v for k, v in config.items() if k not in {group}}
            merged = OmegaConf.merge(
                base, {group: hydra_compose("config", [f"{group}={choice}"]).get(group)}
            )
            plain = OmegaConf.to_container(merged, resolve=True)
            values, problems = schema.validate(cast(dict[str, Any], plain))
            found = rules.merge(problems, rules.check(values))
            composer.problems += [p for p in found if p.key.partition(".")[0] in {group}]
        if composer.problems:
            raise ConfigErrors(composer.problems)
        return values[group]


def compose_data(name: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Compose and check the configuration of a data set alone.

    Args:
        name: A file of ``conf/data``.
        overrides: Hydra's ``key=value`` words.

    Returns:
        The data's node.

    Raises:
        ConfigErrors: Listing every mistake that concerns the data.
    """
    unused = {"model", "trainer", "callbacks", "metrics"}
    with _hydra(Request()) as composer:
        parsed = composer.parse([f"data={name}", "metrics=none", *overrides])
        config = composer.compose([override for _, override in parsed])
    problems = [p for p in composer.problems if p.key.partition(".")[0] not in unused]
    if problems or config is None:
        raise ConfigErrors(problems or composer.problems)
    return config["data"]


def load_run_config(path: Path | str) -> dict[str, Any]:
    """Read a run's ``config.yaml``, which may come from a stranger.

    Args:
        path: The file, or the run's folder.

    Raises:
        ConfigErrors: If it is no configuration of this program.
        ConfigError: If there is none.
    """
    file = Path(path)
    file = file / "config.yaml" if file.is_dir() else file
    if not file.is_file():
        raise ConfigError("there is no run here", where=file, fix="run=<folder with config.yaml>")
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigErrors([_yaml_problem(error, str(file))]) from None
    if not isinstance(config, dict):
        raise ConfigErrors([Problem(str(file), "must be a mapping", config)])
    list(_targets(config))
    values, problems = schema.validate(config)
    problems = rules.merge(problems, rules.check(values))
    if problems:
        raise ConfigErrors(
            [Problem(f"{file}: {p.key}", p.rule, p.value, p.remedy) for p in problems]
        )
    return values


def instantiate(node: Mapping[str, Any], **given: Any) -> Any:
    """Build the object of a ``_target_`` node, after checking that its classes are allowed.

    Args:
        node: A node of a checked configuration.
        given: Further arguments.

    Raises:
        TargetError: If a class is not one a configuration may name.
        ConfigError: If the class refuses a value that its signature cannot rule out.
    """
    for target in _targets(node):
        read(target)
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate as hydra_instantiate

    try:
        return hydra_instantiate(dict(node), _convert_="all", **given)
    except InstantiationException as error:
        cause = error.__cause__
        while isinstance(cause, InstantiationException):
            cause = cause.__cause__
        if isinstance(cause, ValueError):
            raise ConfigError(str(cause), where=node.get("_target_")) from error
        raise (cause or error) from None


def _targets(value: Any) -> Iterator[Any]:
    """Every ``_target_`` in a value; interpolations are refused, as they could make new ones."""
    if isinstance(value, Mapping):
        if "_target_" in value:
            yield value["_target_"]
        for inner in value.values():
            yield from _targets(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _targets(inner)
    elif isinstance(value, str) and "${" in value:
        raise TargetError(f"{value!r} is an interpolation, which a finished configuration has not")


Parsed = tuple[str, Override]


class _Base(NamedTuple):
    """A composition of groups: its values, its experiment's name, and the sweep it asks for."""

    config: DictConfig
    name: str
    sweep: dict[str, Any]


@dataclass
class _Composer:
    """Composes with Hydra and collects mistakes."""

    search_path: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    choices: dict[str, list[str]] = field(default_factory=dict)
    loaded: dict[tuple[str, ...], _Base | None] = field(default_factory=dict)

    def problem(self, *args: Any, **kwargs: Any) -> None:
        self.problems.append(Problem(*args, **kwargs))

    def parse(self, lines: Sequence[str]) -> list[Parsed]:
        """Parse overrides one by one, so that each bad one is named."""
        parser = OverridesParser.create()
        parsed: list[Parsed] = []
        for line in lines:
            try:
                parsed.append((line, parser.parse_overrides([line])[0]))
            except OverrideParseException as error:
                why = str(error.__cause__ or error).splitlines()[0]
                self.problem(line, f"is not of the form key=value ({why})", remedy="key=value")
        return parsed

    def sweep_parameters(self, overrides: list[Parsed]) -> list[Parsed]:
        """Add what ``hydra.sweeper.params`` of a file sweeps; the command line comes first."""
        single = [o for _, o in overrides if not o.is_sweep_override()]
        whole = [o for o in single if self.is_group(o) or o.is_hydra_override()]
        groups = [o for o in whole if self.right(o) is o]
        base = self.load([_line(o) for o in groups])
        named = {o.get_key_element() for _, o in overrides}
        sweep = base.sweep if base is not None else {}
        return overrides + self.parse([f"{k}={v}" for k, v in sweep.items() if k not in named])

    def compose(self, overrides: list[Override]) -> dict[str, Any] | None:
        """Compose with the overrides that are right; None if that is impossible."""
        allowed = [right for o in overrides if (right := self.right(o)) is not None]
        groups = [o for o in allowed if self.is_group(o) or o.is_hydra_override()]
        base = self.load([_line(o) for o in groups])
        if base is None:
            return None
        known = schema.keys(cast(dict[str, Any], OmegaConf.to_container(base.config)))
        values = [o for o in allowed if o not in groups]
        lines = [line for o in values if (line := self.value_line(o, base.config, known))]
        config = copy.deepcopy(base.config)
        for line, override in self.parse(lines):
            try:
                ConfigLoaderImpl._apply_overrides_to_config([override], config)
            except (HydraException, OmegaConfBaseException) as error:
                self.problem(line, shorten(_reason(error), 240))
        return self.check(config, base.name)

    def check(self, config: DictConfig, name: str) -> dict[str, Any] | None:
        """Resolve, then schema and rules."""
        broken: dict[str, str] = {}  # keys whose interpolation fails, and why
        while True:
            try:
                plain = OmegaConf.to_container(config, resolve=True)
                break
            except OmegaConfBaseException as error:
                key, reason = str(getattr(error, "full_key", None) or ""), _reason(error)
                if not key or key in broken:
                    self.problem(key or "configuration", shorten(reason, 160))
                    return None
                broken[key] = reason
                OmegaConf.update(config, key, None, force_add=True)
        values = cast(dict[str, Any], plain)
        values["experiment_name"] = values.get("experiment_name") or name
        checked, problems = schema.validate(values)
        found = rules.merge(problems, rules.check(checked))
        self.problems += (found := [p for p in found if p.key not in broken])
        wrong = [p.key for p in found]
        for key, reason in broken.items():
            if not _lies_in(_sought(reason), wrong):  # else it follows from that mistake
                self.problem(key, shorten(reason, 160))
        return checked

    def load(self, lines: list[str]) -> _Base | None:
        """Compose the groups with Hydra, turning what can go wrong into a problem."""
        key = tuple(lines)
        if key not in self.loaded:
            self.loaded[key] = self._load(lines)
        return self.loaded[key]

    def _load(self, lines: list[str]) -> _Base | None:
        try:
            config = hydra_compose("config", lines, return_hydra_config=True)
        except yaml.YAMLError as error:
            self.problems.append(_yaml_problem(error, "configuration"))
        except UnicodeDecodeError as error:
            self.problem("configuration", f"a file is not UTF-8 ({error})")
        except MissingConfigException as error:
            self.problems.append(_missing(error))
        except (HydraException, OmegaConfBaseException) as error:
            remedy = HEADER if f"@{experiments.GROUP}." in str(error) else None
            self.problem("configuration", shorten(_reason(error), 240), remedy=remedy)
        else:
            choices = config.hydra.runtime.choices
            sweep = OmegaConf.select(config, "hydra.sweeper.params") or {}
            name = choices.get("experiment") or f"{choices['model']}_{choices['data']}"
            with open_dict(config):
                del config["hydra"]
                if config.pop(experiments.GROUP, None) is not None:
                    self.problem(f"experiment/{name}", "has no effect as it stands", remedy=HEADER)
            return _Base(config, name, dict(sweep))
        return None

    def is_group(self, override: Override) -> bool:
        return bool(self.options(override.key_or_group)) and not isinstance(override.value(), dict)

    def options(self, group: str) -> list[str]:
        """The choices of a group; none if there is no such group, as of a key with a dot."""
        if "." in group:
            return []
        if group not in self.choices:
            loader = GlobalHydra.instance().config_loader()
            self.choices[group] = loader.get_group_options(
                group, ObjectType.CONFIG, config_name="config", overrides=self.search_path
            )
        return self.choices[group]

    def right(self, override: Override) -> Override | None:
        """The override, with the nearest choice in place of one that its group does not have.

        So the rest is checked against what was probably meant. Keys of values are seen to later.
        """
        if not self.is_group(override) or override.is_delete() or override.is_hydra_override():
            return override
        group, key = override.key_or_group, override.get_key_element()
        options = self.options(group)
        public = [o for o in options if not o.startswith("_")]
        value = override.value()
        for choice in value if isinstance(value, list) else [value]:
            if choice is None and "none" in options:  # metrics=null is metrics=none
                return self.parse([f"{key}=none"])[0][1]
            if choice not in options:
                word = "none" if choice is None else str(choice)
                words = nearest(word, public, cutoff=0.3)
                rule = f"there is no {group} {word!r}"
                self.problem(key, rule, near=did_you_mean(words), remedy=_listing(group, public))
                return self.parse([f"{key}={words[0]}"])[0][1] if words else None
        return override

    def value_line(self, override: Override, config: DictConfig, known: list[str]) -> str | None:
        """The override as Hydra takes it: a key known only from a signature is added."""
        key = override.key_or_group
        present = OmegaConf.select(config, key, default=NOTHING, throw_on_missing=False)
        exists = present is not NOTHING or key in known
        if override.is_add() or override.is_force_add():
            return override.input_line
        if not exists:
            groups = GlobalHydra.instance().config_loader().list_groups("")
            words = nearest_key(key, [*known, *groups])
            self.problem(key, "unknown key", near=did_you_mean(words))
            return None
        if override.is_delete() or present is not NOTHING:
            return override.input_line
        return f"++{override.input_line}"


@contextmanager
def _hydra(request: Request) -> Iterator[_Composer]:
    experiments.register()
    OmegaConf.register_new_resolver(
        "user_cache", lambda: str(user_cache_path("lightning_gen")), replace=True
    )
    OmegaConf.register_new_resolver("quotient", lambda a, b: a // b if b else 0, replace=True)
    composer = _Composer()
    if request.config_dir is not None:
        folder = Path(request.config_dir).resolve()
        if folder.is_dir():
            request.overrides.append(f"hydra.searchpath=['file://{folder}']")
        else:
            composer.problem("--config-dir", "must be a folder", str(folder))
    composer.search_path = [o for o in request.overrides if o.startswith("hydra.searchpath=")]
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
        yield composer


def _combinations(
    overrides: list[Parsed], multirun: bool, composer: _Composer
) -> Iterator[tuple[Parsed, ...]]:
    """Every choice of one value for each swept override."""
    axes: list[list[Parsed]] = []
    for line, override in overrides:
        if not override.is_sweep_override():
            axes.append([(line, override)])
        elif not multirun:
            key = override.get_key_element()
            rule = "names several values; to run them all add -m, for one list write [a,b]"
            composer.problem(key, rule, line.partition("=")[2])
        elif not override.is_discrete_sweep():
            composer.problem(line, "must list its values to be swept")
        else:
            key = override.get_key_element()
            axes.append(composer.parse([f"{key}={v}" for v in override.sweep_string_iterator()]))
    return itertools.product(*axes)


def _line(override: Override) -> str:
    assert override.input_line is not None
    return override.input_line


def _reason(error: Exception) -> str:
    """What lies behind an error of Hydra's, in one line without OmegaConf's particulars."""
    return " ".join(str(error.__cause__ or error).split("full_key:")[0].split())


def _missing(error: MissingConfigException) -> Problem:
    """A file that a composition names and that is not there."""
    name = error.missing_cfg_file or "configuration"
    group, _, choice = name.rpartition("/")
    if choice.startswith(PLUGINS):
        rule = f"Hydra's {choice} is not installed"
        return Problem("launcher", rule, remedy='pip install "lightning-gen[sweep]"')
    near = did_you_mean(nearest(choice, error.options or []))
    return Problem(name, "there is no such file", near=near, remedy=_listing(group.strip("/")))


def _sought(reason: str) -> str:
    """The key that an interpolation looks for in vain."""
    named = re.search(r"(?:Interpolation key '|trying to access )([\w.]+)", reason)
    return named[1] if named else ""


def _lies_in(key: str, keys: Sequence[str]) -> bool:
    """Whether a key is one of some, or below one."""
    return any(key == k or key.startswith(f"{k}.") for k in keys)


def _listing(group: str, options: Sequence[str] = ()) -> str | None:
    if group in LISTED:
        return f"lightning-gen list {LISTED[group]}"
    return f"one of {', '.join(options)}" if options else None


def _yaml_problem(error: yaml.YAMLError, file: str) -> Problem:
    """File, line and column of a YAML error."""
    mark = getattr(error, "problem_mark", None)
    where = f"{mark.name}:{mark.line + 1}:{mark.column + 1}" if mark else file
    if mark and mark.name.startswith("<"):
        where = f"{file}:{mark.line + 1}:{mark.column + 1}"
    return Problem(where, f"is not YAML: {getattr(error, 'problem', None) or error}")
