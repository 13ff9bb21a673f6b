import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from lightning_gen.data.arrays import META, fingerprint, prepare, read
from lightning_gen.errors import DataError

RECIPE = {"size": 3}
IMAGE = np.arange(3 * 4, dtype=np.uint8).reshape(3, 1, 2, 2)


def write(writer):
    writer.save("image", IMAGE)
    writer.create("label", (3,), np.int64)[:] = [5, 6, 7]
    writer.note["skipped"] = {}
    return "made up"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "toy" / "arrays"


def refuse(writer):
    raise AssertionError("there was no need to write")


def script(code):
    """Python code that has ``prepare`` and ``FOLDER``, to be run in another process."""
    head = "import sys, time, numpy as np\nfrom pathlib import Path\n"
    head += "from lightning_gen.data.arrays import prepare\nFOLDER = Path(sys.argv[1])\n"
    return [sys.executable, "-c", head + textwrap.dedent(code)]


def test_round_trip(folder):
    made = prepare(folder, RECIPE, write)
    again = prepare(folder, RECIPE, refuse)
    assert (again.array("image") == IMAGE).all() and again.array("label").tolist() == [5, 6, 7]
    assert made.fingerprint == again.fingerprint == read(folder).fingerprint
    assert "image" in again and "other" not in again
    assert sorted(p.name for p in folder.iterdir()) == ["image.npy", "label.npy", META]
    with pytest.raises(ValueError, match="read-only"):
        again.array("image")[0] = 0
    meta = json.loads((folder / META).read_text())
    assert meta["source"] == "made up" and meta["arrays"]["image"]["shape"] == [3, 1, 2, 2]
    again.verify()


def test_fingerprint_follows_content_and_recipe(tmp_path):
    def of(name, recipe, value):
        return prepare(tmp_path / name, recipe, lambda w: w.save("x", np.array([value])) or "")

    one = of("a", {"r": 1}, 1).fingerprint
    assert one == of("b", {"r": 1}, 1).fingerprint
    assert len({one, of("c", {"r": 2}, 1).fingerprint, of("d", {"r": 1}, 2).fingerprint}) == 3


def test_another_recipe_makes_it_anew(folder):
    prepare(folder, RECIPE, write)
    other = prepare(folder, {"size": 4}, lambda w: w.save("x", np.zeros(4)) or "")
    assert list(other.meta["arrays"]) == ["x"]
    assert [p.name for p in folder.parent.iterdir() if p.is_dir()] == ["arrays"]


def cut(file):
    os.truncate(file, file.stat().st_size - 1)


def retype(file):
    np.save(file, np.load(file).view(np.int8))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda f: cut(f / "image.npy"), "it has 139 bytes, not 140"),
        (lambda f: (f / "image.npy").unlink(), "it is missing"),
        (lambda f: (f / META).unlink(), "not prepared"),
        (lambda f: (f / META).write_text("{"), "damaged"),
        (lambda f: (f / META).write_text("[]"), "its schema is not 1"),
        (lambda f: (f / META).write_text('{"schema": 1}'), "fingerprint"),
        (lambda f: (f / META).write_text((f / META).read_text().replace("3", "4")), "fingerprint"),
        (lambda f: shutil.rmtree(f), "not prepared"),
    ],
)
def test_damage_is_seen_named_and_mended(folder, harm, said):
    prepare(folder, RECIPE, write)
    harm(folder)
    with pytest.raises(DataError, match=said) as caught:
        read(folder)
    assert str(folder) in str(caught.value.where)
    assert caught.value.fix.startswith("lightning-gen prepare toy")
    assert (prepare(folder, RECIPE, write).array("image") == IMAGE).all()


def test_altered_type_is_refused_before_use(folder):
    prepare(folder, RECIPE, write)
    retype(folder / "image.npy")
    with pytest.raises(DataError, match=r"it holds int8\[3, 1, 2, 2\], not uint8"):
        read(folder).array("image")


def test_pickled_array_is_not_loaded(folder):
    prepare(folder, RECIPE, write)
    file, meta = folder / "image.npy", json.loads((folder / META).read_text())
    np.save(file, np.array([{}], dtype=object), allow_pickle=True)
    meta["arrays"]["image"]["bytes"] = file.stat().st_size
    meta["fingerprint"] = fingerprint(meta["recipe"], meta["arrays"])
    (folder / META).write_text(json.dumps(meta))
    with pytest.raises(DataError, match="damaged"):
        read(folder).array("image")


def test_altered_byte_is_found_by_verify(folder):
    prepare(folder, RECIPE, write)
    data = bytearray((folder / "image.npy").read_bytes())
    data[-1] ^= 1
    (folder / "image.npy").write_bytes(data)
    with pytest.raises(DataError, match=r"its SHA-256 is [0-9a-f]{64}, expected") as caught:
        read(folder).verify()
    assert caught.value.fix == "lightning-gen prepare toy fresh=true"
    prepare(folder, RECIPE, write, fresh=True).verify()


def test_a_writer_that_fails_leaves_nothing(folder):
    def fail(writer):
        writer.save("image", IMAGE)
        raise DataError("no more")

    with pytest.raises(DataError, match="no more"):
        prepare(folder, RECIPE, fail)
    assert [p for p in folder.parent.iterdir() if p.is_dir()] == []
    prepare(folder, RECIPE, write)
    with pytest.raises(DataError, match="no more"):
        prepare(folder, RECIPE, fail, fresh=True)
    assert (read(folder).array("image") == IMAGE).all()


def test_killed_half_way_leaves_nothing_usable_and_can_be_repeated(folder):
    code = """
        def write(writer):
            writer.save("image", np.zeros(10**6))
            print("half", flush=True)
            time.sleep(60)
        prepare(FOLDER, {"size": 3}, write)
    """
    with subprocess.Popen([*script(code), str(folder)], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"half\n"
        process.send_signal(signal.SIGKILL)
    assert not folder.exists() and any(p.is_dir() for p in folder.parent.iterdir())
    with pytest.raises(DataError, match="not prepared"):
        read(folder)
    assert (prepare(folder, RECIPE, write).array("image") == IMAGE).all()
    assert [p.name for p in folder.parent.iterdir() if p.is_dir()] == ["arrays"]


def test_killed_between_the_renames_can_be_repeated(folder):
    prepare(folder, RECIPE, write)
    shutil.copytree(folder, folder.parent / ".arrays.part")
    folder.rename(folder.parent / ".arrays.old")
    assert (prepare(folder, RECIPE, write).array("image") == IMAGE).all()
    assert [p.name for p in folder.parent.iterdir() if p.is_dir()] == ["arrays"]


def test_two_processes_prepare_once(folder):
    code = """
        def write(writer):
            print("writing", flush=True)
            time.sleep(1)
            writer.save("image", np.arange(5))
            return ""
        print(prepare(FOLDER, {}, write).fingerprint)
    """
    command = [*script(code), str(folder)]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    lines = [out.split() for out, _ in said]
    assert sum("writing" in words for words in lines) == 1
    assert lines[0][-1] == lines[1][-1]
