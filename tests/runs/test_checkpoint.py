import ast
import collections
import os
import pickle
import random
import resource
import shutil
import zipfile

import numpy as np
import pytest
import torch

from lightning_gen.errors import CheckpointError, OutputError
from lightning_gen.runs import checkpoint
from lightning_gen.runs.checkpoint import CheckpointStore, Facts, NewerCheckpointError

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
    time.sleep(rng.uniform(0, 4 * pace))
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


@pytest.fixture
def store(tmp_path):
    return CheckpointStore(tmp_path / "checkpoints")


def payload(k=1, size=1000):
    torch.manual_seed(k)
    adam = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"betas": (0.5, 0.999)}]}
    return {"k": k, "model": {"w": torch.randn(size), "n": torch.tensor(k)}, "adam": adam, "s": "é"}


def assert_same(loaded, saved):
    words = loaded.pop("s"), saved.pop("s")
    assert words[0] == words[1]
    torch.testing.assert_close(loaded, saved, rtol=0, atol=0)


def flip(path, position, bit=0):
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ (1 << bit)]))


def test_plain_torch_load_opens_it(store):
    path = store.save(payload(), 1, 64)
    loaded = torch.load(path, weights_only=True)
    assert_same(loaded, payload())
    assert_same(store.load(str(path)), payload())
    mapped = torch.load(path, weights_only=True, mmap=True)
    assert_same(mapped, payload())
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert b'"iteration": 1, "images_seen": 64' in archive.comment
    assert path.name == "000000000064.ckpt"


def test_state_of_real_optimisers_and_networks_survives(store):
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4))
    net.to(memory_format=torch.channels_last)
    adam = torch.optim.Adam(net.parameters(), betas=(0.5, 0.999))
    schedule = torch.optim.lr_scheduler.LinearLR(adam)
    net(torch.randn(2, 1, 5, 5)).sum().backward()
    adam.step()
    state = {
        "net": net.state_dict(),
        "adam": adam.state_dict(),
        "schedule": schedule.state_dict(),
        "half": torch.ones(3, dtype=torch.bfloat16),
        "view": torch.arange(1_000_000)[:2],
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }
    path = store.save(state, 1, 64)
    loaded = store.load(path)
    for name, tensor in net.state_dict().items():
        assert torch.equal(loaded["net"][name], tensor)
        assert loaded["net"][name].stride() == tensor.stride()
    for index, moments in adam.state_dict()["state"].items():
        for name, tensor in moments.items():
            assert torch.equal(loaded["adam"]["state"][index][name], tensor)
    assert loaded["adam"]["param_groups"] == adam.state_dict()["param_groups"]
    assert path.stat().st_size < 100_000, "a view does not bring its whole storage"
    net.load_state_dict(loaded["net"])
    adam.load_state_dict(loaded["adam"])
    schedule.load_state_dict(loaded["schedule"])


@pytest.mark.parametrize(
    "value, kind",
    [
        (np.float64(1.0), r"numpy\.float64"),
        (np.zeros(2), r"numpy\.ndarray"),
        (torch.device("cpu"), r"torch\.device"),
        ({1, 2}, r"builtins\.set"),
        (print, r"builtins\.builtin_function"),
        (collections.namedtuple("P", "x")(1), r"\.P"),
        (b"bytes", r"builtins\.bytes"),
    ],
)
def test_what_is_not_plain_is_refused_by_name(store, value, kind):
    with pytest.raises(CheckpointError, match=f"cannot save a .*{kind}") as caught:
        store.save({"adam": {"groups": [1, {"lr": value}]}}, 1, 64)
    assert caught.value.where == "payload.adam.groups[1].lr"
    assert not store.folder.exists()


def test_a_key_that_is_not_plain_is_refused(store):
    with pytest.raises(CheckpointError, match=r"cannot save a builtins\.tuple") as caught:
        store.save({"a": {(1, 2): 3}}, 1, 64)
    assert caught.value.where == "a key of payload.a"


