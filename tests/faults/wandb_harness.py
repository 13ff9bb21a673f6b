"""Drives ``wandb_training.py`` and makes trouble at its places."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from lightning_gen.runs.history import read

KEY = "0123456789abcdef" * 4
PLACES = ("begin", "mid", "last")
SCRIPT = Path(__file__).with_name("wandb_training.py")


def environment(server, **more):
    """No W&B settings and no proxy but those given."""
    taken = [n for n in os.environ if n.startswith("WANDB_") or "proxy" in n.lower()]
    clean = {name: value for name, value in os.environ.items() if name not in taken}
    return {
        **clean,
        **{"WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY, "WANDB_ERROR_REPORTING": "false"},
        **{"NETRC": os.devnull, "no_proxy": "", **more},
    }  # fmt: skip


class Training:
    """A running ``wandb_training.py``."""

    def __init__(self, run, env, steps=40, finish_timeout=8, resume=False):
        run.mkdir(exist_ok=True)
        command = [sys.executable, str(SCRIPT), str(run), str(steps), str(finish_timeout)]
        command += ["resume"] if resume else []
        self.run, self.facts = run, {}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={k: v for k, v in env.items() if v is not None},
        )

    def until(self, place):
        """Wait until it is at a place, past all before."""
        for line in self.process.stdout:
            facts = json.loads(line)
            self.facts[facts["place"]] = facts
            if facts["place"] == place:
                return facts
            self.go_on()
        raise AssertionError(f"no {place}: {self.process.stderr.read()}")

    def go_on(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def pass_(self, place, trouble=None):
        """Make trouble at a place, and let it go on."""
        self.until(place)
        if trouble is not None:
            trouble()
        self.go_on()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self):
        """What it said on stderr, once it has ended well."""
        self.until("closed")
        self.go_on()
        _, said = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, said
        return said.splitlines()


@contextmanager
def training(run, env, **options):
    """A training that is dead at the end, its helper too."""
    started = Training(run, env, **options)
    try:
        yield started
    finally:
        started.process.kill()
        started.process.communicate()


def children(pid):
    """Processes that a process has started."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    return [int(word) for word in found.stdout.split()]


def wait_until_gone(pid, seconds=30.0):
    """Wait until a process has ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":
            return
        time.sleep(0.05)
    raise TimeoutError(pid)


def expected(run):
    """What a server should have: the rows of a history by W&B step."""
    steps = {}
    for row in read(run / "metrics.jsonl"):
        named = {f"{row['kind']}/{key}": value for key, value in row["values"].items()}
        named["images_seen"] = row["images_seen"]
        steps.setdefault(row["iteration"], {}).update(named)
    return steps


def arrived(bucket):
    """The same of a server, each step once."""
    rows = bucket.history
    assert len({row["_step"] for row in rows}) == len(rows), "a step is there twice"
    plain = {"train", "eval", "system", "collapse"}
    return {
        row["_step"]: {
            key: value
            for key, value in row.items()
            if key == "images_seen" or key.partition("/")[0] in plain
        }
        for row in rows
    }
