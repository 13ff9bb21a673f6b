"""A run on disk: one folder that says what was asked, where it comes from and what came of it."""

import io
import json
import logging
import os
import re
import traceback
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain, count, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import yaml
from omegaconf import OmegaConf

from lightning_gen.errors import ConfigError, Interrupted, OutputError, Preempted
from lightning_gen.runs import atomic, history, identity, provenance
from lightning_gen.runs.lock import InUseError, RunLock

if TYPE_CHECKING:
    from PIL.Image import Image

    from lightning_gen.runs.checkpoint import CheckpointStore

STATES = (
    "starting",
    "running",
    "finished",
    "preempted",
    "interrupted",
    "diverged",
    "failed",
    "collapsed",
)
_log = logging.getLogger(__name__)


class View(Protocol):
    """Something that shows a run elsewhere, and may fail."""

    def log(self, row: dict[str, Any]) -> None:
        """Show a row of the history."""

    def picture(self, key: str, path: Path, row: dict[str, Any]) -> None:
        """Show an image file."""

    def alert(self, title: str, text: str) -> None:
        """Call someone."""

    def scores(self, records: Sequence[dict[str, Any]]) -> None:
        """Show the newest scores."""

    def close(self, status: str = "finished") -> None:
        """Say how the run ended."""