def test_weights_that_are_not_finite_are_never_saved(store):
    good = store.save(payload(), 1, 64)
    bad = payload(2)
    bad["model"]["w"][3] = float("nan")
    with pytest.raises(CheckpointError, match="1 of 1000 numbers are not finite") as caught:
        store.save(bad, 2, 128, best=True)
    assert caught.value.where == "payload.model.w"
    assert store.latest()[1] == good
    assert store.best() is None
    store.save(bad, 2, 128, allow_nonfinite=True)
    assert store.latest()[0]["k"] == 2


def test_random_byte_flips_are_all_detected(store):
    path = store.save(payload(size=5_000), 1, 64)
    whole, rng = path.read_bytes(), random.Random(0)
    ends = [*range(128), *range(len(whole) - 400, len(whole))]
    for position in ends + [rng.randrange(len(whole)) for _ in range(1000)]:
        flip(path, position, rng.randrange(8))
        with pytest.raises(CheckpointError) as caught:
            store.load(path)
        assert not isinstance(caught.value, NewerCheckpointError)
        path.write_bytes(whole)
    hole = bytearray(whole)
    hole[10_000:14_096] = bytes(4096)
    path.write_bytes(hole)
    with pytest.raises(CheckpointError, match="fails its SHA-256"):
        store.load(path)


def test_truncations_are_all_detected_and_say_how_much_is_missing(store):
    path = store.save(payload(size=300_000), 1, 64)
    whole, rng = path.read_bytes(), random.Random(0)
    sizes = [0, 1, 20, 63, 64, len(whole) // 2, *range(len(whole) - 400, len(whole))]
    for size in sizes + [rng.randrange(len(whole)) for _ in range(100)]:
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError) as caught:
            store.load(path)
        if size >= 64 or size == 0:
            assert "is truncated" in caught.value.what
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"truncated \(0\.60\d of 1\.20\d MB\)"):
        store.load(path)
    path.write_bytes(whole + b"more")
    with pytest.raises(CheckpointError, match="SHA-256"):
        store.load(path)


