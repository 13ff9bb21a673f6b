"""The signature of a configured class, read from its source without importing it.

The annotations of a constructor are its schema. Reading them by :mod:`ast` keeps torch out of the
check, and keeps a configuration from a stranger from naming anything but the classes allowed here.
"""

import ast
import importlib.util
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union

import annotated_types

from lightning_gen import types
from lightning_gen.config.problems import NOTHING
from lightning_gen.config.suggest import did_you_mean, nearest
from lightning_gen.errors import ConfigError

ROOMS = (
    *("baselines", "callbacks", "data", "metrics", "models", "networks", "schedules", "tracking"),
)
OPTIMIZERS = "Adadelta Adagrad Adam Adamax AdamW ASGD NAdam RAdam RMSprop Rprop SGD"
SCHEDULES = "ConstantLR CosineAnnealingLR ExponentialLR LinearLR MultiStepLR PolynomialLR StepLR"
TORCH = {
    *(f"torch.optim.{name}" for name in OPTIMIZERS.split()),
    *(f"torch.optim.lr_scheduler.{name}" for name in SCHEDULES.split()),
}

# torch's annotations have no ranges; these hold for every optimiser and schedule that has the name.
RANGES: dict[str, Any] = {
    "lr": types.PositiveFloat,
    "betas": tuple[types.HalfOpenFraction, types.HalfOpenFraction],
    "eps": types.NonNegativeFloat,
    "weight_decay": types.NonNegativeFloat,
    "momentum": types.HalfOpenFraction,
    "dampening": types.Fraction,
    "alpha": types.Fraction,
    "rho": types.Fraction,
    "gamma": types.PositiveFloat,
    "start_factor": types.Fraction,
    "end_factor": types.Fraction,
    "factor": types.Fraction,
    "power": types.NonNegativeFloat,
    "eta_min": types.NonNegativeFloat,
    "step_size": types.PositiveInt,
    "total_iters": types.PositiveInt,
    "T_max": types.PositiveInt,
    "milestones": list[types.PositiveInt],
}


class Node:
    """Marks an annotation that only an object can meet: a mapping with ``_target_``."""


Object = Annotated[dict, Node]

VOCABULARY: dict[str, Any] = {
    **{t.__name__: t for t in (int, float, str, bool, dict, list, tuple, Path)},
    **{"Sequence": Sequence, "Iterable": Sequence, "Mapping": Mapping, "Any": Any, "object": Any},
    **{name: value for name, value in vars(types).items() if name[0].isupper()},
}


class TargetError(ConfigError):
    """A ``_target_`` that is not allowed or does not exist."""


@dataclass(frozen=True)
class Parameter:
    """A constructor's argument: annotation evaluated, default if it is a literal."""

    name: str
    annotation: Any = Any
    default: Any = NOTHING
    required: bool = True


@dataclass(frozen=True)
class Signature:
    """What a class takes and says of itself.

    Args:
        target: Dotted name of the class where it is defined.
        parameters: Arguments of the constructor; ``**kwargs`` are followed to the base class.
        facts: Literal class attributes, those of the bases included.
        summary: First line of the docstring.
        reference: First entry of the docstring's References.
        open: Whether it also takes keywords that could not be read.
        methods: Names of its methods and properties, those of the bases included.
    """

    target: str
    parameters: dict[str, Parameter]
    facts: dict[str, Any]
    summary: str
    reference: str | None
    open: bool = False
    methods: frozenset[str] = frozenset()


@dataclass
class _Module:
    name: str
    path: Path
    tree: ast.Module
    names: dict[str, str] = field(default_factory=dict)  # local name -> dotted name
    stars: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        package = self.name if self.path.stem in {"__init__"} else self.name.rpartition(".")[0]
        for node in self.tree.body:
            if isinstance(node, ast.Import):
                self.names |= {a.asname: a.name for a in node.names if a.asname}
                self.names |= {a.name: a.name for a in node.names if not a.asname}
            if isinstance(node, ast.ImportFrom):
                above = package.split(".")[: len(package.split(".")) + 1 - node.level]
                source = ".".join((above if node.level else []) + [node.module or ""]).strip(".")
                self.stars += [source for a in node.names if a.name in {"*"}]
                self.names |= {a.asname or a.name: f"{source}.{a.name}" for a in node.names}

    def dotted(self, node: ast.expr) -> str:
        """The absolute name of ``a`` or ``a.b.c`` as written in this module."""
        head, _, tail = ast.unparse(node).partition(".")
        return ".".join(filter(None, (self.names.get(head, f"{self.name}.{head}"), tail)))


@dataclass(frozen=True)
class _Class:
    node: ast.ClassDef
    module: _Module

    def bases(self) -> "Iterator[_Class]":
        for base in self.node.bases:
            found = _find(self.module.dotted(base))
            if found is not None:
                yield found

    def lineage(self) -> "Iterator[_Class]":
        yield self
        for base in self.bases():
            yield from base.lineage()


