"""Where a run comes from: command, code, versions, machine; written before the first step."""

import importlib.metadata
import os
import platform
import re
import secrets
import shlex
import socket
import string
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PACKAGES = (
    "lightning-gen",
    "torch",
    "torchvision",
    "pytorch-lightning",
    "torchmetrics",
    "torch-fidelity",
    "hydra-core",
    "wandb",
    "numpy",
    "pillow",
)
GIT_SECONDS = 5.0
REDACTED = "<redacted>"
_WORD = r"(?:api_?key|access_?key|private_?key|secret(?:_?key)?|token|password|passwd|credentials?)"
_SECRET = re.compile(rf"(^|[_.-]){_WORD}$", re.IGNORECASE)
_ASSIGNED = re.compile(rf"((?<![a-z]){_WORD}[\"']?\s*[=:]\s*)[^\s,}}\]]+", re.IGNORECASE)
_USERINFO = re.compile(r"(?<=://)[^/@\s:]+:[^/@\s]+(?=@)")


def is_secret(name: str) -> bool:
    """Whether a key is named like a secret.

    Args:
        name: The key, or its dotted path.

    Example:
        >>> is_secret("hub.api_key"), is_secret("model.num_tokens"), is_secret("tokenizer")
        (True, False, False)
    """
    return bool(_SECRET.search(name))


def redact(value: Any, name: str = "") -> Any:
    """Blank out secrets: text under a key named like one, and the environment's anywhere.

    Args:
        value: Anything a configuration may hold.
        name: The key it stands under.

    Returns:
        A copy without the secrets, of dictionaries, lists and values.

    Example:
        >>> redact({"lr": 0.1, "hub": {"api_key": "abc", "tokens": "all"}})
        {'lr': 0.1, 'hub': {'api_key': '<redacted>', 'tokens': 'all'}}
    """
    if isinstance(value, Mapping):
        return {key: redact(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact(item, name) for item in value]
    if not isinstance(value, str) or not value:
        return value
    if is_secret(name):
        return REDACTED
    for key, secret in os.environ.items():
        if len(secret) >= 8 and is_secret(key):
            value = value.replace(secret, REDACTED)
    return value


def redact_command(command: Sequence[str]) -> str:
    """Write a command line without secrets and without the folder of the program.

    Args:
        command: Program and arguments.

    Example:
        >>> redact_command(["/opt/bin/lightning-gen", "train", "logger.api_key=abc", "seed=1"])
        "lightning-gen train 'logger.api_key=<redacted>' seed=1"
    """
    words = [Path(command[0]).name, *command[1:]] if command else []
    shown = []
    for before, word in zip(["", *words], words, strict=False):
        name = before.lstrip("-") if before.startswith("-") and "=" not in before else ""
        word = _ASSIGNED.sub(rf"\1{REDACTED}", redact(word, name))
        shown.append(_USERINFO.sub(REDACTED, word))
    return shlex.join(shown)


def _git(folder: Path, *arguments: str) -> str | None:
    # A git hook sets GIT_DIR, which would answer for every folder.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=GIT_SECONDS,
            check=False,
            env={**environment, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def git_state(folder: Path) -> dict[str, Any] | None:
    """Look up the commit a folder is at.

    Args:
        folder: Any folder.

    Returns:
        ``commit`` and ``dirty`` (None if git cannot tell in time); None outside a repository, and
        in one that ignores the folder, as a virtual environment in a project.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None or _git(folder, "check-ignore", "--quiet", ".") is not None:
        return None
    changes = _git(folder, "status", "--porcelain")
    return {"commit": commit, "dirty": None if changes is None else bool(changes)}


def versions() -> dict[str, str]:
    """Look up the versions of what computes the result, without importing it."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def now() -> str:
    """Tell the time in UTC, to the second, in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def describe(command: Sequence[str], devices: str) -> dict[str, Any]:
    """Describe this start of a run: all of it that is known before training.

    Args:
        command: Program and arguments.
        devices: What it is to run on, in words.
    """
    return {
        "time": now(),
        "command": redact_command(command),
        "git": git_state(Path.cwd()),
        "package_git": git_state(Path(__file__).parent),
        "versions": versions(),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "cpus": os.cpu_count(),
        "devices": devices,
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }


def new_wandb_id() -> str:
    """Draw an id as W&B does: 8 digits in base 36; the agent of a W&B sweep has one for its run."""
    if os.environ.get("WANDB_SWEEP_ID") and (given := os.environ.get("WANDB_RUN_ID")):
        return given
    return "".join(secrets.choice(string.digits + string.ascii_lowercase) for _ in range(8))
