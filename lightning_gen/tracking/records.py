"""Runs read back as one kind of record, from their folders or from W&B, finished or training.

What a run holds is text that somebody else may have written: everything is checked here, at the
door, so that what lies behind may rely on the types. A run that does not pass is left out.
"""

import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from omegaconf.errors import OmegaConfBaseException
from pydantic import TypeAdapter

from lightning_gen.config.suggest import did_you_mean, nearest
from lightning_gen.errors import ConfigError, DataError, LightningGenError
from lightning_gen.metrics.protocol import Score
from lightning_gen.runs.run import Run

SCHEME = "wandb://"
KINDS = ("eval", "collapse", "train", "system")
EXTRA = ("provenance", "protocols", "_wandb")  # what the W&B view adds to the configuration
WANDB_SECONDS = 15  # a W&B server may take to answer
# Every way in which a folder can be no sound run: missing, unreadable, torn, of other types.
DAMAGE = (
    LightningGenError, OSError, ValueError, LookupError, TypeError, AttributeError,
    ArithmeticError, RecursionError, yaml.YAMLError, OmegaConfBaseException,
)  # fmt: skip


class Curve(NamedTuple):
    """One quantity over a run: ``values`` (N,) at ``images`` (N,) seen, in order."""

    images: np.ndarray
    values: np.ndarray


class Alert(NamedTuple):
    """What a run said aloud."""

    images_seen: int
    title: str
    text: str


class Picture(NamedTuple):
    """A picture of a run; ``load`` gives the bytes of its file."""

    key: str
    images_seen: int
    load: Callable[[], bytes]


class Problem(NamedTuple):
    """A run that was left out, and why."""

    source: str
    reason: str


@dataclass(frozen=True)
class Record:
    """A run as it was when it was read.

    Args:
        source: Folder or ``wandb://`` address.
        name: Experiment and folder.
        config: Resolved configuration.
        seed: Its seed.
        state: One of :data:`lightning_gen.runs.run.STATES`.
        reason: Why it is in that state.
        images_seen: Images consumed so far.
        facts: Device, commit and the like, in words.
        curves: By ``kind/name``, e.g. ``train/loss_D``; finite values only.
        nonfinite: How many values of a curve were not finite.
        scores: Of its last evaluation.
        scored_at: Images seen at that evaluation.
        alerts: In order.
        pictures: In order.
        notes: What of it could not be read.
    """

    source: str
    name: str
    config: dict[str, Any]
    seed: int
    state: str
    reason: str | None
    images_seen: int
    facts: dict[str, str]
    curves: dict[str, Curve]
    nonfinite: dict[str, int]
    scores: list[Score]
    scored_at: int | None
    alerts: list[Alert] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def experiment(self) -> str:
        """Name of the experiment."""
        return str(self.config.get("experiment_name") or self.name)

    def last(self, key: str) -> float | None:
        """Last value of a curve; None where there is none."""
        curve = self.curves.get(key)
        return float(curve.values[-1]) if curve is not None else None

    def hours(self, images: np.ndarray) -> np.ndarray | None:
        """Device-hours at which images had been seen.

        The run's ``system`` rows say some of them; between two rows, and from zero to the first,
        time is taken to pass evenly.

        Args:
            images: Images seen (N,).

        Returns:
            Hours (N,), NaN after the last row; None for a run without such rows.
        """
        clock = self.curves.get("system/device_hours")
        if clock is None:
            return None
        known = np.concatenate([[0], clock.images]), np.concatenate([[0], clock.values])
        return np.interp(images, *known, right=np.nan)


class _Curves:
    """Collects the values of a history by name."""

    def __init__(self) -> None:
        self.points: dict[str, tuple[list[float], list[float]]] = {}
        self.nonfinite: dict[str, int] = {}

    def add(self, key: str, images: float, value: float | None) -> None:
        if value is None or not math.isfinite(value):
            self.nonfinite[key] = self.nonfinite.get(key, 0) + 1
            return
        xs, ys = self.points.setdefault(key, ([], []))
        xs.append(images)
        ys.append(value)

    def finish(self) -> dict[str, Curve]:
        curves = {}
        for key, (xs, ys) in self.points.items():
            images = np.array(xs, float)
            order = np.argsort(images, kind="stable")
            curves[key] = Curve(images[order], np.array(ys, float)[order])
        return curves


