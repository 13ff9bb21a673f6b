"""A run seen in Weights & Biases.

The run on disk is the truth and W&B is a view of it. All of W&B lives in a helper process
(:mod:`lightning_gen.tracking.wandb_process`) behind a bounded queue, so that no key, no server, a
server that hangs, or a crash of W&B can neither stop training nor slow it down. Training waits only
at its start and at its end, and there no longer than the two timeouts of the view.
"""

import json
import os
import queue
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from lightning_gen.runs.provenance import redact, redact_command
from lightning_gen.types import PositiveFloat

_CAPACITY = 100_000  # records that may wait for W&B: some 30 MB
_LOCAL_START = 30.0  # seconds a local step may take: imports from a slow disk, no network


class _Helper:
    """The helper process and the one thread that speaks with it.

    Args:
        settings: The first line it reads.
        backlog: Records to write first.
        records: Records to write then, as they come, once :meth:`accept` is called.
    """

    def __init__(
        self,
        settings: dict[str, Any],
        backlog: Sequence[str] = (),
        records: "queue.Queue[str | None] | None" = None,
    ) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lightning_gen.tracking.wandb_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            start_new_session=True,  # out of reach of Ctrl-C
        )
        self.queue = queue.Queue(_CAPACITY) if records is None else records
        self.last_words: dict[str, Any] = {}
        self.sent = 0
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self._decided = threading.Event()
        self._accepted = False
        self._thread = threading.Thread(
            target=self._speak, args=(json.dumps(settings, default=str), backlog), daemon=True
        )
        self._thread.start()

    def _speak(self, settings: str, backlog: Sequence[str]) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self._write(settings)
            for _ in ("resolved", "started"):
                self._answers.put(json.loads(self.process.stdout.readline() or "{}"))
            self._decided.wait()
            if not self._accepted:
                return
            for line in backlog:
                self._write(line)
            while (following := self.queue.get()) is not None:
                self._write(following)
            self.process.stdin.close()
        except (OSError, ValueError) as error:
            self.last_words = {"failed": str(error)}
        try:
            for line in self.process.stdout:
                self.last_words = json.loads(line)
        except (OSError, ValueError) as error:
            self.last_words = {"failed": str(error)}

    def _write(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        self.sent += 1

    def accept(self) -> None:
        """Let the records go to this helper; another may not have any of them afterwards."""
        self._accepted = True
        self._decided.set()

    def wait(self, seconds: float) -> dict[str, Any]:
        """Return the helper's next answer; ``failed`` says why there is none."""
        try:
            answer = self._answers.get(timeout=seconds)
        except queue.Empty:
            return {"failed": f"no answer within {seconds:g} s"}
        return answer or {"failed": f"its process ended ({self.process.wait()})"}

    @property
    def failure(self) -> str | None:
        """Why nothing more can be sent; None while all is well."""
        if self._thread.is_alive() and self.process.poll() is None:
            return None
        self._wake()
        self._thread.join(1)
        return self.last_words.get("failed", f"its process ended ({self.process.poll()})")

    def finish(self, seconds: float) -> bool:
        """Send what is left; wait as long as W&B takes records, then ``seconds`` more."""
        try:
            self.queue.put(None, timeout=seconds)
        except queue.Full:
            return False
        sent, since = self.sent, time.monotonic()
        while self._thread.is_alive() and time.monotonic() - since < seconds:
            self._thread.join(0.1)
            if self.sent != sent:
                sent, since = self.sent, time.monotonic()
        return not self._thread.is_alive()

    def _wake(self) -> None:
        """Let the thread see that the process has ended."""
        with suppress(queue.Full):
            self.queue.put_nowait(None)

    def kill(self) -> None:
        """End the process, whatever it is doing."""
        self.process.kill()
        self._decided.set()
        if self._accepted:
            self._wake()
        with suppress(subprocess.TimeoutExpired):  # stuck in a system call: not our wait
            self.process.wait(1)


def check(mode: str = "online", timeout: float = 5.0) -> dict[str, Any]:
    """Say how W&B would start here, without starting a run.

    Args:
        mode: ``online`` or ``offline``.
        timeout: Seconds the server may take to answer.

    Returns:
        ``mode``, ``server``, ``key`` and ``reason`` of
        :func:`lightning_gen.tracking.wandb_process.resolve`, or ``failed``.
    """
    helper = _Helper({"mode": mode, "timeout": timeout})
    try:
        return helper.wait(timeout + _LOCAL_START)
    finally:
        helper.kill()


class WandbView:
    """Shows a run in W&B: online when an API key is configured, else offline.

    The W&B step is the iteration and every row has ``images_seen``, which is the x axis of every
    plot. Rows appear as ``train/...``, ``eval/...``, ``collapse/...`` and ``system/...``.

    A resumed run is the same W&B run. Online, it goes on where the server's history ends. Offline,
    W&B opens a second folder beside the first, which may lack rows of a killed process: so the
    whole history is written again from the run's own, and folders not uploaded yet are moved to
    ``wandb/superseded``. Uploading the one named folder then uploads every step once.

    Args:
        project: W&B project.
        entity: W&B user or team; None is the key's own.
        mode: ``auto`` follows ``WANDB_MODE`` where it is set, else is ``online``; ``online`` falls
            back to offline, with one line saying why, rather than ask, wait or fail.
        group: W&B group; None is the experiment.
        job_type: W&B job type.
        tags: Added to the run's tags.
        start_timeout: Seconds in which an online start must succeed or go offline, and which
            training waits for a start; after that W&B starts beside it and loses no record.
        finish_timeout: Seconds without progress after which an upload is left to ``wandb sync``.
    """

    def __init__(
        self,
        project: str = "lightning_gen",
        entity: str | None = None,
        mode: Literal["auto", "online", "offline", "disabled"] = "auto",
        group: str | None = None,
        job_type: str = "train",
        tags: list[str] | None = None,
        start_timeout: PositiveFloat = 8.0,
        finish_timeout: PositiveFloat = 8.0,
    ) -> None:
        self.project = project
        self.entity = entity
        self.mode = mode
        self.group = group
        self.job_type = job_type
        self.tags = tags or []
        self.start_timeout = start_timeout
        self.finish_timeout = finish_timeout
        self.url: str | None = None
        self.directory: Path | None = None
        self._helper: _Helper | None = None
        self._records: queue.Queue[str | None] = queue.Queue(_CAPACITY)
        self._opening: threading.Thread | None = None
        self._tried: _Helper | None = None  # not started yet
        self._closed = False

    def start(
        self,
        run_path: Path,
        run_id: str,
        name: str,
        config: dict[str, Any],
        tags: Sequence[str] = (),
        group: str | None = None,
        resumed: bool = False,
        history_rows: Iterable[dict[str, Any]] = (),
        pictures: Iterable[tuple[str, Path, dict[str, Any]]] = (),
        *,
        scores: Sequence[dict[str, Any]] = (),
        alerts: Iterable[tuple[str, str, dict[str, Any]]] = (),
        provenance: dict[str, Any] | None = None,
    ) -> None:
        """Open or reopen the W&B run; call it on rank 0 only.

        Args:
            run_path: Folder of the run; W&B writes to its ``wandb``.
            run_id: W&B's id of the run, the same at every start.
            name: Shown in W&B.
            config: The resolved configuration; secrets are blanked out.
            tags: Of the run.
            group: Runs that belong together, the experiment.
            resumed: Whether the run has a past; what follows is used only then.
            history_rows: Rows of the run's history so far.
            pictures: ``(key, file, row)`` of the pictures so far.
            scores: Scores so far.
            alerts: ``(title, text, row)`` of the alerts so far.
            provenance: Commit, versions, devices; shown with the configuration.
        """
        mode = self.requested_mode
        if mode == "disabled":
            return
        run_path = Path(run_path).absolute()
        settings = {
            "timeout": 0.3 * self.start_timeout,
            "linger": 2 * self.finish_timeout,
            "argv": shlex.split(redact_command(sys.argv)),
            "pid": os.getpid(),
            "init": {
                "project": self.project,
                "entity": self.entity,
                "id": run_id,
                "name": redact(name),
                "dir": str(run_path),
                "group": redact(self.group or group),
                "job_type": self.job_type,
                "tags": [
                    tag[:64] for tag in dict.fromkeys(redact([*tags, *self.tags]))
                ],  # the most
                "config": redact({**config, "provenance": provenance or {}}),
            },
        }
        past: list[tuple[int, tuple[Any, ...]]] = []
        if resumed:
            past += [(row["iteration"], ("row", row)) for row in history_rows]
            past += [(row["iteration"], ("picture", k, str(f), row)) for k, f, row in pictures]
            past += [(row["iteration"], ("alert", t, text, row)) for t, text, row in alerts]
            past.sort(key=lambda timed: timed[0])
        records = [record for _, record in past] + ([("scores", list(scores))] if scores else [])
        backlog = [json.dumps(record, default=str) for record in records]
        self._records, self._closed = queue.Queue(_CAPACITY), False
        self._opening = threading.Thread(
            target=self._open_or_say, args=(mode, settings, backlog), daemon=True
        )
        self._opening.start()
        self._opening.join(self.start_timeout)
        if self._opening.is_alive():
            _say(f"not started after {self.start_timeout:g} s; training goes on meanwhile")

    @property
    def requested_mode(self) -> str:
        """``online``, ``offline`` or ``disabled``: what to try first."""
        asked = os.environ.get("WANDB_MODE", "online") if self.mode == "auto" else self.mode
        return {"disabled": "disabled", "offline": "offline", "dryrun": "offline"}.get(
            asked, "online"
        )

    def _open_or_say(self, mode: str, settings: dict[str, Any], backlog: Sequence[str]) -> None:
        try:
            self._open(mode, settings, backlog)
        except OSError as error:
            _say(f"off, {error}; the run's own history is complete without it")
        finally:
            self._tried = None

    def _open(self, mode: str, settings: dict[str, Any], backlog: Sequence[str]) -> None:
        init, reason = settings["init"], None
        # After a failed online start W&B may fail offline too: so that is another process.
        for attempt in ("online", "offline") if mode == "online" else ("offline",):
            settings["uploaded"] = _uploaded(Path(init["dir"], "wandb"), init["id"])
            helper = self._tried = _Helper({**settings, "mode": attempt}, backlog, self._records)
            answer = resolved = helper.wait(_LOCAL_START)
            if "failed" not in resolved:
                online = resolved["mode"] == "online"
                answer = helper.wait(self.start_timeout if online else _LOCAL_START)
            if "failed" not in answer and not self._closed:
                break
            helper.kill()
            if self._closed:
                return
            reason = f"{resolved.get('server', 'W&B')}: {answer['failed']}"
        else:
            _say(f"off, {reason}; the run's own history is complete without it")
            return
        self.directory = Path(answer["directory"])
        if resolved["mode"] == "online":
            self.url = answer["url"]
            _say(f"online, {self.url or resolved['server']}")
        else:
            why = resolved["reason"] or reason
            _say(f"offline{f', {why}' if why else ''}; to upload: {self.how_to_open}")
        self._helper = helper
        helper.accept()

    @property
    def how_to_open(self) -> str | None:
        """The page of the run, or the command that uploads it; None when W&B is off."""
        if self.url:
            return self.url
        return f"wandb sync {shlex.quote(str(self.directory))}" if self.directory else None

    def log(self, row: dict[str, Any]) -> None:
        """Show a row of the history."""
        self._send("row", row)

    def picture(self, key: str, path: Path, row: dict[str, Any]) -> None:
        """Show an image file.

        Args:
            key: Name of its panel.
            path: The file, which stays as it is.
            row: With ``iteration`` and ``images_seen``.
        """
        self._send("picture", key, str(Path(path).absolute()), row)

    def alert(self, title: str, text: str) -> None:
        """Raise a W&B alert."""
        self._send("alert", title, text)

    def scores(self, records: Sequence[dict[str, Any]]) -> None:
        """Show scores in the summary, and their protocols in the configuration."""
        self._send("scores", list(records))

    def close(self, status: str = "finished") -> None:
        """Finish the W&B run.

        Args:
            status: How the run ended; anything but ``finished`` shows as failed.
        """
        self._send("close", status)
        until = time.monotonic() + self.finish_timeout
        if self._opening is not None:
            self._opening.join(self.finish_timeout)
            self._closed = True
            if (tried := self._tried) is not None:
                tried.kill()
                _say(f"not started in {self.finish_timeout:g} s more; "
                     "the run's own history is complete without it")  # fmt: skip
        helper, self._helper = self._helper, None
        if helper is None:
            return
        if not helper.finish(max(until - time.monotonic(), 1.0)):
            helper.kill()
            _say(f"did not take everything in {self.finish_timeout:g} s; "
                 f"to upload: wandb sync {shlex.quote(str(self.directory))}")  # fmt: skip
        elif failed := helper.last_words.get("failed"):
            _say(f"stopped, {failed}; the run's own history is complete")
        elif lost := helper.last_words.get("lost"):
            _say(f"pictures not shown: {len(lost)}, the first: {lost[0]}")

    def _send(self, *record: Any) -> None:
        opening = self._opening is not None and self._opening.is_alive()
        helper = self._helper  # looked up second: an opening that has ended has set it
        if self._closed or (helper is None and not opening):
            return
        failure = helper.failure if helper is not None else None
        if failure is None:
            try:
                self._records.put_nowait(json.dumps(record, default=str))
                return
            except queue.Full:
                failure = f"{_CAPACITY} records behind"
        self._closed = True
        self._helper = None
        for process in filter(None, (helper, self._tried)):
            process.kill()
        _say(f"stopped, {failure}; training goes on and the run's own history is complete. "
             "Resuming the run starts W&B again with all of it")  # fmt: skip


def _uploaded(folder: Path, run_id: str) -> list[str]:
    """List W&B's folders of a run that are on the server; put the others out of the way."""
    uploaded = [str(path) for path in folder.glob(f"run-*-{run_id}")]
    for path in sorted(folder.glob(f"offline-run-*-{run_id}")):
        if list(path.glob("*.wandb.synced")):
            uploaded.append(str(path))
            continue
        (folder / "superseded").mkdir(exist_ok=True)
        path.rename(folder / "superseded" / path.name)
    return uploaded


def _say(line: str) -> None:
    tqdm.write(f"W&B: {line}", file=sys.stderr)  # above a progress bar