def read(target: str) -> Signature:
    """Read the signature of an allowed class.

    Args:
        target: Dotted name, as in ``_target_``.

    Raises:
        TargetError: If the class is not one a configuration may name, or is not found.

    Example:
        >>> read("torch.optim.Adam").parameters["amsgrad"].default
        False
    """
    if not isinstance(target, str) or not all(p.isidentifier() for p in target.split(".")):
        raise TargetError(f"{target!r} is not the dotted name of a class")
    return _read(target)


@cache
def _read(target: str) -> Signature:
    private = any(part.startswith("_") for part in target.split("."))
    ours = not private and any(target.startswith(f"lightning_gen.{room}.") for room in ROOMS)
    if not ours and target not in TORCH:
        near = did_you_mean(nearest(target, TORCH, n=1, cutoff=0.8))
        raise TargetError(
            f"{target!r} is not among the classes a configuration may name",
            fix=f"a class of lightning_gen's {', '.join(ROOMS)}, or of torch.optim{near}",
        )
    found = _find(target)
    if found is None:
        raise TargetError(f"no class {target!r}", fix=_near(target))
    name = f"{found.module.name}.{found.node.name}"
    if ours and not any(name.startswith(f"lightning_gen.{room}.") for room in ROOMS):
        raise TargetError(f"{target!r} is {name!r}, which a configuration may not name")
    parameters, is_open = _parameters(found)
    if target in TORCH:
        parameters = {
            n: Parameter(n, RANGES.get(n, p.annotation), p.default, p.required)
            for n, p in parameters.items()
        }
    facts: dict[str, Any] = {}
    lineage = list(found.lineage())
    for cls in reversed(lineage):
        facts |= _facts(cls)
    nodes = (node for cls in lineage for node in cls.node.body)
    methods = frozenset(node.name for node in nodes if isinstance(node, ast.FunctionDef))
    doc = ast.get_docstring(found.node) or ""
    return Signature(name, parameters, facts, _summary(doc), _reference(doc), is_open, methods)


@cache
def _module(name: str) -> _Module | None:
    """Parse a module by its dotted name; nothing but the top-level package is looked up."""
    top, *rest = name.split(".")
    spec = importlib.util.find_spec(top) if top in {"lightning_gen", "torch"} else None
    if spec is None or not spec.submodule_search_locations:
        return None
    stem = Path(spec.submodule_search_locations[0], *rest)
    for path in (stem.with_name(stem.name + ".py"), stem / "__init__.py"):
        if path.is_file():
            return _Module(name, path, ast.parse(path.read_text(encoding="utf-8")))
    return None


def _find(dotted: str) -> _Class | None:
    """The definition of a class, through the ``from ... import`` of the modules on the way."""
    module_name, _, name = dotted.rpartition(".")
    module = _module(module_name) if module_name else None
    if module is None:
        return None
    for node in module.tree.body:
        if isinstance(node, ast.ClassDef) and node.name in {name}:
            return _Class(node, module)
    if module.names.get(name, dotted) not in {dotted}:
        return _find(module.names[name])
    return next((c for star in module.stars if (c := _find(f"{star}.{name}"))), None)


def _near(target: str) -> str:
    """Classes of the same name elsewhere in the room, or of like name in the module."""
    room = ".".join(target.split(".")[:2])
    known = [f"{m}.{c}" for m in modules(room) for c in classes(m)]
    leaf = target.rpartition(".")[2]
    same = [k for k in known if k.rpartition(".")[2] in {leaf}]
    words = same or nearest(target, known)
    return f"one of {', '.join(words or known)}"


def modules(package: str) -> list[str]:
    """Dotted names of the modules of a package, its subpackages included."""
    found = _module(package)
    if found is None or found.path.stem not in {"__init__"}:
        return [package] if found else []
    root = found.path.parent
    files = sorted(p.relative_to(root).with_suffix("") for p in root.rglob("*.py"))
    names = [".".join((package, *f.parts)) for f in files if not f.name.startswith("__")]
    return names


def classes(module: str) -> list[str]:
    """Public classes defined in a module."""
    found = _module(module)
    body = found.tree.body if found else []
    return [n.name for n in body if isinstance(n, ast.ClassDef) and not n.name.startswith("_")]


def _parameters(cls: _Class) -> tuple[dict[str, Parameter], bool]:
    functions = (n for n in cls.node.body if isinstance(n, ast.FunctionDef))
    init = next((f for f in functions if f.name in {"__init__"}), None)
    if init is None:
        if any("dataclass" in ast.unparse(d) for d in cls.node.decorator_list):
            return _fields(cls), False
        for base in cls.bases():
            return _parameters(base)
        return {}, False
    args = init.args
    positional = [*args.posonlyargs, *args.args][1:]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(args.defaults))
    defaults += args.defaults
    pairs = [*zip(positional, defaults, strict=True)]
    pairs += [*zip(args.kwonlyargs, args.kw_defaults, strict=True)]
    own = {a.arg: _parameter(a.arg, a.annotation, d, cls.module) for a, d in pairs}
    if args.kwarg is None:
        return own, False
    return _inherited(cls, init, args.kwarg.arg, own)


