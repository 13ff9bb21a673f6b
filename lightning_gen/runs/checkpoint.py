"""Checkpoints that are whole, verified, and never executed.

A file is what ``torch.save`` writes, a ZIP archive, and opens with plain
``torch.load(path, weights_only=True)``. The archive's comment, its last bytes, holds the facts
and the SHA-256 of every other byte of the file. ``torch.load`` itself checks no sums: flipped bits
in a tensor load without a word (measured: 300 of 300).
"""

import hashlib
import io
import json
import logging
import re
import shutil
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_gen import __version__
from lightning_gen.errors import CheckpointError, OutputError
from lightning_gen.runs import atomic

SCHEMA = 1
MAGIC = b'{"format": "lightning_gen checkpoint", '
_CLOSING = b'"}'
_TAIL = 1024  # bytes within which the comment lies
_PADDING = b"ZZZZZZZZZZZZZZ"  # unused bytes that torch.save leaves in the archive's first header
_NAME = re.compile(r"\d{12}\.ckpt")
_log = logging.getLogger(__name__)


class Facts(NamedTuple):
    """What a checkpoint says of itself without being unpickled."""

    schema: int
    version: str
    iteration: int
    images_seen: int
    best: bool


def checked(value: Any, key: str, allow_nonfinite: bool = False) -> Any:
    """Copy a payload to what any later version and plain ``torch.load`` can read.

    Args:
        value: Nested dictionaries, lists and tuples of tensors, numbers, strings and None.
        key: Its dotted path, for the message.
        allow_nonfinite: Accept NaN and infinity in tensors.

    Returns:
        Plain dictionaries, lists and tuples; tensors detached, on the CPU, without the rest of a
        storage that they are a view of.

    Raises:
        CheckpointError: If anything else is in it, or a tensor is not finite.

    Example:
        >>> checked({"betas": (0.5, 0.999), "step": torch.tensor(3.0)}, "adam")
        {'betas': (0.5, 0.999), 'step': tensor(3.)}
    """
    if isinstance(value, Tensor):
        inexact = value.is_floating_point() or value.is_complex()
        if inexact and not allow_nonfinite and not torch.isfinite(value).all():
            count = int((~torch.isfinite(value)).sum())
            raise CheckpointError(
                f"{count} of {value.numel()} numbers are not finite",
                where=key,
                fix="the checkpoint before is kept; lower the learning rate",
            )
        value = value.detach().cpu()
        whole = value.untyped_storage().nbytes() == value.numel() * value.element_size()
        return value if whole else value.clone()
    if isinstance(value, Mapping):
        for name in value:
            if type(name) not in (str, int):
                raise _refusal(name, f"a key of {key}")
        return {n: checked(v, f"{key}.{n}", allow_nonfinite) for n, v in value.items()}
    if type(value) in (list, tuple):
        return type(value)(checked(v, f"{key}[{i}]", allow_nonfinite) for i, v in enumerate(value))
    # Exact types: numpy's float64 is a float too, and pickles as code that builds one.
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise _refusal(value, key)


def _refusal(value: Any, key: str) -> CheckpointError:
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    return CheckpointError(
        f"cannot save a {kind}",
        where=key,
        fix="only dictionaries, lists, tensors, numbers, strings and None are saved: "
        "use float(), str(), .tolist() or torch.as_tensor()",
    )


def serialise(payload: Any, facts: Facts) -> memoryview:
    """Write a checkpoint to memory.

    Args:
        payload: From :func:`checked`.
        facts: What its comment says.
    """
    buffer = io.BytesIO()
    torch.save(payload, buffer)
    comment = MAGIC + json.dumps(facts._asdict())[1:-1].encode() + b', "sha256": "'
    length = len(comment) + 64 + len(_CLOSING)
    buffer.seek(-2, io.SEEK_END)  # the length of the comment ends an archive without one
    buffer.write(struct.pack("<H", length) + comment)
    total = buffer.tell() + 64 + len(_CLOSING)
    buffer.write(b"0" * 64 + _CLOSING)
    data = buffer.getbuffer()
    padding = bytes(data[:64]).find(_PADDING)
    if padding >= 0:  # the whole size, so that a truncated file can tell how much is missing
        data[padding : padding + len(_PADDING)] = b"%014d" % total
    data[-66:-2] = _hash(data).encode()
    return data


