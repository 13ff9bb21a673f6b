"""Do something in a child while strace kills it, or fails it, at one of its system calls.

python -m tests.faults.syscalls ACTION FOLDER FAULT... prints, as JSON, what each fault at each
call of the action came to. Imports are done before the child is made, so what
strace sees is the action alone.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import torch

from lightning_gen.errors import LightningGenError
from lightning_gen.runs import atomic
from lightning_gen.runs.checkpoint import CheckpointStore
from lightning_gen.runs.run import Run

CALLS = {
    "open": "?open,openat",
    "write": "write,pwrite64",
    "sync": "fsync,fdatasync",
    "truncate": "ftruncate",
    "rename": "?rename,?renameat,?renameat2",
    "unlink": "?unlink,?unlinkat",
    "folder": "?mkdir,?mkdirat",
}
CONFIG = {"seed": 0, "experiment_name": "tiny", "budget": {"images": 9}, "resume": {"allow": []}}


def weights(k):
    return {"k": k, "w": torch.full((2000,), float(k))}


class Save:
    """The fourth checkpoint of a store that keeps two and the best: written, then one deleted."""

    def prepare(self, folder):
        self.store = CheckpointStore(folder)
        for k in (1, 2, 3):
            self.store.save(weights(k), k, k, best=k == 1)

    def act(self):
        self.store.save(weights(4), 4, 4, best=True)

    def end(self):
        """Nothing is held."""

    @staticmethod
    def check(folder):
        """Which checkpoint is the latest, and which the best; every file is whole."""
        store = CheckpointStore(folder)
        for file in folder.glob("*.ckpt"):
            payload = store.load(file)
            assert (payload["w"] == payload["k"]).all()
        return {"latest": store.latest()[0]["k"], "best": store.best()[0]["k"]}


class First(Save):
    """The first checkpoint of a run, in a folder that is still to be made."""

    def prepare(self, folder):
        self.store = CheckpointStore(folder / "checkpoints")

    def act(self):
        self.store.save(weights(1), 1, 1)

    @staticmethod
    def check(folder):
        found = CheckpointStore(folder / "checkpoints").latest()
        return {"latest": found[0]["k"] if found else 0}


class Step:
    """Everything that a run writes: rows, a picture, scores, an alert, a checkpoint, its status."""

    def prepare(self, folder):
        from PIL import Image

        self.image = Image.new("L", (8, 8))
        self.run = Run.open({**CONFIG, "paths": {"runs": str(folder)}}, command=["x"])
        for k in (1, 2, 3):
            self.write(k)

    def write(self, k):
        self.run.log("train", k, k, {"loss": 1 / k})
        self.run.picture("samples", self.image, k, k)
        self.run.record_scores([{"name": "fid", "value": 1 / k}], k, k)
        self.run.checkpoints.save(weights(k), k, k, best=k == 1)
        self.run.set_status("running", iteration=k, images_seen=k)

    def act(self):
        self.write(4)

    def end(self):
        self.run.close()

    @staticmethod
    def check(folder):
        """The run opens again, rewinds to its checkpoint and holds each step once."""
        run = Run.open({**CONFIG, "paths": {"runs": str(folder)}}, command=["x"])
        payload, _ = run.checkpoints.latest()
        run.rewind(payload["k"])
        steps = [row["iteration"] for row in run.history(["train"])]
        scored = [record["iteration"] for record in run.scores()]
        run.close()
        for path in folder.rglob("*.json"):
            json.loads(path.read_text())
        expected = list(range(1, payload["k"] + 1))
        assert steps == scored == expected, (steps, scored, expected)
        assert len(run.pictures()) <= len(steps)
        assert run.status["iteration"] == payload["k"]
        return {"latest": payload["k"], "best": run.checkpoints.best()[0]["k"]}


class Rewind(Step):
    """A resumed run drops what came after its checkpoint."""

    def act(self):
        self.run.rewind(2)

    @staticmethod
    def check(folder):
        run = Run.open({**CONFIG, "paths": {"runs": str(folder)}}, command=["x"])
        run.rewind(2)
        steps = [row["iteration"] for row in run.history(["train"])]
        scored = [record["iteration"] for record in run.scores()]
        run.close()
        assert steps == scored == [1, 2], (steps, scored)
        assert len(run.pictures()) == 2
        return {"latest": run.checkpoints.latest()[0]["k"]}


ACTIONS = {kind.__name__.lower(): kind for kind in (Save, First, Step, Rewind)}


def once(kind, folder, inject=()):
    """Act in a child under strace; give its exit code, its error and the calls it made."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    gate, ready, told = os.pipe(), os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        code, what = 1, ""
        try:
            action = kind()
            action.prepare(folder)
            os.write(ready[1], b"x")
            os.read(gate[0], 1)
            action.act()
            code = 0
        except LightningGenError as error:
            code, what = error.exit_code, str(error)
        except BaseException as error:
            what = repr(error)
        finally:
            os.write(told[1], what.encode())
            os._exit(code)
    os.close(ready[1])
    os.close(told[1])
    os.read(ready[0], 1)
    log = folder.with_suffix(".strace")
    command = ["strace", "-f", "-p", str(child), "-o", str(log)]
    tracer = subprocess.Popen([*command, *inject], stderr=subprocess.PIPE, text=True)
    assert "attached" in tracer.stderr.readline()
    os.write(gate[1], b"x")
    status = os.waitpid(child, 0)[1]
    tracer.wait()
    tracer.stderr.close()
    with os.fdopen(told[0], "rb") as pipe:
        what = pipe.read().decode()
    for descriptor in (*gate, ready[0]):
        os.close(descriptor)
    code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    return code, what, log.read_text()


def count(kind, folder):
    """How often the action makes each kind of call."""
    traced = ",".join(CALLS.values())
    code, what, log = once(kind, folder, ["-e", f"trace={traced}"])
    assert code == 0, what
    names = {name.strip("?"): call for call, those in CALLS.items() for name in those.split(",")}
    calls = Counter(names[name] for name in re.findall(r"^\d+ +(\w+)\(", log, re.MULTILINE))
    calls["write"] -= 1  # what the child tells of itself
    return calls


def orphans(folder):
    return [path for path in folder.rglob(f"*{atomic.SUFFIX}")]


def suffer(kind, folder, call, fault, when):
    """One fault at one call, and what is found afterwards."""
    inject = f"inject={CALLS[call]}:{fault}:when={when}"
    code, what, _ = once(kind, folder, ["-e", inject])
    left = orphans(folder)
    for path in {orphan.parent for orphan in left}:
        atomic.sweep(path)  # as the next start does
    try:
        found = kind.check(folder)
    except Exception as error:
        found = {"failed": repr(error)}
    point = {"call": call, "when": when, "fault": fault, "code": code, "what": what}
    return point | {"left": len(left), **found}


def main(name, folder, *faults):
    kind, folder = ACTIONS[name], Path(folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    action = kind()  # what is imported late is imported now, and not by the children
    action.prepare(folder)
    action.act()
    action.end()
    calls = count(kind, folder)
    for fault in faults:
        for call, times in calls.items():
            for when in range(1, times + 1):
                print(json.dumps(suffer(kind, folder, call, fault, when)), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
