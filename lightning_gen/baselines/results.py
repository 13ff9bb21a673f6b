"""Result files: what the seeds of a baseline came to, measured and never typed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lightning_gen.baselines.verdict import Measured
from lightning_gen.errors import CheckpointError
from lightning_gen.metrics.protocol import Score
from lightning_gen.runs.atomic import output_errors, write_json


@dataclass(frozen=True)
class SeedResult:
    """What one seed came to, and what it took.

    Args:
        seed: The seed.
        scores: Scores as JSON, each with its protocol.
        images_seen: Images trained on.
        minutes: Minutes of one device.
        peak_memory_gib: Most memory it used, GiB.
        commit: The code's, with ``-dirty`` where it was changed; None outside of a repository.
        machine: Python, platform, devices, versions.
        alerts: What the watchdog called.
        missing: The data or weights that were not to be had.
        failed: Why there is no result.
        time: When, UTC.
    """

    seed: int
    scores: list[dict[str, Any]] = field(default_factory=list)
    images_seen: int = 0
    minutes: float | None = None
    peak_memory_gib: float | None = None
    commit: str | None = None
    machine: Mapping[str, Any] = field(default_factory=dict)
    alerts: list[str] = field(default_factory=list)
    missing: str | None = None
    failed: str | None = None
    time: str | None = None

    def measured(self) -> Measured:
        """What the verdict needs of it."""
        scores = [Score.from_json(score) for score in self.scores]
        return Measured(self.seed, self.images_seen, scores, self.missing, self.failed)


@dataclass(frozen=True)
class BaselineResult:
    """The result file of a baseline.

    Args:
        name: The experiment or the check.
        command: What was called.
        seeds: One entry a seed.
    """

    name: str
    command: str
    seeds: Sequence[SeedResult]

    def measured(self) -> list[Measured]:
        """What the verdict needs of it."""
        return [seed.measured() for seed in self.seeds]


def write(folder: Path, result: BaselineResult) -> Path:
    """Write ``<folder>/<name>.json``.

    Args:
        folder: Made if missing.
        result: What to write.
    """
    path = folder / f"{result.name}.json"
    with output_errors(path):
        folder.mkdir(parents=True, exist_ok=True)
    write_json(path, asdict(result))
    return path


def read(path: Path) -> BaselineResult:
    """Read a result file.

    Args:
        path: The file.

    Raises:
        CheckpointError: If it is none.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        seeds = [SeedResult(**seed) for seed in values["seeds"]]
        return BaselineResult(values["name"], values["command"], seeds)
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"is no result file: {error}", where=path, fix="lightning-gen reproduce writes them"
        ) from None