class Run:
    """A run's folder, open for writing by this process alone (:meth:`open`) or read-only.

    ==================  ====================================================================
    file                holds
    ==================  ====================================================================
    config.yaml         the resolved configuration, without secrets
    provenance.json     command, commit, versions, devices, seed, data; resumes and changes
    status.json         state, iteration, images seen, reason, alerts
    metrics.jsonl       every measurement, a row a line (:mod:`lightning_gen.runs.history`)
    scores.json         scores with their protocols
    samples/            pictures, named ``<key>-<images seen>.png``
    checkpoints/        see :mod:`lightning_gen.runs.checkpoint`
    error.log           tracebacks
    ==================  ====================================================================

    Nothing is written to an existing run until something in it changes.

    Args:
        path: The folder.
        config: The resolved configuration.
        lock: Held while the run is open; None reads only.
    """

    def __init__(self, path: Path, config: dict[str, Any], lock: RunLock | None = None) -> None:
        self.path, self.config = path, config
        self.views: list[View] = []
        self.status: dict[str, Any] = {}
        self.provenance: dict[str, Any] = {}
        self._lock = lock
        self._history: history.History | None = None
        self._resumed: dict[str, Any] | None = None
        self._now = (0, 0)
        self._failed_pictures = 0

    @classmethod
    def open(cls, config: dict[str, Any], *, command: Sequence[str]) -> Self:
        """Start the run that a configuration names, or continue it.

        Args:
            config: The whole resolved configuration.
            command: Program and arguments, for the provenance.

        Raises:
            OutputError: If the folder cannot be written, or another process has it.
            ConfigError: If the run exists with another configuration, unless each differing key is
                harmless or named in ``resume.allow``.
        """
        path, lock = _claim(config)
        try:
            run = cls(path, config, lock)
            for folder in (path, path / "checkpoints", path / "samples"):
                atomic.sweep(folder)
            start = provenance.describe(command, _devices(config))
            if (path / "config.yaml").exists():
                run._continue(start)
            else:
                run._begin(start)
            run._history = history.History(path / "metrics.jsonl")
        except BaseException:
            lock.release()
            raise
        return run

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Look at a run, which may be training at the same time.

        Args:
            path: Its folder.

        Raises:
            ConfigError: If it is not the folder of a run.
        """
        path = Path(path)
        if not (path / "config.yaml").is_file():
            raise ConfigError(
                f"{path} is not a run (it has no config.yaml)",
                where="run",
                fix="run=FOLDER, as `lightning-gen train` printed it",
            )
        run = cls(path, _read_config(path))
        run._read_state()
        return run

    def _read_state(self) -> None:
        self.status = json.loads((self.path / "status.json").read_text("utf-8"))
        self.provenance = json.loads((self.path / "provenance.json").read_text("utf-8"))
        self._now = (self.status["iteration"], self.status["images_seen"])

    def _begin(self, start: dict[str, Any]) -> None:
        self.provenance = {
            "wandb_id": provenance.new_wandb_id(),
            "digest": identity.digest(self.config),
            "seed": self.config["seed"],
            "data_fingerprint": None,
            **start,
            "resumed": [],
            "changes": [],
        }
        self._write_provenance()
        self.set_status("starting")
        self._write_config()  # the last: it makes the folder a run

    def _continue(self, start: dict[str, Any]) -> None:
        self._read_state()
        self._resumed = start
        rows = identity.differences(_read_config(self.path), provenance.redact(self.config))
        allowed = list((self.config.get("resume") or {}).get("allow") or [])
        refused = [
            row for row in rows if not identity.covers([*identity.HARMLESS, *allowed], row.key)
        ]
        if refused:
            keys = ",".join(row.key for row in refused)
            table = identity.table(refused).replace("\n", "\n    ")
            raise ConfigError(
                f"the run exists with another configuration:\n    {table}",
                where=self.path,
                fix=f"resume.allow=[{keys}] to go on with what is asked for, "
                "or run.name=ANOTHER for a run of its own",
            )
        if rows:
            self.provenance["changes"] += [
                {"time": start["time"], **provenance.redact(row._asdict(), row.key)} for row in rows
            ]
            self._write_provenance()
            self._write_config()

    def _write_config(self) -> None:
        text = yaml.safe_dump(
            provenance.redact(self.config), sort_keys=False, allow_unicode=True, width=100
        )
        atomic.write(self.path / "config.yaml", text.encode())

    def _write_provenance(self) -> None:
        atomic.write_json(self.path / "provenance.json", self.provenance)

    def update_provenance(self, **facts: Any) -> None:
        """Add what became known later, e.g. ``data_fingerprint``.

        A fact that was another before is a change: it is recorded, with a warning.

        Args:
            facts: Any of JSON.
        """
        new = {key: v for key, v in facts.items() if self.provenance.get(key) != v}
        for key, value in new.items():
            old = self.provenance.get(key)
            if old is not None:
                _log.warning("lightning_gen: %s of this run was %s and is %s", key, old, value)
                change = {"time": provenance.now(), "key": key, "old": old, "new": value}
                self.provenance["changes"].append(change)
        if new:
            self.provenance |= new
            self._write_provenance()

    def set_status(
        self,
        state: str,
        *,
        iteration: int | None = None,
        images_seen: int | None = None,
        reason: str | None = None,
        **info: Any,
    ) -> None:
        """Say how the run is; nothing is written when that is known already.

        Args:
            state: One of :data:`STATES`.
            iteration: Steps trained; by default those of the last thing recorded.
            images_seen: Images consumed, likewise.
            reason: Why, for a person.
            info: Any of JSON.
        """
        if state not in STATES:
            raise ValueError(f"state must be one of {', '.join(STATES)}, got {state!r}")
        self._now = (
            self._now[0] if iteration is None else iteration,
            self._now[1] if images_seen is None else images_seen,
        )
        if state == "running" and self._resumed is not None:
            self.provenance["resumed"].append(self._resumed)
            self._resumed = None
            self._write_provenance()
        self._write_status({"state": state, "reason": reason, **info})

    def _write_status(self, status: Mapping[str, Any]) -> None:
        status = {
            **status,
            "iteration": self._now[0],
            "images_seen": self._now[1],
            "alerts": [
                {"iteration": row["iteration"], "title": title, "text": text}
                for title, text, row in self.alerts()
            ],
            "failed_pictures": self._failed_pictures,
            "updated": self.status.get("updated"),
        }
        if status != self.status:
            self.status = {**status, "updated": provenance.now()}
            atomic.write_json(self.path / "status.json", self.status)

    def _append(self, row: dict[str, Any]) -> None:
        if self._history is None:
            raise RuntimeError(f"the run at {self.path} is not open for writing")
        self._now = (row["iteration"], row["images_seen"])
        self._history.append(row)

    def log(self, kind: str, iteration: int, images_seen: int, values: Mapping[str, Any]) -> None:
        """Append a row to the history and show it in the views.

        Args:
            kind: ``train``, ``eval``, ``collapse`` or ``system``.
            iteration: Steps trained.
            images_seen: Images consumed.
            values: Scalars by name.

        Raises:
            OutputError: If it cannot be written.
        """
        row = history.make_row(kind, iteration, images_seen, values)
        self._append(row)
        self._show("log", row)

    def alert(self, title: str, text: str) -> None:
        """Say something aloud: in the history, the status, the console and the views.

        Args:
            title: A few words.
            text: What was seen, and what to do.
        """
        self._append({**history.make_row("alert", *self._now, {}), "title": title, "text": text})
        self._write_status(self.status)
        _log.warning("lightning_gen: %s: %s", title, text)
        self._show("alert", title, text)

    def picture(self, key: str, image: "Image", iteration: int, images_seen: int) -> Path | None:
        """Save a picture and show it in the views; failing to is a warning.

        Args:
            key: What it shows.
            image: The picture.
            iteration: Steps trained.
            images_seen: Images consumed.

        Returns:
            The file; None if it could not be written.
        """
        from PIL.PngImagePlugin import PngInfo

        about = PngInfo()
        facts = {"key": key, "iteration": str(iteration), "images_seen": str(images_seen)}
        for name, value in facts.items():
            about.add_itxt(name, value)
        stem = re.sub(r"[^\w.-]+", "_", key)
        path = self.path / "samples" / f"{stem}-{images_seen:012d}.png"
        buffer = io.BytesIO()
        try:
            image.save(buffer, "png", pnginfo=about)
            with atomic.output_errors(path):
                path.parent.mkdir(exist_ok=True)
            atomic.write(path, buffer.getbuffer())
        except (OSError, ValueError, OutputError) as error:
            self._failed_pictures += 1
            if self._failed_pictures == 1:
                _log.warning("lightning_gen: a picture was not saved, training goes on: %s", error)
            return None
        row = history.make_row("picture", iteration, images_seen, {})
        self._show("picture", key, path, row)
        return path

    def record_scores(
        self, scores: Sequence[dict[str, Any]], iteration: int, images_seen: int
    ) -> None:
        """Keep an evaluation's scores; those of the same step before are replaced.

        Args:
            scores: Scores as JSON, each with its protocol.
            iteration: Steps trained.
            images_seen: Images consumed.
        """
        records = [record for record in self.scores() if record["iteration"] != iteration]
        new = {"iteration": iteration, "images_seen": images_seen, "scores": list(scores)}
        atomic.write_json(self.path / "scores.json", [*records, new])
        self._now = (iteration, images_seen)
        self._write_status(self.status)
        self._show("scores", list(scores))

    def record_exception(self, error: BaseException) -> None:
        """Append a traceback to error.log; there is an error already, so failing to is a warning.

        Args:
            error: The exception.
        """
        text = provenance.redact("".join(traceback.format_exception(error)))
        try:
            with (self.path / "error.log").open("a", encoding="utf-8") as file:
                file.write(f"{provenance.now()} after iteration {self._now[0]}\n{text}\n")
        except OSError as failure:
            _log.warning("lightning_gen: error.log was not written: %s", failure)

    def rewind(self, iteration: int) -> None:
        """Drop rows, pictures, scores and alerts after an iteration: its steps will come again.

        Args:
            iteration: The last one to keep, that of the checkpoint.
        """
        if self._history is None:
            raise RuntimeError(f"the run at {self.path} is not open for writing")
        last = self._history.rewind(iteration)
        records = self.scores()
        kept = [record for record in records if record["iteration"] <= iteration]
        if len(kept) < len(records):
            atomic.write_json(self.path / "scores.json", kept)
        for _, path, row in self.pictures():
            if row["iteration"] > iteration:
                with atomic.output_errors(path):
                    path.unlink()
                    path.with_suffix(".txt").unlink(missing_ok=True)  # of a picture of text
        self._now = (iteration, last["images_seen"] if last else 0)
        self._write_status(self.status)

    def history(self, kinds: Collection[str] | None = None) -> Iterator[dict[str, Any]]:
        """Read the measurements so far.

        Args:
            kinds: Only these; by default all but alerts.
        """
        for row in history.read(self.path / "metrics.jsonl", kinds):
            if kinds is not None or row["kind"] != "alert":
                yield row

    def alerts(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Read the alerts so far: title, text, row."""
        return [(row["title"], row["text"], row) for row in self.history(["alert"])]

    def scores(self) -> list[dict[str, Any]]:
        """Read the evaluations so far: iteration, images_seen and scores of each."""
        path = self.path / "scores.json"
        return json.loads(path.read_text("utf-8")) if path.exists() else []

    def last_scores(self) -> dict[str, Any]:
        """Read the last evaluation, with what the verb ``evaluate`` measured of the same step.

        Returns:
            iteration, images_seen and scores; None, None and no scores before the first.
        """
        last = (self.scores() or [{"iteration": None, "images_seen": None, "scores": []}])[-1]
        path = self.path / "evaluation.json"
        later = json.loads(path.read_text("utf-8")) if path.exists() else None
        if later is None or later["iteration"] != last["iteration"]:
            return last
        known = [(score["metric"], score["protocol"]) for score in last["scores"]]
        more = [s for s in later["scores"] if (s["metric"], s["protocol"]) not in known]
        return {**last, "scores": [*last["scores"], *more]}

    def pictures(self) -> list[tuple[str, Path, dict[str, Any]]]:
        """Find the pictures so far, in the order they were taken: key, file, row."""
        from PIL import Image

        found = []
        for path in sorted((self.path / "samples").glob("*.png")):
            with Image.open(path) as image:
                about = image.info
            if "iteration" in about:
                times = int(about["iteration"]), int(about["images_seen"])
                row = history.make_row("picture", *times, {})
                found.append((str(about["key"]), path, row))
        return sorted(found, key=lambda picture: picture[2]["iteration"])

    @cached_property
    def checkpoints(self) -> "CheckpointStore":
        """The run's checkpoints; torch is imported when they are asked for."""
        from lightning_gen.runs.checkpoint import CheckpointStore

        return CheckpointStore(self.path / "checkpoints")

    def start_view(self, config: dict[str, Any], *, resumed: bool) -> None:
        """Start the view that the configuration's logger names, if any.

        Args:
            config: The whole resolved configuration.
            resumed: Whether the run has a past to show.
        """
        if not config.get("logger"):
            return
        from lightning_gen.config.compose import instantiate

        view = instantiate(config["logger"])
        self.views.append(view)
        self._show(
            "start",
            self.path,
            self.provenance["wandb_id"],
            self.path.name,
            config,
            tags=config.get("tags") or [],
            group=config["experiment_name"],
            resumed=resumed,
            history_rows=self.history(),
            pictures=self.pictures(),
            scores=self.scores()[-1]["scores"] if self.scores() else [],
            alerts=self.alerts(),
            provenance=self.provenance,
        )

    def view_hints(self) -> list[str]:
        """How to open each view that says so."""
        hints = (getattr(view, "how_to_open", None) for view in self.views)
        return [hint for hint in hints if hint]

    def _show(self, method: str, *args: Any, **kwargs: Any) -> None:
        """Tell the views; one that fails is dropped, with one warning."""
        for view in list(self.views):
            try:
                getattr(view, method)(*args, **kwargs)
            except (Preempted, Interrupted):  # a signal came meanwhile
                raise
            except Exception as error:
                self.views.remove(view)
                name = type(view).__name__
                _log.warning(
                    "lightning_gen: %s failed and is off, training goes on: %s: %s",
                    name,
                    type(error).__name__,
                    error,
                )

    def close(self) -> None:
        """Make everything durable, close the views, free the folder; again, it does nothing."""
        lock, self._lock = self._lock, None
        if lock is None:
            return
        try:
            if self._history is not None:
                self._history.close()
                self._history = None
            self._show("close", self.status["state"])
        finally:
            lock.release()


