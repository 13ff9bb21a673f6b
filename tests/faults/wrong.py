"""Every key that a configuration has, and what is wrong for each: spelling, type, range, choice."""

import random
import string
from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt

from lightning_gen.config import paper, schema
from lightning_gen.config.signature import Node, Object, read


class Key(NamedTuple):
    """A dotted key, what its class says of it, and its value."""

    name: str
    annotation: Any
    value: Any


def keys(config: Mapping[str, Any]) -> Iterator[Key]:
    """Every key of a checked configuration whose meaning the schema knows."""
    for name, parameter in schema._dataclass(schema.Root).items():
        value = config.get(name)
        if name in schema.SECTIONS:
            yield Key(name, dict, value)
            for inner, p in schema._dataclass(schema.SECTIONS[name]).items():
                yield Key(f"{name}.{inner}", p.annotation, value[inner])
        elif name == "paper" and value is not None:
            yield from _paper(value)
        else:
            yield Key(name, parameter.annotation, value)
            if name == "callbacks":
                for inner, node in value.items():
                    yield Key(f"callbacks.{inner}", Object | None, node)
                    yield from _node(f"callbacks.{inner}", node)
            else:
                yield from _node(name, value)


def _node(path: str, node: Any) -> Iterator[Key]:
    if not isinstance(node, Mapping) or "_target_" not in node:
        return
    parameters = read(node["_target_"]).parameters
    for name, value in node.items():
        key = f"{path}.{name}"
        if name in schema.MANNERS:
            yield Key(key, schema.MANNERS[name], value)
        elif name in parameters:
            annotation = parameters[name].annotation
            yield Key(key, annotation, value)
            yield from _node(key, value)
            if isinstance(value, Mapping) and "_target_" not in value:
                for inner, item in value.items():
                    yield Key(f"{key}.{inner}", _values(annotation), item)
                    yield from _node(f"{key}.{inner}", item)


def _paper(block: Mapping[str, Any]) -> Iterator[Key]:
    for name, parameter in schema._dataclass(paper.Paper).items():
        yield Key(f"paper.{name}", parameter.annotation, block[name])
    for name, cls in (("protocol", paper.Measurement), ("cost", paper.Cost)):
        for inner, parameter in schema._dataclass(cls).items():
            if inner in block[name]:
                yield Key(f"paper.{name}.{inner}", parameter.annotation, block[name][inner])


def _members(annotation: Any) -> list[Any]:
    """The kinds a value may be of."""
    if get_origin(annotation) in (Union, UnionType):
        return [m for a in get_args(annotation) for m in _members(a)]
    return [annotation]


def _values(annotation: Any) -> Any:
    """What the values of a mapping are to be."""
    for kind in _members(annotation):
        if get_origin(kind) in (dict, Mapping):
            return get_args(kind)[1]
    return Any


def _plain(kind: Any) -> Any:
    """The type of a kind, without its bounds."""
    if get_origin(kind) is Annotated:
        return Object if Node in get_args(kind) else _plain(get_args(kind)[0])
    return get_origin(kind) or kind


def wrong_types(key: Key) -> list[str]:
    """Values, as they are typed, of a type that a key does not take; none where it takes all."""
    kinds = {_plain(kind) for kind in _members(key.annotation)}
    if Any in kinds or object in kinds:
        return []
    wrong = ["{not_there:1}"] if not kinds & {dict, Mapping} else []
    wrong += ["[[[abc]]]"]
    if str not in kinds and Literal not in kinds:
        wrong += ["abc"]
    if not kinds & {int, float, str} and Literal not in kinds:
        wrong += ["1.5"]
    if NoneType not in kinds and None not in kinds:
        wrong += ["null"]
    if not kinds & {bool, str} and Literal not in kinds:
        wrong += ["true"]
    return wrong


def wrong_numbers(key: Key) -> list[str]:
    """Numbers out of the range of a key; of one without bounds, what is no number to compute on."""
    found = []
    kinds = _members(key.annotation)
    if not any(_plain(kind) in {int, float} for kind in kinds) or str in kinds:
        return []
    for kind in kinds:
        for bound in get_args(kind)[1:] if get_origin(kind) is Annotated else ():
            match bound:
                case Ge(ge=limit):
                    found.append(str(limit - 1))
                case Gt(gt=limit):
                    found.append(str(limit))
                case Le(le=limit):
                    found.append(str(limit + 1))
                case Lt(lt=limit):
                    found.append(str(limit))
    return [*found, "nan", "inf"]


def wrong_choices(key: Key) -> list[str]:
    """Words that are none of a key's, each one letter from one of them."""
    words = [w for k in _members(key.annotation) if get_origin(k) is Literal for w in get_args(k)]
    words = [word for word in words if isinstance(word, str)]
    return [word[:-1] + ("q" if word[-1] != "q" else "z") for word in words]


def typos(word: str, rng: random.Random, edits: int) -> str:
    """A word with some letters dropped, added, exchanged for another or for their neighbour."""
    for _ in range(edits):
        at = rng.randrange(len(word))
        letter = rng.choice(string.ascii_lowercase)
        match rng.choice(["drop", "add", "other", "swap"]):
            case "drop" if len(word) > 2:
                word = word[:at] + word[at + 1 :]
            case "add":
                word = word[:at] + letter + word[at:]
            case "swap" if at:
                word = word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :]
            case _:
                word = word[:at] + letter + word[at + 1 :]
    return word
