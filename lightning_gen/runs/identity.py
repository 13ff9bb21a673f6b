"""Which run a configuration is: the same command is the same run.

The folder's name is a digest of everything that changes the result, and the seed. Where and how
long it runs is not part of it, so a run can continue on other devices and to a larger budget.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lightning_gen.errors import ConfigError
from lightning_gen.runs.provenance import is_secret

SEED = "seed"  # in the folder's name, so that runs that differ only in it share their digest
HARMLESS = (
    "trainer.accelerator",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy",
    "trainer.threads",
    "trainer.rank_timeout",
    "data.resident",
    "callbacks.progress",
    "callbacks.throughput",
    "callbacks.checkpoint",
    "callbacks.latents",
    "callbacks.preemption",
    "experiment_name",
    "logger",
    "paths",
    "budget",
    "run",
    "resume",
    "tags",
    "paper",
)
ABSENT = "(absent)"


class Difference(NamedTuple):
    """A key with two values."""

    key: str
    old: Any
    new: Any


def covers(keys: tuple[str, ...] | list[str], key: str) -> bool:
    """Whether a key is one of these or lies under one of them.

    Args:
        keys: Keys of values or of whole branches.
        key: Full dotted key.

    Example:
        >>> covers(["trainer"], "trainer.devices"), covers(["train"], "trainer.devices")
        (True, False)
    """
    return any(key == k or key.startswith(f"{k}.") for k in keys)


def leaves(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Walk the values of a nested configuration with their dotted keys.

    Args:
        config: Nested dictionaries; lists and empty dictionaries are values.
        prefix: Key of the branch, with its dot.
    """
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _plain(value: Any) -> Any:
    """Write equal numbers equally: 1.0 is 1."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _values(config: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted key; a folder of ``paths`` that went into another key goes by its name."""
    paths = [(str(path), name) for name, path in (config.get("paths") or {}).items()]
    found = {}
    for key, value in leaves(config):
        for path, name in sorted(paths, reverse=True):
            inside = isinstance(value, str) and f"{value}/".startswith(f"{path}/")
            if inside and not key.startswith("paths."):
                value = f"${{paths.{name}}}{value[len(path) :]}"
                break
        found[key] = _plain(value)
    return found


def digest(config: Mapping[str, Any]) -> str:
    """Hash everything that changes the result, except the seed.

    Args:
        config: The whole resolved configuration.

    Returns:
        SHA-256 in hexadecimal.

    Example:
        >>> a = {"seed": 0, "model": {"lr": 1.0}, "trainer": {"devices": 1}}
        >>> b = {"trainer": {"devices": 8}, "model": {"lr": 1}, "seed": 1}
        >>> digest(a) == digest(b), digest(a) == digest({**a, "model": {"lr": 2}})
        (True, False)
    """
    kept = {
        key: value
        for key, value in _values(config).items()
        if key != SEED and not covers(HARMLESS, key) and not is_secret(key)
    }
    text = json.dumps(kept, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def run_path(config: Mapping[str, Any]) -> Path:
    """Name the folder of a configuration's run; no clock is involved.

    Args:
        config: The whole resolved configuration.

    Returns:
        ``<paths.runs>/<experiment_name>/<digest>-seed<seed>``, or with ``run.name`` as the last
        part where it is set.

    Raises:
        ConfigError: If a name is not a single folder's.
    """
    name = (config.get("run") or {}).get("name") or f"{digest(config)[:8]}-seed{config['seed']}"
    experiment = config["experiment_name"]
    for key, part in (("run.name", name), ("experiment_name", experiment)):
        if part in (".", "..") or Path(part).name != part or part.startswith("."):
            raise ConfigError(f"{part!r} is not a folder name", where=key, fix=f"{key}=a_word")
    return Path(config["paths"]["runs"]).expanduser().absolute() / experiment / name


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    """List the keys in which two configurations differ.

    Args:
        old: The saved configuration.
        new: The one asked for.

    Example:
        >>> differences({"model": {"lr": 1}, "a": 0}, {"model": {"lr": 2}, "a": 0.0})
        [Difference(key='model.lr', old=1, new=2)]
    """
    before, after = _values(old), _values(new)
    rows = (
        Difference(key, before.get(key, ABSENT), after.get(key, ABSENT))
        for key in dict.fromkeys([*before, *after])
    )
    return [row for row in rows if row.old != row.new]


def table(rows: list[Difference]) -> str:
    """Lay differences out under each other, a key a line.

    Args:
        rows: What differs.

    Example:
        >>> print(table([Difference("model.lr", 0.1, 0.2), Difference("seed", 0, 1)]))
        key       saved  asked for
        model.lr  0.1    0.2
        seed      0      1
    """
    cells = [("key", "saved", "asked for"), *((r.key, str(r.old), str(r.new)) for r in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(3)]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)