def test_falls_back_to_the_one_before_and_says_so(store, caplog):
    good, last = (store.save(payload(k), k, 64 * k) for k in (1, 2))
    flip(last, last.stat().st_size // 2)
    found, path = store.latest()
    assert (found["k"], path) == (1, good)
    assert f"{last.name} fails its SHA-256" in caplog.text
    assert f"continuing from {good.name}" in caplog.text
    store.save(payload(1), 1, 64)
    assert not last.exists(), "the rejected future is gone once its past is durable again"


def test_a_rejected_checkpoint_does_not_take_the_place_of_a_good_one(tmp_path):
    store = CheckpointStore(tmp_path, keep=1)
    store.save(payload(1), 10, 640)
    saved = (tmp_path / "000000000640.ckpt").read_bytes()
    later = store.save(payload(2), 20, 1280)
    flip(later, 500)
    (tmp_path / "000000000640.ckpt").write_bytes(saved)
    assert store.latest()[0]["k"] == 1
    store.save(payload(3), 15, 960)
    assert store.latest()[0]["k"] == 3


def test_all_bad_never_starts_from_scratch(store):
    paths = [store.save(payload(k), k, 64 * k, best=k == 1) for k in (1, 2, 3)]
    paths[0].write_bytes(b"")
    flip(paths[1], 300)
    paths[2].write_bytes(paths[2].read_bytes()[:-8])
    with pytest.raises(CheckpointError) as caught:
        store.latest()
    assert "(3 found, 3 rejected: " in caught.value.what
    assert all(path.name in caught.value.what for path in paths)
    assert "run.fresh=true" in caught.value.fix
    assert CheckpointStore(store.folder / "missing").latest() is None


def test_order_is_by_the_step_inside(store, tmp_path):
    store = CheckpointStore(store.folder, keep=4)
    paths = [store.save(payload(k), k, 64 * k) for k in (1, 2, 3, 4)]
    for k, path in enumerate(paths):
        os.utime(path, (10_000 - k, 10_000 - k))
    assert store.latest()[0]["k"] == 4
    shutil.copytree(store.folder, tmp_path / "copy")
    for path, name in zip(paths, ["d.ckpt", "b.ckpt", "c.ckpt", "a.ckpt"], strict=True):
        os.rename(tmp_path / "copy" / path.name, tmp_path / "copy" / name)
    assert CheckpointStore(tmp_path / "copy").latest()[0]["k"] == 4


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


def test_a_renamed_checkpoint_is_never_deleted(store):
    store.save(payload(1), 1, 1).rename(store.folder / "for_the_paper.ckpt")
    for k in range(2, 9):
        store.save(payload(k), k, k)
    assert store.load(store.folder / "for_the_paper.ckpt")["k"] == 1


def test_newer_schema_asks_for_an_upgrade_and_is_not_passed_over(store, monkeypatch):
    store.save(payload(1), 1, 64)
    with monkeypatch.context() as later:
        later.setattr(checkpoint, "SCHEMA", 2)
        later.setattr(checkpoint, "__version__", "9.0")
        store.save(payload(2), 2, 128)
    with pytest.raises(CheckpointError, match=r"was written by 9\.0, this is ") as caught:
        store.latest()
    assert "upgrade" in caught.value.fix


class Evil:
    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


@pytest.mark.parametrize("call", ["system", "exec", "open", "getattr"])
@pytest.mark.parametrize("dress", ["pickle", "torch", "signed"])
def test_hostile_pickles_are_refused_and_never_executed(store, tmp_path, call, dress):
    sentinel = tmp_path / "sentinel"
    evil = {
        "system": Evil(os.system, f"touch {sentinel}"),
        "exec": Evil(exec, f"open({str(sentinel)!r}, 'w')"),
        "open": Evil(open, str(sentinel), "w"),
        "getattr": Evil(getattr, Evil(__import__, "os"), "system"),
    }[call]
    store.folder.mkdir()
    path = store.folder / "000000000064.ckpt"
    if dress == "pickle":
        path.write_bytes(pickle.dumps(evil))
    elif dress == "torch":
        torch.save({"w": torch.zeros(2), "x": evil}, path)
    else:
        path.write_bytes(checkpoint.serialise({"x": evil}, Facts(1, "0.1.0", 1, 64, False)))
    with pytest.raises(CheckpointError, match="refused") as caught:
        store.load(path)
    if dress == "signed":
        assert "contains " in caught.value.what
    with pytest.raises(CheckpointError, match="no usable checkpoint"):
        store.latest()
    assert not sentinel.exists()
    if call != "getattr":
        pickle.loads(pickle.dumps(evil))
        assert sentinel.exists(), "the payload would have worked"


def test_nonsense_files_are_refused(store):
    store.save(payload(1), 1, 64)
    rng = random.Random(0)
    path = store.folder / "999999999999.ckpt"
    facts = checkpoint.MAGIC + b'"iteration": "x", "sha256": "' + b"0" * 64 + b'"}'
    for data in (b"PK", rng.randbytes(5000), facts, checkpoint.MAGIC + b"[" * 900, b"{}" * 40):
        path.write_bytes(data)
        with pytest.raises(CheckpointError):
            store.load(path)
        assert store.latest()[0]["k"] == 1


def test_a_missing_file_is_named(store):
    with pytest.raises(CheckpointError, match=r"cannot read .*x\.ckpt: No such file"):
        store.load(store.folder / "x.ckpt")


def test_a_save_that_does_not_fit_names_the_last_good_one(store):
    good = store.save(payload(1), 1, 64)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(OutputError, match=r"cannot write to .*: file too large") as caught:
            store.save({"w": torch.zeros(100_000)}, 2, 128, best=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert f"last good checkpoint: {good}" in str(caught.value)
    assert list(store.folder.iterdir()) == [good]
    assert store.latest()[0]["k"] == 1


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "checkpoints").write_text("")
    with pytest.raises(OutputError, match="cannot write to"):
        CheckpointStore(tmp_path / "checkpoints").save(payload(), 1, 64)


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