def find(words: Iterable[str]) -> list[str]:
    """Resolve what a user named into runs.

    Args:
        words: Folders of runs, of experiments or of experiments' folders, ``wandb://`` addresses.

    Returns:
        One folder or address a run, each once, in the order given.

    Raises:
        ConfigError: If a word is none of these.
    """
    found: dict[str, None] = {}
    for word in words:
        if word.startswith(SCHEME):
            _address(word)
            found[word] = None
            continue
        folder = Path(word)
        patterns = ("config.yaml", "*/config.yaml", "*/*/config.yaml")
        levels = (sorted(folder.glob(pattern)) for pattern in patterns)
        files = next((level for level in levels if level), [])
        if not files:
            beside = folder.parent.iterdir() if folder.parent.is_dir() else ()
            hint = did_you_mean(nearest(folder.name, [p.name for p in beside if p.is_dir()], n=1))
            what = "holds no run (no config.yaml)" if folder.is_dir() else "does not exist"
            raise ConfigError(
                f"{word} {what}{hint}",
                where="RUN",
                fix="a run's folder, a folder of runs, or wandb://entity/project/run",
            )
        found |= dict.fromkeys(str(file.parent.resolve()) for file in files)
    return list(found)


def read(sources: Iterable[str]) -> Iterator[Record | Problem]:
    """Read runs one by one; a damaged one becomes a :class:`Problem`.

    Args:
        sources: From :func:`find`.

    Raises:
        ConfigError: No W&B key is configured, or W&B has no such run.
        DataError: The W&B server cannot be reached.
    """
    for source in sources:
        if source.startswith(SCHEME):
            yield from_wandb(source)
            continue
        try:
            yield from_disk(Path(source))
        except DAMAGE as error:
            yield Problem(source, f"{type(error).__name__}: {one_line(error)}")


def from_disk(path: Path) -> Record:
    """Read a run's folder, also while it trains.

    Args:
        path: The folder.
    """
    run = Run.read(path)
    curves = _Curves()
    for row in run.history(KINDS):
        for name, value in row["values"].items():
            curves.add(f"{row['kind']}/{name}", row["images_seen"], value)
    evaluation = run.last_scores()
    pictures, notes = [], []
    try:
        pictures = [
            Picture(key, row["images_seen"], file.read_bytes) for key, file, row in run.pictures()
        ]
    except DAMAGE as error:
        notes.append(f"its pictures cannot be read: {one_line(error)}")
    return Record(
        source=str(path),
        name=f"{path.absolute().parent.name}/{path.absolute().name}",
        config=dict(run.config),
        seed=int(run.config["seed"]),
        state=str(run.status["state"]),
        reason=_text(run.status.get("reason")),
        images_seen=int(run.status["images_seen"]),
        facts=_facts(run.provenance),
        curves=curves.finish(),
        nonfinite=curves.nonfinite,
        scores=[_score(record) for record in evaluation["scores"]],
        scored_at=evaluation["images_seen"],
        alerts=[Alert(int(r["images_seen"]), str(a), str(b)) for a, b, r in run.alerts()],
        pictures=pictures,
        notes=notes,
    )


def one_line(error: BaseException) -> str:
    """Say what an error says, in one line.

    Args:
        error: Any error.
    """
    text = error.what if isinstance(error, LightningGenError) else str(error)
    return " ".join(text.split())[:300]


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _score(record: Mapping[str, Any]) -> Score:
    """A score whose every field has been checked."""
    fields = {key: value for key, value in record.items() if key != "name"}
    return TypeAdapter(Score).validate_python(fields)


def _facts(provenance: Mapping[str, Any]) -> dict[str, str]:
    """What of the provenance a comparison shows."""
    git, versions = provenance.get("package_git") or {}, provenance.get("versions") or {}
    found = {
        "commit": git.get("commit")
        and f"{git['commit'][:8]}{' + changes' * bool(git.get('dirty'))}",
        "devices": provenance.get("devices") and _devices(str(provenance["devices"])),
        "host": provenance.get("host"),
        "torch": versions.get("torch"),
        "started": provenance.get("time"),
        "resumed": len(provenance.get("resumed") or []) or None,
        "command": provenance.get("command"),
    }
    return {key: str(value) for key, value in found.items() if value is not None}


