"""The schema: fixed keys here, ``_target_`` nodes by the signature of their class."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from pathlib import Path
from types import GenericAlias, NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt, MultipleOf
from pydantic import AfterValidator, BeforeValidator, ConfigDict, TypeAdapter, ValidationError

from lightning_gen.config import paper
from lightning_gen.config.problems import NOTHING, Problem
from lightning_gen.config.signature import Node, Object, Parameter, TargetError, read
from lightning_gen.config.suggest import did_you_mean, nearest
from lightning_gen.types import PositiveFloat, PositiveInt

Seed = Annotated[int, Ge(0), Lt(2**32)]
MANNERS: dict[str, Any] = {"_partial_": bool, "_recursive_": bool, "_convert_": str}
ROOM_OF = {"data": "data", "model": "models", "metrics": "metrics", "logger": "tracking"}
REQUIRED_NODES = ("data", "model")


@dataclass(frozen=True)
class Budget:
    """How long to train."""

    images: PositiveInt


@dataclass(frozen=True)
class Paths:
    """Folders for data sets, runs, and downloads that can be made again."""

    data: str
    runs: str
    cache: str | None = None


@dataclass(frozen=True)
class RunKeys:
    """The run's name (None: derived from the configuration); fresh: start again from nothing."""

    name: str | None = None
    fresh: bool = False


@dataclass(frozen=True)
class Resume:
    """Keys that may differ from those of the run that is resumed."""

    allow: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Trainer:
    """Devices and arithmetic."""

    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    devices: PositiveInt | Literal["auto"] = "auto"
    num_nodes: PositiveInt = 1
    strategy: Literal["auto", "ddp"] = "auto"
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    deterministic: bool = False
    sync_batchnorm: bool = False
    channels_last: bool = False
    compile: bool = False
    threads: PositiveInt | None = None
    rank_timeout: PositiveFloat = 300.0


@dataclass(frozen=True)
class Root:
    """The top level."""

    seed: Seed
    budget: Budget
    data: Object
    model: Object
    trainer: Trainer
    paths: Paths
    metrics: Object | None = None
    logger: Object | None = None
    callbacks: Mapping[str, Object | None] = field(default_factory=dict)
    experiment_name: str | None = None
    run: RunKeys = RunKeys()
    resume: Resume = Resume()
    tags: list[str] = field(default_factory=list)
    paper: dict[str, Any] | None = None


@dataclass(frozen=True)
class KnownAnswer:
    """A file of ``experiments/known``: a check whose answer is known without training."""

    check: Object
    paper: dict[str, Any]
    data: str | None = None


SECTIONS = {"budget": Budget, "paths": Paths, "run": RunKeys, "resume": Resume, "trainer": Trainer}
PAPER = {"protocol": paper.Measurement, "cost": paper.Cost}


def check(config: Mapping[str, Any]) -> list[Problem]:
    """Every mistake of types, ranges, keys and targets.

    Args:
        config: A composed, resolved configuration.
    """
    return validate(config)[1]