def _nothing(self: Any, *args: Any, **kwargs: Any) -> None:
    """Do nothing: rank 0 does it."""


class SilentRun(Run):
    """The run as the other ranks see it: the configuration, and checkpoints to load.

    Args:
        config: The whole resolved configuration.
        path: The folder, where rank 0 chose another than the configuration's own.
    """

    def __init__(self, config: dict[str, Any], path: Path | None = None) -> None:
        super().__init__(path or identity.run_path(config), config)
        self.status = {"state": "starting"}

    update_provenance = set_status = log = alert = record_scores = _nothing
    picture = record_exception = rewind = start_view = close = _nothing


def _devices(config: Mapping[str, Any]) -> str:
    asked = config.get("trainer") or {}
    keys = ("accelerator", "devices", "num_nodes", "strategy")
    return " ".join(f"{key}={asked[key]}" for key in keys if key in asked)


def _read_config(path: Path) -> dict[str, Any]:
    config: Any = OmegaConf.to_container(OmegaConf.load(path / "config.yaml"))
    return config


def _claim(config: Mapping[str, Any]) -> tuple[Path, RunLock]:
    """Find or make the folder and lock it; with ``run.fresh`` the next one that is free.

    A job that SLURM has requeued continues the newest one it made.
    """
    requeued = os.environ.get("SLURM_RESTART_COUNT", "0") != "0"
    own = bool((config.get("run") or {}).get("fresh")) and not requeued
    while True:
        path = _folder(config, requeued)
        try:
            return path, RunLock(path)
        except InUseError:
            if not own:  # else a plain start of the same moment took the new folder
                raise


def _folder(config: Mapping[str, Any], requeued: bool) -> Path:
    path = identity.run_path(config)
    names = chain([path], (path.with_name(f"{path.name}-fresh{n}") for n in count(2)))
    with atomic.output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not (config.get("run") or {}).get("fresh"):
            path.mkdir(exist_ok=True)
        elif requeued:
            path = [path, *takewhile(Path.exists, names)][-1]
            path.mkdir(exist_ok=True)
        else:
            path = next(name for name in names if _made(name))
    return path


def _made(folder: Path) -> bool:
    """Make a folder, unless there is one: of two processes, one gets it."""
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True