def _hash(data: memoryview) -> str:
    """SHA-256 of everything but itself; its place stays the same in every schema."""
    sha = hashlib.sha256(data[:-66])
    sha.update(data[-2:])
    return sha.hexdigest()


def _comment(tail: bytes) -> dict[str, Any] | None:
    start = tail.rfind(MAGIC)
    if start < 0:
        return None
    try:
        return json.loads(tail[start:])
    except ValueError:
        return None


def read_facts(path: Path) -> Facts | None:
    """Read what a checkpoint says of itself, from its last bytes and unverified.

    Args:
        path: The file.

    Returns:
        None if its end is damaged or it is not a checkpoint of ours.
    """
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            comment = _comment(file.read()) or {}
    except OSError:
        return None
    if type(comment.get("iteration")) is not int or not set(Facts._fields) <= set(comment):
        return None
    return Facts(**{name: comment[name] for name in Facts._fields})


def load(path: Path) -> Any:
    """Verify and load a checkpoint; nothing in it is imported or executed.

    Args:
        path: The file.

    Returns:
        The payload, on the CPU.

    Raises:
        CheckpointError: If it is missing, truncated, damaged, foreign, newer, or hostile.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None
    comment = _comment(data[-_TAIL:])
    if comment is None:
        raise _why_unreadable(path, data)
    if data[-66:-2] != _hash(memoryview(data)).encode():
        raise CheckpointError(
            f"{path.name} fails its SHA-256 (the file has changed since it was written)",
            where=path,
            fix="use another checkpoint, or copy the file again from where it came",
        )
    if comment.get("schema", 0) > SCHEMA:
        raise NewerCheckpointError(
            f"{path.name} was written by {comment.get('version')}, this is {__version__}",
            where=path,
            fix="upgrade: pip install --upgrade lightning-gen",
        )
    try:
        _refuse_packed(data)
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:
        named = re.search(r"(?:GLOBAL|global) ([\w.]+)", str(error))
        reason = f"contains {named[1]}" if named else str(error).split("\n")[0]
        raise CheckpointError(
            f"{path.name} is refused: {reason}; nothing of it was executed",
            where=path,
            fix="only files that lightning_gen wrote are loaded",
        ) from None


def _refuse_packed(data: bytes) -> None:
    """Refuse an archive that would take more memory than the file: ``torch.save`` packs nothing."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
    if any(e.compress_type != zipfile.ZIP_STORED for e in entries):
        raise ValueError("its entries are compressed")
    if sum(e.file_size for e in entries) > len(data):
        raise ValueError("its entries are larger than the file")


class NewerCheckpointError(CheckpointError):
    """A checkpoint is of a later version: not damaged, so nothing else is used in its place."""


def _unreadable(path: Path, error: OSError) -> CheckpointError:
    return CheckpointError(
        f"cannot read {path}: {error.strerror}", where=path, fix="check the path, and the disk"
    )


def _why_unreadable(path: Path, data: bytes) -> CheckpointError:
    head = re.match(rb"PK.{48}(\d{14})", data, re.DOTALL)
    size = f"{len(data) / 1e6:.3f} of {int(head[1]) / 1e6:.3f} MB" if head else "0 bytes"
    if not data or (head and len(data) < int(head[1])):
        what, fix = f"{path.name} is truncated ({size})", "use another checkpoint"
    elif head:
        what, fix = f"{path.name} fails its SHA-256 (its end is damaged)", "use another checkpoint"
    else:
        what = f"{path.name} is refused: it was not written by lightning_gen, or its head is lost"
        fix = "only files that lightning_gen wrote are loaded"
    return CheckpointError(what, where=path, fix=fix)