def validate(config: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Check a configuration and fill in what it leaves to the defaults of the signatures.

    Args:
        config: A composed, resolved configuration.

    Returns:
        The configuration with numbers of the declared type and every literal default of our own
        classes written out, and all its mistakes.

    Example:
        >>> [str(p) for p in validate({"seed": -1})[1]][0]
        'seed: must be an integer >= 0 and < 4294967296, got -1'
    """
    problems: list[Problem] = []
    values = dict(config)
    for name, cls in SECTIONS.items():
        if isinstance(values.get(name), Mapping):
            values[name] = _fields(_dataclass(cls), values[name], f"{name}.", problems)
        elif name in values:
            problems.append(Problem(name, "must be a mapping", values.pop(name)))
            values[name] = {}
    callbacks = values.get("callbacks")
    if isinstance(callbacks, Mapping):
        values["callbacks"] = {
            name: _nodes(node, f"callbacks.{name}", problems, "callbacks")
            for name, node in callbacks.items()
        }
    for name, room in ROOM_OF.items():
        values[name] = _nodes(values.get(name), name, problems, room)
        if values[name] is None and name in REQUIRED_NODES:
            values.pop(name)
    values["paper"] = validate_paper(values.get("paper"), problems)
    return _fields(_dataclass(Root), values, "", problems), problems


def validate_known(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Check a file of ``experiments/known`` and fill in the defaults.

    Args:
        values: What the file says.

    Returns:
        ``check``, ``paper`` and ``data``, and all mistakes.
    """
    problems: list[Problem] = []
    checked = dict(values)
    checked["check"] = _nodes(values.get("check"), "check", problems, "baselines")
    checked["paper"] = validate_paper(values.get("paper"), problems)
    checked = {k: v for k, v in checked.items() if v is not None or k in {"data"}}
    return _fields(_dataclass(KnownAnswer), checked, "", problems), problems


def validate_paper(block: Any, problems: list[Problem]) -> dict[str, Any] | None:
    """Check a ``paper:`` block with all that lies in it.

    Args:
        block: Its value; None is none.
        problems: Mistakes are appended.

    Returns:
        The block with its defaults written out.
    """
    if block is None:
        return None
    if not isinstance(block, Mapping):
        problems.append(Problem("paper", "must be a mapping", block))
        return None
    values = dict(block)
    for name, cls in PAPER.items():
        if isinstance(values.get(name), Mapping):
            values[name] = _given(cls, values[name], f"paper.{name}.", problems)
    if isinstance(values.get("results"), list):
        values["results"] = [
            _result(r, f"paper.results.{i}", problems) for i, r in enumerate(values["results"])
        ]
    if isinstance(values.get("early"), Mapping):
        values["early"] = _early(values["early"], values.get("results"), problems)
    return _fields(_dataclass(paper.Paper), values, "paper.", problems)


def _early(block: Mapping[str, Any], results: Any, problems: list[Problem]) -> dict[str, Any]:
    """Check the bands of a smaller budget, and that each is of a published number."""
    checked = _fields(_dataclass(paper.Early), block, "paper.early.", problems)
    published = results if isinstance(results, list) else []
    metrics = [result.get("metric") for result in published if isinstance(result, Mapping)]
    bands = checked.get("bands")
    for metric, band in bands.items() if isinstance(bands, Mapping) else ():
        key = f"paper.early.bands.{metric}"
        _check_upwards(band, key, problems)
        if metric not in metrics:
            problems.append(Problem(key, "must be the metric of one of paper.results", metric))
    return checked


def _result(result: Any, key: str, problems: list[Problem]) -> Any:
    if not isinstance(result, Mapping):
        problems.append(Problem(key, "must be a mapping", result))
        return {}
    values = dict(result)
    if isinstance(values.get("protocol"), Mapping):
        prefix = f"{key}.protocol."
        values["protocol"] = _given(paper.Measurement, values["protocol"], prefix, problems)
    checked = _fields(_dataclass(paper.Result), values, f"{key}.", problems)
    _check_upwards(checked.get("band"), f"{key}.band", problems)
    return checked


def _check_upwards(band: Any, key: str, problems: list[Problem]) -> None:
    low, high = (*(band if isinstance(band, list | tuple) else ()), None, None)[:2]
    numbers = isinstance(low, int | float) and isinstance(high, int | float)
    if numbers and low > high:
        rule = "must go from the lowest to the highest value that passes"
        problems.append(
            Problem(key, rule, [low, high], f"{key.rpartition('.')[2]}: [{high}, {low}]")
        )


def _given(
    cls: type, values: Mapping[str, Any], prefix: str, problems: list[Problem]
) -> dict[str, Any]:
    """Check what is given of a class's fields; what is not stays out."""
    return _fields(_dataclass(cls), values, prefix, problems, fill=False)


def keys(config: Mapping[str, Any]) -> list[str]:
    """Every dotted key a configuration could have: those present and those of the signatures."""
    found: dict[str, None] = dict.fromkeys(_dataclass(Root))
    inside = {f"paper.{name}": cls for name, cls in PAPER.items()}
    for section, cls in (SECTIONS | {"paper": paper.Paper} | inside).items():
        found |= dict.fromkeys(f"{section}.{name}" for name in _dataclass(cls))

    def visit(value: Any, key: str) -> None:
        if isinstance(value, Mapping):
            names = [k for k in value if isinstance(k, str)]
            if "_target_" in value:
                with suppress(TargetError):  # reported where the node is checked
                    names += read(value["_target_"]).parameters
            for name in names:
                path = f"{key}.{name}" if key else name
                found[path] = None
                visit(value.get(name), path)

    visit(config, "")
    return list(found)


def describe(annotation: Any) -> str:
    """Say in words what an annotation allows.

    Example:
        >>> describe(Annotated[float, Gt(0)] | None), describe(Literal["a", "b"])
        ('a number > 0, or null', "one of 'a', 'b'")
    """
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        if Node in args:
            return "a mapping with _target_"
        bounds = " and ".join(filter(None, map(_bound, args[1:])))
        return f"{describe(args[0])} {bounds}".strip()
    if origin in (Union, UnionType):
        some = [a for a in args if a is not NoneType]
        scalars = [a for a in some if a != Object] or some
        return " or ".join(map(describe, scalars)) + (", or null" if NoneType in args else "")
    if origin is Literal:
        return ("one of " if len(args) > 1 else "") + ", ".join(map(repr, args))
    if origin is tuple and Ellipsis not in args:
        return f"a list of {len(args)}: " + ", ".join(map(describe, args))
    if origin in (list, tuple, Sequence):
        return f"a list, each {describe(args[0])}"
    if origin in (dict, Mapping):
        return f"a mapping, each value {describe(args[1])}"
    names = {
        int: "an integer",
        float: "a number",
        bool: "true or false",
        str: "a text",
        list: "a list",
        tuple: "a list",
        dict: "a mapping",
        NoneType: "null",
        None: "null",
        Path: "a path",
    }
    return names.get(annotation, "anything")


def _bound(meta: Any) -> str:
    signs = {Ge: ">=", Gt: ">", Le: "<=", Lt: "<", MultipleOf: "a multiple of"}
    sign = signs.get(type(meta))
    names = {"Ge": "ge", "Gt": "gt", "Le": "le", "Lt": "lt", "MultipleOf": "multiple_of"}
    return f"{sign} {getattr(meta, names[type(meta).__name__])}" if sign else ""


def _nodes(value: Any, key: str, problems: list[Problem], room: str | None = None) -> Any:
    """Check every ``_target_`` node in a value, inner ones first."""
    if isinstance(value, Mapping):
        inner = {k: _nodes(v, f"{key}.{k}", problems) for k, v in value.items()}
        return _node(inner, key, problems, room) if "_target_" in inner else inner
    if isinstance(value, list):
        return [_nodes(v, f"{key}.{i}", problems) for i, v in enumerate(value)]
    return value


def _node(
    node: dict[str, Any], key: str, problems: list[Problem], room: str | None
) -> dict[str, Any]:
    target = node["_target_"]
    try:
        signature = read(target)
    except TargetError as error:
        problems.append(Problem(f"{key}._target_", error.what, remedy=error.fix))
        return node
    if room is not None and not signature.target.startswith(f"lightning_gen.{room}."):
        rule = f"must be a class of lightning_gen.{room}"
        problems.append(Problem(f"{key}._target_", rule, target))
    manners = {k: v for k, v in node.items() if k in {"_target_", "_args_", *MANNERS}}
    if "_args_" in manners:
        problems.append(Problem(f"{key}._args_", "arguments must be given by name"))
    for name, value in manners.items():
        if name in MANNERS and _adapter(MANNERS[name])(value) is NOTHING:
            problems.append(Problem(f"{key}.{name}", f"must be {describe(MANNERS[name])}", value))
    rest = {k: v for k, v in node.items() if k not in manners}
    return manners | _fields(
        signature.parameters,
        rest,
        f"{key}.",
        problems,
        partial=bool(node.get("_partial_")),
        open=signature.open,
        fill=signature.target.startswith("lightning_gen."),
    )


def _fields(
    parameters: Mapping[str, Parameter],
    values: Mapping[str, Any],
    prefix: str,
    problems: list[Problem],
    *,
    partial: bool = False,
    open: bool = False,
    fill: bool = True,
) -> dict[str, Any]:
    """Check values against parameters; return them converted, with the missing defaults."""
    checked: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        parameter = parameters.get(name)
        if parameter is None:
            if not open:
                problems.append(_unknown(prefix, str(name), parameters))
            checked[name] = value
        elif isinstance(value, str) and value in {"???"}:
            problems.append(_required(key, parameter))
        else:
            converted = _adapter(parameter.annotation)(value)
            if converted is NOTHING:
                problems += _wrong(key, parameter, value)
            checked[name] = value if converted is NOTHING else converted
    for name, parameter in parameters.items():
        if name in values:
            continue
        if parameter.required and not partial:
            problems.append(_required(f"{prefix}{name}", parameter))
        elif fill and parameter.default is not NOTHING:
            default = parameter.default
            checked[name] = list(default) if isinstance(default, tuple) else default
    return checked


def _unknown(prefix: str, name: str, parameters: Mapping[str, Parameter]) -> Problem:
    words = nearest(name, parameters)
    known = None if words else f"known keys: {', '.join(parameters) or 'none'}"
    near = did_you_mean([prefix + w for w in words])
    return Problem(prefix + name, "unknown key", remedy=known, near=near)


def _required(key: str, parameter: Parameter) -> Problem:
    return Problem(key, f"is required: {describe(parameter.annotation)}", remedy=f"{key}=...")


def _wrong(key: str, parameter: Parameter, value: Any) -> list[Problem]:
    """What is wrong with a value; of a mapping, with each of its values."""
    annotation = parameter.annotation
    for kind in (annotation, *get_args(annotation)):
        if get_origin(kind) in (dict, Mapping) and isinstance(value, Mapping):
            inner = get_args(kind)[1]
            bad = {f"{key}.{k}": v for k, v in value.items() if _adapter(inner)(v) is NOTHING}
            if bad:
                return [p for k, v in bad.items() for p in _wrong(k, Parameter(k, inner), v)]
    choices = [c for c in _choices(annotation) if isinstance(c, str)]
    near = did_you_mean(nearest(str(value), choices, n=1, cutoff=0.3)) if choices else ""
    default = parameter.default
    known = default is not NOTHING and default is not None and default != value
    remedy = f"{key}={_plain(default)}" if known else None
    return [Problem(key, f"must be {describe(annotation)}", value, remedy, near)]


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{','.join(map(str, value))}]" if isinstance(value, (list, tuple)) else str(value)


