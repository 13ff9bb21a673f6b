"""The process that talks to W&B, so that training does not have to.

:class:`lightning_gen.tracking.wandb.WandbView` starts it as ``python -m``. It reads JSON lines from
stdin, the first with the settings, each later one a record ``[kind, ...]``, and answers with three:
whether it is to be online, that W&B has started, and how it ended. Whatever happens to W&B happens
here.

When training is killed, stdin ends without a ``close``: the records that arrived are still
written out and the run is marked as failed.
"""

import json
import netrc
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Literal

from lightning_gen.tracking.directions import direction

_EXTREMES = {"lower": "min", "higher": "max"}


def has_key(url: str, default_url: str) -> bool:
    """Say whether an API key for the server is configured, without asking anybody.

    Args:
        url: The server in use.
        default_url: W&B's own cloud, whose keys may stand under its older name.
    """
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    homes = [os.environ["NETRC"]] if os.environ.get("NETRC") else ["~/.netrc", "~/_netrc"]
    hosts = [urllib.parse.urlsplit(url).netloc] + ["api.wandb.ai"] * (url == default_url)
    for path in (Path(home).expanduser() for home in homes):
        try:
            known = netrc.netrc(path)
        except (OSError, netrc.NetrcParseError):
            continue
        if any(known.authenticators(host) for host in hosts):
            return True
    return False


def unreachable(url: str, timeout: float) -> str | None:
    """Ask the server for anything at all.

    Args:
        url: Of the W&B server.
        timeout: Seconds to wait.

    Returns:
        Why it cannot be used, or None when it answers.
    """
    try:
        urllib.request.build_opener().open(url, timeout=timeout).close()
    except urllib.error.HTTPError as answer:
        return f"{url} answers {answer.code}" if answer.code >= 500 else None
    except (OSError, ValueError) as error:
        return f"{url}: {getattr(error, 'reason', error)}"
    return None


def resolve(mode: str, timeout: float) -> dict[str, Any]:
    """Decide between online and offline.

    Args:
        mode: What was asked for, ``online`` or ``offline``.
        timeout: Seconds the server may take to answer.

    Returns:
        ``mode``, ``server``, ``key`` (configured?) and ``reason`` (why offline, else None).
    """
    import wandb

    url = wandb.setup().settings.base_url
    key = has_key(url, wandb.Settings.model_fields["base_url"].default)
    reason = None
    if mode == "online":
        reason = unreachable(url, timeout) if key else "no API key"
    return {"mode": "offline" if reason else mode, "server": url, "key": key, "reason": reason}