def _inherited(
    cls: _Class, init: ast.FunctionDef, kwargs: str, own: dict[str, Parameter]
) -> tuple[dict[str, Parameter], bool]:
    """Merge the base's parameters that ``super().__init__(..., **kwargs)`` leaves to the caller."""
    for call in (n for n in ast.walk(init) if isinstance(n, ast.Call)):
        forwarded = any(k.arg is None and ast.unparse(k.value) in {kwargs} for k in call.keywords)
        base = next(cls.bases(), None)
        if forwarded and base is not None and ast.unparse(call.func) in {"super().__init__"}:
            theirs, is_open = _parameters(base)
            given = {k.arg for k in call.keywords} | set(list(theirs)[: len(call.args)])
            return {n: p for n, p in theirs.items() if n not in given} | own, is_open
    return own, True


def _fields(cls: _Class) -> dict[str, Parameter]:
    """Parameters of a dataclass."""
    found: dict[str, Parameter] = {}
    for base in cls.bases():
        found |= _fields(base)
    for n in (n for n in cls.node.body if isinstance(n, ast.AnnAssign)):
        if "ClassVar" not in ast.unparse(n.annotation):
            name = ast.unparse(n.target)
            found[name] = _parameter(name, n.annotation, n.value, cls.module)
    return found


def _parameter(
    name: str, annotation: ast.expr | None, default: ast.expr | None, module: _Module
) -> Parameter:
    kind = Any if annotation is None else _evaluate(annotation, module)
    value = NOTHING if default is None else _literal(default)
    return Parameter(name, kind, value, required=default is None)


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return NOTHING


def _evaluate(node: ast.expr, module: _Module) -> Any:
    """Evaluate an annotation; a name outside the vocabulary is an object."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            return _evaluate(ast.parse(node.value, mode="eval").body, module)
        return None if node.value is None else Any
    if isinstance(node, ast.BinOp):
        return _union([_evaluate(node.left, module), _evaluate(node.right, module)])
    if isinstance(node, ast.Subscript):
        return _subscript(node, module)
    if isinstance(node, ast.Name) and node.id not in module.names:
        alias = _alias(node.id, module)
        if alias is not None:
            return _evaluate(alias, module)
    return VOCABULARY.get(module.dotted(node).rpartition(".")[2], Object)


def _alias(name: str, module: _Module) -> ast.expr | None:
    """The value of a module-level ``Name = ...``."""
    for node in module.tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in {name}:
            return node.value
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) in {name}:
            return node.value
    return None


def _subscript(node: ast.Subscript, module: _Module) -> Any:
    head = module.dotted(node.value).rpartition(".")[2]
    items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if head in {"Literal"}:
        return Literal[tuple(ast.literal_eval(i) for i in items)]
    if head in {"Annotated"}:
        bounds = [_bound(i) for i in items[1:]]
        return Annotated[(_evaluate(items[0], module), *filter(None, bounds))]
    if head in {"Optional", "Union"}:
        extra = [None] if head in {"Optional"} else []
        return _union([*(_evaluate(i, module) for i in items), *extra])
    if head not in {"list", "tuple", "dict", "Sequence", "Iterable", "Mapping"}:
        return Object
    inner = [... if ast.unparse(i) in {"..."} else _evaluate(i, module) for i in items]
    return VOCABULARY[head][tuple(inner) if len(inner) > 1 else inner[0]]


def _bound(node: ast.expr) -> Any:
    """``Ge(0)`` and its like; other metadata says nothing of the range."""
    if isinstance(node, ast.Call):
        name = ast.unparse(node.func).rpartition(".")[2]
        if name in {"Ge", "Gt", "Le", "Lt", "MultipleOf"}:
            return getattr(annotated_types, name)(ast.literal_eval(node.args[0]))
    return None


def _union(members: list[Any]) -> Any:
    return Any if any(m is Any for m in members) else Union[tuple(members)]  # noqa: UP007


def _facts(cls: _Class) -> dict[str, Any]:
    facts = {}
    for node in cls.node.body:
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            facts[ast.unparse(node.target)] = _literal(node.value)
        if isinstance(node, ast.Assign):
            facts[ast.unparse(node.targets[0])] = _literal(node.value)
    return {name: value for name, value in facts.items() if value is not NOTHING}


def of_module(module: str) -> tuple[str, str | None]:
    """First line and first reference of a module's docstring."""
    found = _module(module)
    doc = (ast.get_docstring(found.tree) if found else None) or ""
    return _summary(doc), _reference(doc)


def _summary(doc: str) -> str:
    """First line of a docstring, roles of reStructuredText taken off."""
    return re.sub(r":\w+:`([^`]*)`", r"\1", doc.partition("\n")[0])


def _reference(doc: str) -> str | None:
    """The first entry of the docstring's References."""
    _, found, rest = doc.partition("References:\n")
    entry: list[str] = []
    for line in rest.split("\n\n")[0].splitlines():
        entry.append(line.strip())
        if line.endswith("."):
            break
    plain = " ".join(entry).split("; ")[0].replace("*", "").replace("`", "")
    return plain if found else None
