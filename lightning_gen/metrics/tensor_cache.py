"""Tensors that are made once: kept in memory, and on disk under all that they depend on."""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from lightning_gen.metrics.feature_pass import Team

log = logging.getLogger(__name__)

Tensors = dict[str, Tensor]


def save(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write atomically; a folder that cannot be written costs time only, so it is no error.

    Args:
        path: The file; it gets a hash and the tensors the hash is of.
        tensors: By name.
    """
    body = safetensors.torch.save({name: t.cpu().contiguous() for name, t in tensors.items()})
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(hashlib.sha256(body).digest() + body)
        os.replace(part, path)
    except OSError as error:
        log.warning("what was made of real images is not cached in %s: %s", path, error)


def load(path: Path, names: Sequence[str]) -> Tensors | None:
    """Read what :func:`save` wrote; None when there is no whole file with these tensors."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    try:
        if hashlib.sha256(content[32:]).digest() != content[:32]:
            raise ValueError("its hash does not match")
        tensors = safetensors.torch.load(content[32:])
        return {name: tensors[name] for name in names}
    except (ValueError, KeyError, SafetensorError) as error:
        log.warning("cached tensors %s are damaged (%s) and made anew", path, error)
        return None


class TensorCache:
    """What evaluations derive from real images, by a hash of everything it depends on.

    Args:
        folder: Where the files lie, a sub-folder for each kind.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kept: dict[str, Any] = {}

    def once(
        self,
        kind: str,
        facts: Sequence[Any],
        names: Sequence[str],
        make: Callable[[], Tensors],
        build: Callable[[Tensors], Any],
        team: Team,
        device: torch.device,
    ) -> Any:
        """Find something in memory, on disk, or make it; rank 0 writes it.

        Args:
            kind: Sub-folder.
            facts: All that decides what is made, the kind and version of it first.
            names: Names of its tensors.
            make: Makes the tensors; called on every rank or on none.
            build: Makes of the tensors what is kept in memory.
            team: The processes, all of which call this.
            device: Device that they agree on.
        """
        key = hashlib.sha256(json.dumps(list(facts)).encode()).hexdigest()[:32]
        path = self.folder / kind / f"{key}.bin"
        found = self.kept.get(key)
        if found is None:
            tensors = load(path, names)
            found = None if tensors is None else build(tensors)
        if not team.agree(found is not None, device) or found is None:
            tensors = make()
            found = build(tensors)
            if team.rank == 0:
                save(path, tensors)
        return self.kept.setdefault(key, found)