class CheckpointStore:
    """The checkpoints of a run.

    Args:
        folder: Their folder, made at the first save.
        keep: How many of the newest stay, beside the best.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        if keep < 1:
            raise ValueError(f"keep must be at least 1, got {keep}")
        self.folder, self.keep = Path(folder), keep

    def _found(self) -> list[tuple[Path, Facts | None]]:
        """Checkpoints, newest first by what is in the file; those that do not say come last."""
        try:
            paths = sorted(self.folder.glob("*.ckpt"))
        except OSError as error:
            raise _unreadable(self.folder, error) from error
        found = [(path, read_facts(path)) for path in paths]
        return sorted(found, key=lambda f: f[1].iteration if f[1] else -1, reverse=True)

    def save(
        self,
        payload: Any,
        iteration: int,
        images_seen: int,
        best: bool = False,
        *,
        allow_nonfinite: bool = False,
    ) -> Path:
        """Write a checkpoint durably, and only then delete those it replaces.

        The newest ``keep`` stay, and the best. Later ones than this are of a future that was
        abandoned (they were rejected at resume) and go too. Only files that say of themselves
        which step they are of, with a name as given here, are deleted: to keep one for ever,
        rename it.

        Args:
            payload: Nested dictionaries, lists and tuples of tensors, numbers, strings and None.
            iteration: Steps trained.
            images_seen: Images consumed.
            best: Whether it is the best so far.
            allow_nonfinite: Accept NaN and infinity in tensors.

        Returns:
            The file.

        Raises:
            CheckpointError: If the payload holds anything else, or a tensor is not finite.
            OutputError: If it cannot be written; the checkpoints before are intact.
        """
        payload = checked(payload, "payload", allow_nonfinite)
        path = self.folder / f"{images_seen:012d}.ckpt"
        before = self._found()
        # What was the best at this step still is when the step is saved again.
        best = best or any(p == path and facts and facts.best for p, facts in before)
        data = serialise(payload, Facts(SCHEMA, __version__, iteration, images_seen, best))
        try:
            with atomic.output_errors(path):
                self.folder.mkdir(parents=True, exist_ok=True)
            atomic.write(path, data)
        except OutputError as error:
            good = next((p for p, facts in before if facts and p != path), None)
            error.fix = f"{error.fix}; last good checkpoint: {good}"
            raise
        self._prune(iteration)
        return path

    def reserve(self, size: int) -> None:
        """Refuse to start on a disk that cannot hold the checkpoints of a run.

        Args:
            size: Bytes of one.

        Raises:
            OutputError: If those that will be kept, and the one being written, do not fit.
        """
        folder = self.folder if self.folder.exists() else self.folder.parent
        with atomic.output_errors(folder):
            free = shutil.disk_usage(folder).free
        missing = max(1, self.keep + 2 - len(self._found()))
        if free < missing * size:
            raise OutputError(
                f"disk nearly full: {folder} has {free / 1e6:.1f} MB free, {missing} checkpoints "
                f"need {missing * size / 1e6:.1f} MB",
                where=folder,
                fix="free some space, or choose another disk by paths.runs=DIR",
            )

    def newest(self) -> Path | None:
        """Find the newest checkpoint by what it says of itself, unverified; None without any."""
        return next((path for path, facts in self._found() if facts), None)

    def _prune(self, iteration: int) -> None:
        # One that cannot be read just now is not known to be superseded: it stays.
        known = [(path, facts) for path, facts in self._found() if facts]
        past = [(path, facts) for path, facts in known if facts.iteration <= iteration]
        kept = {path for path, _ in past[: self.keep]}
        kept |= {path for path, facts in [f for f in past if f[1].best][:1]}
        for path, _ in known:
            if path not in kept and _NAME.fullmatch(path.name):
                with atomic.output_errors(path):
                    path.unlink(missing_ok=True)

    def latest(self) -> tuple[Any, Path] | None:
        """Load the newest sound checkpoint; a warning names each newer one that is not.

        Newest is by the iteration in the file: names, copies and clocks do not count.

        Returns:
            Payload and file; None if there are no checkpoints at all.

        Raises:
            CheckpointError: If there are some and none is usable.
        """
        rejected: list[str] = []
        for path, _ in self._found():
            try:
                payload = load(path)
            except NewerCheckpointError:
                raise
            except CheckpointError as error:
                rejected.append(error.what)
                continue
            for what in rejected:
                _log.warning("lightning_gen: %s; continuing from %s", what, path.name)
            return payload, path
        if not rejected:
            return None
        count = len(rejected)
        raise CheckpointError(
            f"no usable checkpoint in {self.folder} "
            f"({count} found, {count} rejected: {'; '.join(rejected)})",
            where=self.folder,
            fix="use run.fresh=true to start over",
        )

    def best(self) -> tuple[Any, Path] | None:
        """Load the checkpoint last marked as the best.

        Returns:
            Payload and file; None if none is marked.

        Raises:
            CheckpointError: If it is damaged.
        """
        for path, facts in self._found():
            if facts and facts.best:
                return load(path), path
        return None

    def load(self, path: str | Path) -> Any:
        """Verify and load one file, as :func:`load` does.

        Args:
            path: The file.
        """
        return load(Path(path))
