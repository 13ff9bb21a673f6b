"""A sweep: trials that are ordinary runs, each in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from lightning_gen.config.compose import check_overrides
from lightning_gen.config.problems import ConfigErrors
from lightning_gen.errors import MetricError, OutputError
from lightning_gen.metrics.protocol import Score
from lightning_gen.runs import atomic
from lightning_gen.runs.identity import digest, run_path
from lightning_gen.runs.lock import RunLock
from lightning_gen.sweeps.children import STOPPED, Children
from lightning_gen.sweeps.space import Space, words
from lightning_gen.sweeps.trials import Trial, best, judge, propose

KILLS = 3
"""Times a trial that a signal ended is started again."""
POLL = 0.1
TRAIN = [sys.executable, "-m", "lightning_gen", "train"]


@dataclass
class _Active:
    """A trial that has a place; its process, or None while another process has its run."""

    trial: Trial
    slot: int
    process: "subprocess.Popen[bytes] | None" = None


class Sweep:
    """Trials of a space, kept in ``<paths.runs>/<experiment>/sweeps/<name>/trials.json``.

    The name is the space's with a digest of all that the outcome depends on, so the same command
    is the same sweep: it starts, continues, extends to more trials, or says that it is finished.

    Args:
        space: What varies.
        overrides: What all trials share.
        config: The checked configuration at the first point of the space.
        say: Told a line for each thing that happens.
    """

    def __init__(
        self,
        space: Space,
        overrides: list[str],
        config: dict[str, Any],
        say: Callable[[str], None] = print,
    ) -> None:
        self.space, self.overrides, self.say = space, overrides, say
        self.seed: int = config["seed"]
        identity = {"space": space.source, "metric": space.metric, "seed": self.seed,
                    "run": digest(config), "budget": config["budget"]}  # fmt: skip
        name = f"{space.name}-{digest({'sweep': identity})[:8]}"
        self.folder = run_path(config).parent / "sweeps" / name
        self.trials: list[Trial] = []
        self.children = Children()
        self._active: list[_Active] = []
        self._file = self.folder / "trials.json"
        if self._file.is_file():
            rows = json.loads(self._file.read_text("utf-8"))["trials"]
            self.trials = [Trial(**row) for row in rows]

    def run(self, total: int, jobs: int = 1) -> None:
        """Bring the sweep to a number of trials.

        Args:
            total: Number of trials, those of earlier sessions included.
            jobs: Trials at a time.

        Raises:
            Interrupted: On Ctrl-C; the trials' states are saved.
            Preempted: On SIGTERM or SIGUSR1, likewise.
            MetricError: When the first run to end well does not have the score.
            OutputError: If the folder cannot be written, or another process has it.
        """
        with atomic.output_errors(self.folder):
            (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        with RunLock(self.folder), self.children:
            atomic.sweep(self.folder)
            for trial in self.trials:
                if trial.failed_outside:
                    trial.state, trial.kills = "running", 0
            queue = [trial for trial in self.trials if trial.is_running]
            try:
                self._loop(queue, total, jobs)
            finally:  # after an error of our own; at an ordinary end there are none
                self.children.tell(signal.SIGTERM)
        if self.children.signum is not None:
            raise self.children.error()

    def _loop(self, queue: list[Trial], total: int, jobs: int) -> None:
        while True:
            for active in list(self._active):
                self._look(active)
            while self.children.signum is None and len(self._active) < jobs:
                trial = queue.pop(0) if queue else self._next(total)
                if trial is None:
                    break
                if trial.is_running:
                    free = set(range(jobs)) - {active.slot for active in self._active}
                    self._active.append(_Active(trial, min(free)))
                    self._begin(self._active[-1])
            if not self._active:
                return
            time.sleep(POLL)

    def _next(self, total: int) -> Trial | None:
        """Add a trial; None when there are enough."""
        if len(self.trials) >= total:
            return None
        point = propose(self.space, self.trials, self.seed)
        if point is None:
            if not self.space.is_grid:
                self.say(f"no point is left that was not tried: {len(self.trials)} trials it is")
            return None
        trial = Trial(len(self.trials), point, run="")
        try:
            trial.run = str(run_path(check_overrides([*self.overrides, *words(point)])))
        except ConfigErrors as errors:  # values that are right one by one, and not together
            trial.fail("; ".join(map(str, errors.problems)), errors.exit_code)
        same = [other.number for other in self.trials if other.run == trial.run and trial.run]
        if same:
            trial.fail(f"this is the run of trial {same[0]}")
        self.trials.append(trial)
        self._save()
        if not trial.is_running:
            self._tell(trial)
        return trial

    def _begin(self, active: _Active) -> None:
        """Start the trial's process, unless another one has the run or it has collapsed."""
        trial, folder = active.trial, Path(active.trial.run)
        active.process = None
        if _is_locked(folder):
            self.say(f"trial {trial.number}: another process trains {folder}; waiting for its end")
        elif _state(folder) in {"collapsed"}:  # it would go on past the watchdog's stop
            self._settle(active, 0)
        else:
            self._start(active)

    def _start(self, active: _Active) -> None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        gpu = {"CUDA_VISIBLE_DEVICES": visible[active.slot % len(visible)]} if visible[1:] else {}
        with self._log(active.trial).open("ab") as log:
            active.process = self.children.start(
                [*TRAIN, *self.overrides, *words(active.trial.parameters)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | gpu,
            )

    def _look(self, active: _Active) -> None:
        trial, process = active.trial, active.process
        if process is None:
            if self.children.signum is not None:
                self._active.remove(active)
            elif not _is_locked(Path(trial.run)):
                self._begin(active)
            return
        code = process.poll()
        if code is None:
            return
        self.children.processes.remove(process)
        if code in STOPPED:
            self.children.stop(signal.SIGINT if code == max(STOPPED) else signal.SIGTERM)
        if code and self.children.signum is not None:
            self._active.remove(active)  # still running: the same command continues it
            return
        if code == OutputError.exit_code and _is_locked(Path(trial.run)):
            self._begin(active)  # another process had it first
            return
        trial.kills += code < 0
        if code < 0 and trial.kills <= KILLS:
            self.say(f"trial {trial.number}: killed by signal {-code}; starting it again")
            self._save()
            self._begin(active)
        else:
            self._settle(active, code)

    def _settle(self, active: _Active, code: int) -> None:
        self._active.remove(active)
        scored = next((t for t in self.trials if t.value is not None), None)
        first = Score.from_json(scored.score) if scored and scored.score else None
        judge(active.trial, code, self._log(active.trial), self.space.metric, first)
        self._save()
        self._tell(active.trial)
        if active.trial.state in {"failed"} and not code and first is None:
            raise MetricError(
                f"trial {active.trial.number} ended well and no trial has had the score so far: "
                f"{active.trial.reason}",
                where=f"metric {self.space.metric}",
                fix="metric=NAME, one of these; what is trained is kept and not trained again",
            )

    def _tell(self, trial: Trial) -> None:
        value = trial.state if trial.value is None else f"{self.space.metric}={trial.value:.4g}"
        why = f" ({trial.reason})" if trial.reason else ""
        top = best(self.trials, self.space.goal)
        so_far = f"; best {top.value:.4g} (trial {top.number})" if top else ""
        point = " ".join(words(dict(zip(self.short_keys(), shown(trial), strict=True))))
        self.say(f"trial {trial.number}: {point}: {value}{why}{so_far}")

    def _save(self) -> None:
        rows = [asdict(trial) for trial in self.trials]
        what = {"sweep": self.space.source, "overrides": self.overrides, "seed": self.seed}
        atomic.write_json(self._file, {**what, "trials": rows})

    def _log(self, trial: Trial) -> Path:
        return self.folder / "logs" / f"{trial.number}.log"

    def short_keys(self) -> list[str]:
        """The parameters' keys without the front that the others do not need to be told apart."""
        keys = [p.key.split(".") for p in self.space.parameters]
        short = []
        for key in keys:
            lengths = range(1, len(key) + 1)
            unique = (n for n in lengths if sum(k[-n:] == key[-n:] for k in keys) == 1)
            short.append(".".join(key[-next(unique, len(key)) :]))
        return short

    def table(self) -> Table:
        """Lay the trials out, the best one marked."""
        top = best(self.trials, self.space.goal)
        table = Table(title=f"{self.folder}", title_justify="left", caption_justify="left")
        for name in ("trial", *self.short_keys(), self.space.metric, "state", "run", "why"):
            table.add_column(name, overflow="fold")
        for trial in self.trials:
            value = "" if trial.value is None else f"{trial.value:.4g}"
            cells = [str(trial.number), *shown(trial), value, trial.state, Path(trial.run).name,
                     trial.reason or ""]  # fmt: skip
            table.add_row(*cells, style="bold" if trial is top else None)
        if top:
            table.caption = f"best: trial {top.number}, {top.run}"
        return table


def shown(trial: Trial) -> list[str]:
    """A trial's values, four digits each."""
    return [f"{v:.4g}" if isinstance(v, float) else str(v) for v in trial.parameters.values()]


def _is_locked(folder: Path) -> bool:
    """Whether a process has a run's folder."""
    if not (folder / ".lock").is_file():
        return False
    try:
        RunLock(folder).release()
    except OutputError:
        return True
    return False


def _state(folder: Path) -> str | None:
    with suppress(OSError, ValueError):
        return json.loads((folder / "status.json").read_text("utf-8"))["state"]
    return None
