"""R17, B11, B12, D9: nothing in a checkpoint, configuration, archive or pickle of a stranger runs.

Each file holds a payload that would leave a sentinel; that it would is checked too. It has to be
refused with an error of ours, and nothing may be written outside of its folder.
"""

import gzip
import hashlib
import io
import json
import os
import pickle
import runpy
import subprocess
import tarfile
import zipfile

import numpy as np
import pytest
import torch
import yaml

from lightning_gen.config.compose import check_overrides, instantiate, load_run_config
from lightning_gen.data import cifar10
from lightning_gen.data.array_pickle import load_arrays
from lightning_gen.data.arrays import META, fingerprint, prepare, read
from lightning_gen.data.cifar10 import ARCHIVE, CIFAR10, FOLDER
from lightning_gen.data.image_folder import ImageFolder
from lightning_gen.data.mnist import PICKLE, from_wheel
from lightning_gen.errors import LightningGenError
from lightning_gen.metrics.extractors import Inception2015
from lightning_gen.runs import checkpoint
from lightning_gen.runs.checkpoint import CheckpointStore, Facts
from tests.config.test_signature import HOSTILE
from tests.faults.obtained import write


class Call:
    """Is unpickled by a call."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced

    def __call__(self):
        """Pickles take what is called for a callable: what this is unpickled to."""


def payloads(sentinel):
    """Objects that make the sentinel when they are unpickled, by the way they do."""
    touch, code = f"touch {sentinel}", f"open({str(sentinel)!r}, 'w').close()"
    return {
        "system": Call(os.system, touch),
        "popen": Call(Call(getattr, Call(os.popen, touch), "read")),
        "exec": Call(exec, code),
        "eval": Call(eval, code),
        "compile": Call(eval, Call(compile, code, "x", "exec")),
        "open": Call(open, str(sentinel), "w"),
        "FileIO": Call(io.FileIO, str(sentinel), "w"),
        "mkdir": Call(os.mkdir, str(sentinel)),
        "subprocess": Call(subprocess.call, ["touch", str(sentinel)]),
        "getoutput": Call(subprocess.getoutput, touch),
        "runpy": Call(runpy._run_code, Call(compile, code, "x", "exec"), {}),
        "map": Call(list, Call(map, os.system, [touch])),
        "import": Call(Call(getattr, Call(__import__, "os"), "system"), touch),
        "nested": Call(pickle.loads, pickle.dumps(Call(os.system, touch))),
        "tofile": Call(Call(getattr, np.zeros(1), "tofile"), str(sentinel)),
    }


# Families: each gives (what, a call that has to be refused)


def checkpoints(folder, sentinel):
    for name, evil in payloads(sentinel).items():
        for dress in ("pickle", "torch", "signed"):
            path = folder / f"{name}-{dress}.ckpt"
            if dress == "pickle":
                path.write_bytes(pickle.dumps(evil))
            elif dress == "torch":
                torch.save({"w": torch.zeros(2), "x": evil}, path)
            else:
                facts = Facts(1, "0.1.0", 1, 64, False)
                path.write_bytes(checkpoint.serialise({"model": {"w": evil}}, facts))
            yield path.name, lambda path=path: CheckpointStore(folder).load(path)
    yield "latest of them", lambda: CheckpointStore(folder).latest()


def weights(folder, sentinel):
    for name, evil in payloads(sentinel).items():
        path = folder / f"{name}.pth"
        torch.save({"Conv2d_1a_3x3.conv.weight": evil}, path)
        yield path.name, lambda path=path: Inception2015(str(path))


def array_pickles(folder, sentinel):
    for name, evil in payloads(sentinel).items():
        for protocol in (2, 5):
            data = pickle.dumps((np.zeros(2), (evil,)), protocol=protocol)
            yield (
                f"{name}, protocol {protocol}",
                lambda data=data: load_arrays(io.BytesIO(data), max_bytes=10**6, where="x"),
            )


def wheels(folder, sentinel):
    for name, evil in payloads(sentinel).items():
        path = folder / f"{name}.whl"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("../climbed", "x")
            archive.writestr(f"{folder.parent}/absolute", "x")
            archive.writestr(PICKLE, gzip.compress(pickle.dumps(evil, protocol=2)))
        yield path.name, lambda path=path: from_wheel(path)


def configurations(folder, sentinel):
    sound = check_overrides(["experiment=dcgan_mnist"])
    nodes = [{"_target_": target, "command": f"touch {sentinel}"} for target in HOSTILE]
    nodes += [
        {"_target_": "torch.optim.Adam", "lr": {"_target_": "os.mkdir", "path": str(sentinel)}},
        {"_target_": "torch.optim.Adam", "_args_": [{"_target_": "os.getcwd"}]},
        f"${{oc.create:{{_target_:os.mkdir,path:{sentinel}}}}}",
        "${oc.env:HOME}",
        [{"deep": {"_target_": "os.mkdir", "path": str(sentinel)}}],
    ]
    for at, node in enumerate(nodes):
        own = folder / str(at)
        own.mkdir()
        (own / "config.yaml").write_text(yaml.safe_dump(sound | {"model": node}))
        yield f"run {at}: {node}", lambda own=own: load_run_config(own)
        if isinstance(node, dict):
            yield f"node {at}: {node}", lambda node=node: instantiate(node)
    for at, tag in enumerate(
        [
            f"!!python/object/apply:os.system ['touch {sentinel}']",
            f"!!python/object/apply:os.mkdir ['{sentinel}']",
            f"!!python/object/new:os.mkdir ['{sentinel}']",
            "!!python/name:os.system",
            "!!python/module:os",
            f"a: !!python/object/apply:subprocess.call [[touch, '{sentinel}']]",
            "&a [*a, *a]",
        ]
    ):
        own = folder / f"tag{at}"
        own.mkdir()
        (own / "config.yaml").write_text(tag)
        yield tag, lambda own=own: load_run_config(own)


def command_lines(folder, sentinel):
    for target in [t for t in HOSTILE if isinstance(t, str) and t][::3]:
        if "$" not in target:
            words = [f"model.G._target_={target}", f"+model.G.command='touch {sentinel}'"]
            yield target, lambda words=words: check_overrides(words)


def archives(folder, sentinel):
    name = f"{FOLDER}/data_batch_1.bin"

    def entry(kind=tarfile.REGTYPE, called=name, size=3, link=""):
        info = tarfile.TarInfo(called)
        info.type, info.linkname = kind, link
        info.size = size if kind == tarfile.REGTYPE else 0
        return info

    members = {
        "climbs": entry(called="../climbed"),
        "climbs inside": entry(called=f"{FOLDER}/../../climbed"),
        "absolute": entry(called=f"{folder.parent}/absolute"),
        "symbolic link": entry(tarfile.SYMTYPE, link="/etc/passwd"),
        "link that climbs": entry(tarfile.SYMTYPE, link="../../../etc/passwd"),
        "hard link": entry(tarfile.LNKTYPE, link="/etc/passwd"),
        "device": entry(tarfile.CHRTYPE),
        "block device": entry(tarfile.BLKTYPE),
        "pipe": entry(tarfile.FIFOTYPE),
        "folder": entry(tarfile.DIRTYPE),
    }
    for what, info in members.items():
        root = folder / what.replace(" ", "_")
        root.mkdir()
        with tarfile.open(root / ARCHIVE, "w:gz") as packed:
            packed.addfile(info, io.BytesIO(b"abc"))

        def opened(root=root):
            cifar10.SHA256 = hashlib.sha256((root / ARCHIVE).read_bytes()).hexdigest()
            CIFAR10(str(root), str(root / "cache"), batch_size=4).prepare_data()

        yield what, opened


def pictures(folder, sentinel):
    scripts = {
        "pipe.png": f"%!PS\n(%pipe%touch {sentinel}) (w) file closefile showpage\n",
        "pipe.eps": f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%touch {sentinel}) "
        "(w) file showpage\n",
        "svg.png": f'<svg xmlns="http://www.w3.org/2000/svg"><script>touch {sentinel}</script>',
        "mvg.jpg": f"push graphic-context\nimage over 0,0 0,0 '|touch {sentinel}'\n",
    }
    for name, text in scripts.items():
        own = folder / name.replace(".", "_")
        own.mkdir()
        (own / name).write_text(text)
        made = ImageFolder(str(own / "root"), str(own), folder=str(own), batch_size=1)
        yield name, made.prepare_data


def object_arrays(folder, sentinel):
    for name, evil in payloads(sentinel).items():
        own = folder / name / "arrays"

        def opened(own=own, evil=evil):
            def put(writer):
                writer.save("image", np.zeros(1, np.uint8))
                return "x"

            prepare(own, {}, put)
            file, meta = own / "image.npy", json.loads((own / META).read_text())
            np.save(file, np.array([evil], dtype=object), allow_pickle=True)
            meta["arrays"]["image"]["bytes"] = file.stat().st_size
            meta["fingerprint"] = fingerprint(meta["recipe"], meta["arrays"])
            (own / META).write_text(json.dumps(meta))
            read(own).array("image")

        yield name, opened


FAMILIES = [
    *(checkpoints, weights, array_pickles, wheels, configurations, command_lines),
    *(archives, pictures, object_arrays),
]


def try_family(family, folder, monkeypatch):
    """How many files were tried, and what was not refused or left something."""
    inside, sentinel = folder / "inside", folder / "sentinel"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    monkeypatch.setattr(cifar10, "SHA256", "")
    count, wrong = 0, []
    for what, refused in family(inside, sentinel):
        count += 1
        try:
            refused()
        except LightningGenError as error:
            if not str(error):
                wrong.append(f"{what}: no reason given")
        else:
            wrong.append(f"{what}: was taken")
        if {path.name for path in folder.iterdir()} != {"inside"}:
            wrong.append(f"{what}: left something outside")
            sentinel.unlink(missing_ok=True)
    return count, wrong


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_R17_hostile_files_are_refused(family, tmp_path, monkeypatch):
    count, wrong = try_family(family, tmp_path / "place", monkeypatch)
    assert wrong == [] and count > 3


@pytest.mark.parametrize("name", sorted(payloads("x")))
def test_R17_the_payloads_would_have_worked(name, tmp_path):
    sentinel = tmp_path / "sentinel"
    pickle.loads(pickle.dumps(payloads(sentinel)[name]))
    assert sentinel.exists()


@pytest.mark.slow
def test_R17_all_hostile_files(tmp_path, monkeypatch):
    tried = {f.__name__: try_family(f, tmp_path / f.__name__, monkeypatch) for f in FAMILIES}
    count, wrong = sum(n for n, _ in tried.values()), [w for _, ws in tried.values() for w in ws]
    counts = ", ".join(f"{n} {name.replace('_', ' ')}" for name, (n, _) in tried.items())
    write(
        "R17",
        "0 executions and 0 files outside over >= 100 hostile checkpoints, configs and archives",
        f"{len(wrong)} of {count} ({counts}) ran, were taken or left a file",
        count=count,
        failures=len(wrong),
    )
    assert wrong == [] and count >= 100
