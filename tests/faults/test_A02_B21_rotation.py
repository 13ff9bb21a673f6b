"""Best and last checkpoint are never both missing, whenever the process is killed (A2, B21)."""

import ast
import os

import pytest

from tests.faults.stores import payload

KILLS = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from lightning_gen.runs import atomic
from lightning_gen.runs.checkpoint import CheckpointStore

torch.set_num_threads(1)
store, kills = CheckpointStore(Path(sys.argv[1])), int(sys.argv[2])
rng, start, torn = random.Random(0), 2, 0
began = time.monotonic()
for k in range(3):
    store.save({"k": k, "w": torch.full((10_000,), float(k))}, k, 64 * k)
pace = (time.monotonic() - began) / 3
for kill in range(kills):
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(send, b"%d\\n" % start)
        for k in range(start + 1, 10**9):
            payload = {"k": k, "w": torch.full((10_000,), float(k))}
            store.save(payload, k, 64 * k, best=k % 5 == 0)
            os.write(send, b"%d\\n" % k)
    os.close(send)
    told = os.read(receive, 20)  # it has begun
    for _ in range(rng.randrange(4)):
        told += os.read(receive, 20)  # it has saved
    time.sleep(rng.uniform(0, pace))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    durable = int((told + os.fdopen(receive, "rb").read()).split()[-1])
    left = list(store.folder.glob(".*"))
    torn += len(left)
    assert len(left) <= 1, left
    atomic.sweep(store.folder)
    found = store.latest()
    payload, path = found
    assert durable <= payload["k"] <= durable + 1, (durable, payload["k"])
    assert bool((payload["w"] == payload["k"]).all())
    for file in store.folder.iterdir():
        store.load(file)
    if durable >= 5:
        assert store.best()[0]["k"] >= durable // 5 * 5
    start = payload["k"]
store.save(payload, start + 1, 64 * (start + 1))
files = list(store.folder.iterdir())
assert len(files) <= store.keep + 1, files
print(start, torn)
"""


CRASHES = """
import os, shutil, signal, sys
from pathlib import Path
import torch
from lightning_gen.runs import atomic
from lightning_gen.runs.checkpoint import CheckpointStore

torch.set_num_threads(1)
folder, keep, best = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "best"
points = []
for point in range(1, 1000):
    shutil.rmtree(folder, ignore_errors=True)
    store = CheckpointStore(folder, keep)
    for k in (1, 2, 3):
        store.save({"k": k}, k, k, best=k == 1)
    child = os.fork()
    if child == 0:
        seen = 0

        def count(event, arguments):
            global seen
            if event in ("open", "os.rename", "os.remove") and str(folder) in str(arguments[0]):
                seen += 1
                if seen == point:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        store.save({"k": 4}, 4, 4, best=best)
        os._exit(0)
    killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
    atomic.sweep(folder)
    for file in folder.iterdir():
        store.load(file)
    points.append((store.latest()[0]["k"], store.best()[0]["k"]))
    if not killed:
        break
print(points)
"""


def test_keeps_the_newest_and_the_best(store):
    def kept():
        return [int(path.stem) for path in sorted(store.folder.iterdir())]

    for k in range(1, 9):
        store.save(payload(k), k, k, best=k in (2, 5))
        assert k in kept()
    assert kept() == [5, 7, 8]
    assert store.best()[0]["k"] == 5
    store.save(payload(8), 8, 8)
    store.save(payload(5), 5, 5)
    assert kept() == [5], "later ones are of an abandoned future"
    assert store.best()[0]["k"] == 5, "a step that was the best stays it when saved again"


def test_what_does_not_say_of_which_step_it_is_stays(store):
    torn = store.save(payload(1), 1, 1)
    torn.write_bytes(torn.read_bytes()[:-1])
    for k in range(2, 6):
        store.save(payload(k), k, k)
    assert [path.name for path in sorted(store.folder.iterdir())[1:]] == [
        f"{k:012d}.ckpt" for k in (4, 5)
    ]
    assert torn.exists(), "what cannot be read just now may be good"


def test_a_renamed_checkpoint_is_never_deleted(store):
    store.save(payload(1), 1, 1).rename(store.folder / "for_the_paper.ckpt")
    for k in range(2, 9):
        store.save(payload(k), k, k)
    assert store.load(store.folder / "for_the_paper.ckpt")["k"] == 1


@pytest.mark.parametrize("keep, best", [(1, "best"), (2, "")])
def test_killed_at_every_file_operation_of_a_save(store, python, keep, best):
    done = python(CRASHES, store.folder, keep, best)
    assert done.returncode == 0, done.stderr
    points = ast.literal_eval(done.stdout)
    old, new = (3, 1), (4, 4 if best else 1)
    assert len(points) > 5
    assert points == [old] * points.count(old) + [new] * points.count(new)
    assert points.count(old) > 1
    assert points.count(new) > 2


@pytest.mark.parametrize("kills", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_killed_while_saving(store, python, kills):
    env = {**os.environ, "TMPDIR": "/dev/shm"}
    done = python(KILLS, store.folder, kills, env=env)
    assert done.returncode == 0, done.stderr
    last, torn = map(int, done.stdout.split())
    assert last > kills // 3
    assert torn > kills // 30, "kills did hit the saving itself"
