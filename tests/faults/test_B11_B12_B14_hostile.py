"""A hostile checkpoint or run is never executed and never fills the memory.

B11: whatever a pickle says, nothing of it runs. B12: nothing that a run's configuration names is
imported unless it is ours or on the list. B14: an archive cannot take more memory than its file.
"""

import code
import importlib
import json
import os
import pathlib
import pickle
import re
import runpy
import shutil
import struct
import subprocess
import timeit
import webbrowser
import zipfile

import pytest
import torch
import yaml

from lightning_gen.cli import main
from lightning_gen.config.compose import check_overrides
from lightning_gen.errors import CheckpointError
from lightning_gen.runs import checkpoint
from lightning_gen.runs.checkpoint import Facts
from lightning_gen.runs.state import load_weights
from tests.faults.test_B08_B09_other_model import held
from tests.models.test_gan import build


class Evil:
    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


@pytest.mark.parametrize("call", ["system", "exec", "open", "getattr"])
@pytest.mark.parametrize("dress", ["pickle", "torch", "signed"])
def test_B11_hostile_pickles_are_refused_and_never_executed(store, tmp_path, call, dress):
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


CALLS = {
    "os.system": (os.system, "touch {}"),
    "subprocess.call": (subprocess.call, ["touch", "{}"]),
    "subprocess.Popen": (subprocess.Popen, ["touch", "{}"]),
    "runpy.run_path": (runpy.run_path, "{}.py"),
    "exec": (exec, "open('{}', 'w')"),
    "eval": (eval, "open('{}', 'w')"),
    "pickle.loads": (pickle.loads, b"cos\nsystem\n(S'touch {}'\ntR."),
    "timeit": (timeit.timeit, "open('{}', 'w')"),
    "code": (code.InteractiveInterpreter().runcode, "open('{}', 'w')"),
    "os.mkdir": (os.mkdir, "{}"),
    "builtins.open": (open, "{}", "w"),
    "importlib": (importlib.import_module, "antigravity"),
    "webbrowser": (webbrowser.open, "file:///"),
    "shutil.copy": (shutil.copy, "/etc/hostname", "{}"),
    "pathlib": (pathlib.Path.touch, pathlib.Path("{}")),
    "torch.hub": (torch.hub.load, "{}", "x"),
    "torch.load": (torch.load, "{}"),
}


def formed(value, sentinel):
    if isinstance(value, str):
        return value.format(sentinel)
    if isinstance(value, bytes):
        return value.replace(b"{}", str(sentinel).encode())
    if isinstance(value, pathlib.Path):
        return sentinel
    return [part.format(sentinel) for part in value]


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("name", CALLS)
def test_B11_no_callable_is_called(name, protocol, store, tmp_path):
    call, *arguments = CALLS[name]
    sentinel = tmp_path / "sentinel"
    (tmp_path / "sentinel.py").write_text(f"open({str(sentinel)!r}, 'w')")
    arguments = [formed(value, sentinel) for value in arguments]
    try:
        data = pickle.dumps({"x": Evil(call, *arguments)}, protocol)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        pytest.skip(f"cannot be pickled: {error}")
    store.folder.mkdir()
    path = store.folder / "000000000064.ckpt"
    with zipfile.ZipFile(path, "w") as archive:  # what torch.save writes, with another pickle
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/byteorder", b"little")
        archive.writestr("archive/version", b"3\n")
    signed(path)
    with pytest.raises(CheckpointError, match="is refused: "):
        store.load(path)
    assert not sentinel.exists()


def signed(path):
    """Give a hostile archive a comment and a sum as ours have them: they are no secret."""
    data = bytearray(path.read_bytes())
    comment = checkpoint.MAGIC + json.dumps(FACTS._asdict())[1:-1].encode() + b', "sha256": "'
    data[-2:] = struct.pack("<H", len(comment) + 66)
    data += comment + b"0" * 64 + b'"}'
    data[-66:-2] = checkpoint._hash(memoryview(data)).encode()
    path.write_bytes(data)


FACTS = Facts(1, "0.1.0", 1, 64, False)


def test_B14_an_archive_that_unpacks_to_more_than_its_file(store, tmp_path):
    small = store.save({"w": torch.zeros(50_000_000, dtype=torch.uint8)}, 1, 64)
    packed = tmp_path / "packed.ckpt"
    with zipfile.ZipFile(small) as old, zipfile.ZipFile(packed, "w") as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry), compress_type=zipfile.ZIP_DEFLATED)
    signed(packed)
    assert packed.stat().st_size < 200_000
    with pytest.raises(CheckpointError, match="refused: its entries are compressed"):
        store.load(packed)


def test_B14_storages_that_are_not_in_the_file(store):
    path = store.save({"w": torch.zeros(4)}, 1, 64)
    data, found = re.subn(rb"(cpuq.)K\x04", lambda m: m[1] + b"K\xff", path.read_bytes())
    assert found == 1, "the number of elements as the pickle gives it"
    data = bytearray(data)
    data[-66:-2] = checkpoint._hash(memoryview(data)).encode()
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"refused: record size .16 bytes. does not match"):
        store.load(path)


def test_B14_weights_that_are_not_finite_are_said_aloud(caplog):
    model = build("gan")
    theirs = held(model)
    name = next(iter(theirs["model"]))
    theirs["model"][name].view(-1)[0] = float("nan")
    load_weights(model, theirs, "x.ckpt", {"model": {}, "data": {}})
    assert f"x.ckpt holds numbers that are not finite: {name}" in caplog.text


@pytest.mark.parametrize("target", ["os.system", "builtins.eval", "lightning_gen.errors.os.system"])
@pytest.mark.parametrize("verb", ["sample", "evaluate"])
def test_B12_a_run_that_names_other_code_is_refused(target, verb, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config = check_overrides(["experiment=dcgan_mnist"])
    config["model"]["G"] = {"_target_": target, "command": "touch owned"}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    assert main([verb, f"run={tmp_path}"]) == 2
    assert "may name" in capsys.readouterr().err or target.startswith("lightning_gen")
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]
