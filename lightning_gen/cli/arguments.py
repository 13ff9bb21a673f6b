"""Arguments of the form key=value, checked against a function's signature."""

import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError
from rapidfuzz import process

from lightning_gen.errors import ConfigError

Settings = dict[str, str]
"""Of a parameter ``model: Settings | None``, what the words ``model.NAME=VALUE`` say."""


def bind(function: Callable[..., Any], argv: list[str]) -> dict[str, Any]:
    """Turn ``key=value`` words into keyword arguments of a function.

    Args:
        function: Its annotated parameters are the keys; an underscore at the end of one that would
            be a word of Python (``in_``) is not typed.
        argv: The words.

    Returns:
        Validated keyword arguments.

    Raises:
        ConfigError: Naming every unknown, malformed or missing argument at once.

    Example:
        >>> def f(n: int, name: str = "x"): ...
        >>> bind(f, ["n=3"])
        {'n': 3}
        >>> def g(model: Settings | None = None): ...
        >>> bind(g, ["model.steps=10"])
        {'model': {'steps': '10'}}
    """
    parameters = {n.rstrip("_"): p for n, p in inspect.signature(function).parameters.items()}
    hints = get_type_hints(function, include_extras=True)
    bound: dict[str, Any] = {}
    problems: list[str] = []
    for word in argv:
        key, equals, text = word.partition("=")
        owner, _, setting = key.partition(".")
        if equals and setting and hints.get(owner) == Settings | None:
            bound.setdefault(owner, {})[setting] = text
            continue
        if not equals or key not in parameters:
            near = process.extractOne(key, list(parameters), score_cutoff=50)
            hint = f"; did you mean '{near[0]}='?" if near else f"; known: {', '.join(parameters)}"
            if Settings | None in hints.values():
                hint += "; settings of a sampler are typed model.NAME=VALUE"
            problems.append(f"unknown argument '{word}'{hint}")
            continue
        value: Any = None if text in ("null", "none", "None") else text
        try:
            name = parameters[key].name
            bound[name] = TypeAdapter(hints[name]).validate_python(value)
        except ValidationError as error:
            problems.append(f"{key}={text}: {error.errors()[0]['msg']}")
    missing = {n: p for n, p in parameters.items() if p.name not in bound}
    required = (n for n, p in missing.items() if p.default is p.empty)
    named = " ".join(problems)
    problems += [f"missing argument '{n}='" for n in required if f"{n}=" not in named]
    if problems:
        raise ConfigError("; ".join(problems), fix=usage(function))
    return bound


def usage(function: Callable[..., Any]) -> str:
    """One line that shows a function's arguments and defaults.

    Example:
        >>> def f(n: int, name: str = "x"): ...
        >>> usage(f)
        'n=... [name=x]'
    """
    words = []
    for p in inspect.signature(function).parameters.values():
        name = p.name.rstrip("_")
        if p.annotation == Settings | None:
            words.append(f"[{name}.NAME=...]")
            continue
        words.append(f"{name}=..." if p.default is p.empty else f"[{name}={p.default}]")
    return " ".join(words)


def wants_help(function: Callable[..., Any], verb: str, argv: list[str]) -> bool:
    """Print the help of a verb when it is asked for.

    Args:
        function: What the verb calls.
        verb: Its name.
        argv: The words after the verb.
    """
    if not {"-h", "--help"} & set(argv):
        return False
    print(f"usage: lightning-gen {verb} {usage(function)}\n\n{inspect.getdoc(function)}")
    return True
