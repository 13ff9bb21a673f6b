"""G4: killed at any moment, the history has every row but a torn last one, each once."""

import subprocess
import sys

import pytest

from lightning_gen.runs.history import History, encode, make_row, read


def rows_of(*iterations, kind="train"):
    return [make_row(kind, k, 64 * k, {"loss": k / 3}) for k in iterations]


@pytest.fixture
def python():
    """Run a script in a process of its own; what it asserts there fails here."""

    def run(script, *arguments):
        command = [sys.executable, "-c", script, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)

    return run


KILLS = """
import os, random, signal, sys, time
from pathlib import Path
from lightning_gen.runs import atomic
from lightning_gen.runs.history import History, make_row, read

path, kills = Path(sys.argv[1]), int(sys.argv[2])
rng, start, steps = random.Random(0), 0, []
for kill in range(kills):
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        history = History(path)
        history.rewind(start)
        os.write(send, b"%d\\n" % start)
        for k in range(start + 1, 10**9):
            for kind in ("train", "eval"):
                history.append(make_row(kind, k, 64 * k, {"loss " + "x" * 500: k / 7}))
            os.write(send, b"%d\\n" % k)
    os.close(send)
    # Some are killed while they open and rewind, the others while they append.
    told = b"%d\\n" % start + (os.read(receive, 20) if kill % 3 else b"")
    time.sleep(rng.uniform(0, 0.01))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    last = int((told + os.fdopen(receive, "rb").read()).split()[-1])
    rows, before = list(read(path)), len(steps)
    steps = [row["iteration"] for row in rows if row["kind"] == "train"]
    assert steps == list(range(1, len(steps) + 1)), "each step once, in order"
    # It may have been killed before it had rewound.
    assert last <= len(steps) <= max(last + 1, before), (last, len(steps), before)
    start = rng.randint(0, last)
    atomic.sweep(path.parent)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
"""


@pytest.mark.parametrize("kills", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_G04_killed_while_appending_and_rewinding(tmp_path, python, kills):
    done = python(KILLS, tmp_path / "m.jsonl", kills)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("keep", [0, 1, 30, -1, -2])
def test_G04_torn_last_line_is_left_out_and_cut_off(tmp_path, keep):
    path = tmp_path / "m.jsonl"
    whole, last = b"".join(map(encode, rows_of(1, 2))), encode(rows_of(3)[0])
    path.write_bytes(whole + last[:keep])
    assert [row["iteration"] for row in read(path)] == [1, 2]
    history = History(path)
    history.append(rows_of(3)[0])
    history.close()
    assert path.read_bytes() == whole + last


def test_G04_torn_line_longer_than_a_block(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_bytes(encode(rows_of(1)[0]) + b"x" * 200_000)
    History(path).close()
    assert path.read_bytes() == encode(rows_of(1)[0])
    path.write_bytes(b"x" * 200_000)
    History(path).close()
    assert path.read_bytes() == b""
