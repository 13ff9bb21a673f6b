"""How a trained model draws its samples, said anew on the command line."""

from collections.abc import Mapping
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from lightning_gen.errors import ConfigError


def set_sampling(model: Any, overrides: Mapping[str, str] | None) -> None:
    """Change settings that a model's ``sampling`` names; all are checked before any is changed.

    Args:
        model: The model.
        overrides: New values by name, as typed: ``{"temperature": "0.8"}``.

    Raises:
        ConfigError: Naming every setting there is not, and every value that is none of its type.

    Example:
        >>> class Model:
        ...     sampling = ("steps",)
        ...     def __init__(self, steps: int = 50) -> None:
        ...         self.steps = steps
        >>> model = Model()
        >>> set_sampling(model, {"steps": "10"})
        >>> model.steps
        10
    """
    known, values, problems = tuple(getattr(model, "sampling", ())), {}, []
    for name, text in (overrides or {}).items():
        if name not in known:
            problems.append(f"{type(model).__name__} has no setting '{name}'")
            continue
        value = None if text in {"null", "none", "None"} else text
        try:
            values[name] = TypeAdapter(_annotation(model, name)).validate_python(value)
        except ValidationError as error:
            problems.append(f"model.{name}={text}: {error.errors()[0]['msg']}")
    if problems:
        named = " ".join(f"[model.{name}={getattr(model, name)}]" for name in known)
        raise ConfigError("; ".join(problems), fix=named or "leave it out: it has none")
    for name, value in values.items():
        setattr(model, name, value)


def _annotation(model: Any, name: str) -> Any:
    """What the constructor of a model, or of one of its bases, says of an argument."""
    for kind in type(model).__mro__:
        if "__init__" in vars(kind):
            hints = get_type_hints(vars(kind)["__init__"], include_extras=True)
            if name in hints:
                return hints[name]
    return type(getattr(model, name))