def _devices(words: str) -> str:
    """Shorten the provenance's ``accelerator=cpu devices=1 ...``."""
    held = dict(word.split("=", 1) for word in words.split() if "=" in word)
    nodes = f" on {held['num_nodes']} nodes" if held.get("num_nodes", "1") != "1" else ""
    return (
        f"{held['accelerator']} × {held.get('devices', '?')}{nodes}"
        if "accelerator" in held
        else words
    )


def _address(source: str) -> tuple[str, str, str]:
    """Entity, project and run of a ``wandb://`` address."""
    parts = source.removeprefix(SCHEME).strip("/").split("/")
    if len(parts) != 3 or not all(parts):
        raise ConfigError(
            f"{source!r} is not a W&B run", where="RUN", fix="wandb://entity/project/run"
        )
    return parts[0], parts[1], parts[2]


def from_wandb(source: str) -> Record | Problem:
    """Read a run that :class:`lightning_gen.tracking.wandb.WandbView` showed in W&B.

    Args:
        source: ``wandb://entity/project/run``; the last is W&B's id of the run.

    Raises:
        ConfigError: No key is configured, it is refused, or there is no such run.
        DataError: The server cannot be reached.
    """
    from lightning_gen.tracking.wandb_process import resolve

    parts = _address(source)
    here = "or compare the run's own folder, which holds everything"
    how = resolve("online", WANDB_SECONDS)
    if not how["key"]:
        fix = f"`wandb login`, or set WANDB_API_KEY; {here}"
        raise ConfigError(f"no API key for {how['server']}", where=source, fix=fix)
    if how["reason"]:
        fix = f"check the network and WANDB_BASE_URL; {here}"
        raise DataError(f"W&B cannot be reached: {how['reason']}", where=source, fix=fix)
    import wandb
    from wandb.errors import Error

    try:
        run = wandb.Api(timeout=WANDB_SECONDS).run("/".join(parts))
    except (Error, *DAMAGE) as error:
        fix = f"entity, project and id as in the address of the run's W&B page; {here}"
        text = f"W&B does not give the run: {one_line(error)}"
        raise ConfigError(text, where=source, fix=fix) from error
    try:
        return _wandb_record(source, run)
    except (Error, *DAMAGE) as error:
        return Problem(source, f"{type(error).__name__}: {one_line(error)}")


def _wandb_record(source: str, run: Any) -> Record:
    """Turn W&B's run into a record; its keys are those of the W&B view."""
    curves, shown, seen = _Curves(), [], 0
    for row in run.scan_history(page_size=10_000):
        images = int(row.get("images_seen") or 0)
        seen = max(seen, images)
        for key, value in row.items():
            if isinstance(value, Mapping) and value.get("_type") in {"image-file"}:
                shown.append(Picture(key, images, _download(run, str(value["path"]))))
            elif key.startswith(tuple(f"{kind}/" for kind in KINDS)) and value is not None:
                curves.add(key, images, float(value))
    held, summary = dict(run.config), dict(run.summary)
    protocols = held.get("protocols") or {}
    scores = [
        _score(
            {"metric": _metric(name, how), "value": summary.get(f"scores/{name}"), "protocol": how}
        )
        for name, how in protocols.items()
    ]
    finished = curves.finish()
    evaluated = [c.images[-1] for k, c in finished.items() if k.startswith("eval/")]
    return Record(
        source=source,
        name=f"{run.group or held.get('experiment_name')}/{run.name}",
        config={key: value for key, value in held.items() if key not in EXTRA},
        seed=int(held["seed"]),
        state=str(summary.get("status") or run.state),
        reason=None,
        images_seen=seen,
        facts=_facts(held.get("provenance") or {}),
        curves=finished,
        nonfinite=curves.nonfinite,
        scores=scores,
        scored_at=int(max(evaluated)) if evaluated else None,
        pictures=shown,
        notes=["read from W&B: alerts and the reason of the state stay on the run's own disk"],
    )


def _metric(name: str, protocol: Mapping[str, Any]) -> str:
    """The metric in a score's name: ``fid_mnist@10k_test`` is the ``fid`` by ``mnist``."""
    return name.rpartition(f"_{protocol['extractor']}@")[0] or name


def _download(run: Any, path: str) -> Callable[[], bytes]:
    """Fetch a picture of a W&B run when it is needed."""

    def load() -> bytes:
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise ValueError(f"{path!r} is no file of the run")
        with tempfile.TemporaryDirectory() as folder:
            with run.file(path).download(root=folder, replace=True) as file:
                name = file.name
            return Path(name).read_bytes()

    return load