def last_step(folder: str) -> int:
    """Read the last step a local W&B folder holds with W&B's own reader; -1 if it cannot tell."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--summary", "--json", folder]
    read = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    try:
        return int(json.loads(read.stdout)["step"])
    except (ValueError, TypeError, KeyError):
        return -1


class Writer:
    """Writes records to a W&B run, each step once.

    The W&B step is the iteration. Rows below the first step that W&B does not have yet are left
    out: they are those an earlier session of this run uploaded, and equal to them, since a
    resumed run repeats its steps exactly.
    """

    def __init__(self, run: Any, first: int) -> None:
        self.run = run
        self.first = first
        self.lost: list[str] = []
        self._defined: set[str] = set()
        self._protocols: dict[str, Any] = {}
        run.define_metric("images_seen")
        run.define_metric("*", step_metric="images_seen")

    def row(self, row: dict[str, Any]) -> None:
        """Log a history row under ``kind/name``; the rows of one iteration share one W&B step."""
        if row["iteration"] < self.first:
            return
        kind = row["kind"]
        if kind == "eval":
            for key in row["values"].keys() - self._defined:
                self._defined.add(key)
                if better := direction(key):  # W&B keeps no best for a wildcard
                    name = f"{kind}/{key}"
                    summary = f"{_EXTREMES[better]},last"
                    self.run.define_metric(name, step_metric="images_seen", summary=summary)
        values = {key: value for key, value in row["values"].items() if value is not None}
        values |= {key: float(value) for key, value in row.get("nonfinite", {}).items()}
        named = {f"{kind}/{key}": value for key, value in values.items()}
        self.run.log({**named, "images_seen": row["images_seen"]}, step=row["iteration"])

    def picture(self, key: str, path: str, row: dict[str, Any]) -> None:
        """Log an image file; one that cannot be read is named at the end."""
        if row["iteration"] < self.first:
            return
        import wandb

        try:
            image = wandb.Image(path)
        except (OSError, ValueError) as error:
            self.lost.append(str(error))
            return
        self.run.log({key: image, "images_seen": row["images_seen"]}, step=row["iteration"])

    def alert(self, title: str, text: str, row: dict[str, Any] | None = None) -> None:
        """Raise a W&B alert (mail or Slack, as the user has set there)."""
        if row is not None and row["iteration"] < self.first:
            return
        self.run.alert(title, text, level="WARN")

    def scores(self, records: list[dict[str, Any]]) -> None:
        """Put final scores in the summary and their protocols in the configuration."""
        for record in records:
            name = record.get("name") or record["metric"]
            self._protocols[name] = record.get("protocol")
            self.run.summary[f"scores/{name}"] = record.get("value")
        self.run.config.update({"protocols": self._protocols}, allow_val_change=True)

    def close(self, status: str) -> None:
        """Finish the run; anything but ``finished`` shows as failed in W&B."""
        self.run.summary["status"] = status
        self.run.finish(exit_code=0 if status == "finished" else 1)


def start(
    settings: dict[str, Any], mode: Literal["online", "offline"]
) -> tuple[Writer, dict[str, Any]]:
    """Open the W&B run.

    Args:
        settings: From the view: ``init`` (arguments of ``wandb.init``), ``argv`` and ``pid`` of the
            training process, ``uploaded`` folders.
        mode: ``online`` or ``offline``.

    Returns:
        The writer, and for the view the run's ``directory`` and ``url``.
    """
    import wandb

    run = wandb.init(
        **settings["init"],
        mode=mode,
        resume="allow",
        settings=wandb.Settings(
            silent=True,
            console="off",
            program=settings["argv"][0],
            x_stats_pid=settings["pid"],
        ),
    )
    if mode == "online":
        first = run.step  # where the server's history ends
    else:
        first = 1 + max((last_step(folder) for folder in settings["uploaded"]), default=-1)
    return Writer(run, first), {"directory": str(Path(run.dir).parent), "url": run.url}


def main() -> int:
    """Serve one view until it closes or goes away."""
    # Whoever stops training must not stop its last rows: this process ends when stdin does.
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    # Private copies: nothing W&B prints or starts may hold or write to the pipes of the view.
    records = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    with open(os.devnull, "r+") as null:
        os.dup2(null.fileno(), 0)
        os.dup2(null.fileno(), 1)
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")

    def say(**answer: Any) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    try:
        settings = json.loads(records.readline())
        resolved = resolve(settings["mode"], settings["timeout"])
        say(**resolved)
        if "init" not in settings:
            return 0
        sys.argv = settings["argv"]
        writer, started = start(settings, resolved["mode"])
        say(**started)
        status = "killed"
        for line in records:
            kind, *values = json.loads(line)
            if kind == "close":
                status = values[0]
                break
            getattr(writer, kind)(*values)
        # An upload that hangs must not outlive the run for ever.
        patience = threading.Timer(settings["linger"], os._exit, [1])
        patience.daemon = True
        patience.start()
        writer.close(status)
        say(lost=writer.lost)
    except BrokenPipeError:  # the view is gone; there is nobody to tell
        return 1
    except Exception as error:  # W&B may fail in any way; the view says how, and training goes on
        text = " ".join(str(error).split())
        say(failed=f"{type(error).__name__}: {text}"[:300].rstrip(": "))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