def _choices(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    if get_origin(annotation) in (Union, UnionType, Annotated):
        return [c for a in get_args(annotation) for c in _choices(a)]
    return []


@cache
def _dataclass(cls: type) -> dict[str, Parameter]:
    """The fields of a section; a section in it is a mapping, whose own fields are checked apart."""
    hints = get_type_hints(cls, include_extras=True)
    found = {}
    for f in fields(cls):
        default = f.default if f.default_factory is MISSING else f.default_factory()
        section = f.name in SECTIONS
        found[f.name] = Parameter(
            f.name,
            dict if section else hints[f.name],
            NOTHING if section or default is MISSING else default,
            required=default is MISSING,
        )
    return found


@cache
def _adapter(annotation: Any) -> Callable[[Any], Any]:
    """A function that converts a value, or returns NOTHING when the annotation refuses it."""
    adapter: TypeAdapter[Any] = TypeAdapter(
        _strict(annotation), config=ConfigDict(arbitrary_types_allowed=True)
    )

    def convert(value: Any) -> Any:
        try:
            return adapter.validate_python(value)
        except ValidationError:
            return NOTHING

    return convert


def _number(value: Any) -> float | int:
    """Numbers, and YAML's quirk of reading 2e-4 as a text; nothing infinite."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError("not a number")
    number = float(value) if isinstance(value, str) else value
    if not math.isfinite(number):
        raise ValueError("not finite")
    return number


def _integer(value: Any) -> int:
    number = _number(value)
    if number != int(number):
        raise ValueError("not an integer")
    return int(number)


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("not true or false")
    return value


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError("not a text")
    return str(value)


def _is_node(value: dict[str, Any]) -> dict[str, Any]:
    if "_target_" not in value:
        raise ValueError("no _target_")
    return value


def _strict(annotation: Any) -> Any:
    """The same annotation without pydantic's leniency: "abc" and true are no numbers."""
    scalars = {int: _integer, float: _number, bool: _boolean, str: _text}
    if annotation in scalars:
        return Annotated[annotation, BeforeValidator(scalars[annotation])]
    if annotation is Path:
        return Annotated[str, BeforeValidator(_text)]
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        if Node in args:
            return Annotated[dict[str, Any], AfterValidator(_is_node)]
        return Annotated[(_strict(args[0]), *args[1:])]
    if origin in (Union, UnionType):
        return Union[tuple(_strict(a) for a in args)]  # noqa: UP007
    if origin is Literal or not args:
        return annotation
    inner = tuple(a if a is Ellipsis else _strict(a) for a in args)
    if origin in (list, Sequence) or (origin is tuple and Ellipsis in inner):
        return Annotated[GenericAlias(list, inner[:1]), BeforeValidator(_listed)]
    if origin is tuple:
        as_tuple = GenericAlias(tuple, inner)
        return Annotated[as_tuple, BeforeValidator(_listed), AfterValidator(list)]
    return GenericAlias(dict, inner) if origin in (dict, Mapping) else Any


def _listed(value: Any) -> Any:
    if not isinstance(value, (list, tuple)):
        raise ValueError("not a list")
    return value
