import json
import os

import pytest

from lightning_gen.errors import CheckpointError
from lightning_gen.runs.history import History, encode, make_row, read

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


def rows_of(*iterations, kind="train"):
    return [make_row(kind, k, 64 * k, {"loss": k / 3}) for k in iterations]


def test_rows_are_valid_json_whatever_the_values(tmp_path):
    history = History(tmp_path / "m.jsonl")
    values = {
        "loss/é \u2028 \udc80": 1.5,
        "a": float("nan"),
        "b": float("-inf"),
        "c": float("inf"),
        "d": None,
        "n": 3,
    }
    history.append(make_row("train", 1, 64, values))
    history.close()
    (line,) = (tmp_path / "m.jsonl").read_bytes().splitlines()
    row = json.loads(line, parse_constant=pytest.fail)
    assert row["values"] == {**values, "a": None, "b": None, "c": None}
    assert row["nonfinite"] == {"a": "nan", "b": "-inf", "c": "inf"}
    assert "é".encode() in line
    assert list(read(tmp_path / "m.jsonl")) == [row]
    assert "nonfinite" not in make_row("train", 1, 64, {"a": 1.0})


def test_each_row_is_in_the_file_at_once(tmp_path):
    history = History(tmp_path / "m.jsonl")
    for count, row in enumerate(rows_of(1, 2, 3), 1):
        history.append(row)
        assert len(list(read(tmp_path / "m.jsonl"))) == count
    history.close()
    history.close()


@pytest.mark.parametrize("keep", [0, 1, 30, -1, -2])
def test_torn_last_line_is_left_out_and_cut_off(tmp_path, keep):
    path = tmp_path / "m.jsonl"
    whole, last = b"".join(map(encode, rows_of(1, 2))), encode(rows_of(3)[0])
    path.write_bytes(whole + last[:keep])
    assert [row["iteration"] for row in read(path)] == [1, 2]
    history = History(path)
    history.append(rows_of(3)[0])
    history.close()
    assert path.read_bytes() == whole + last


def test_torn_line_longer_than_a_block(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_bytes(encode(rows_of(1)[0]) + b"x" * 200_000)
    History(path).close()
    assert path.read_bytes() == encode(rows_of(1)[0])
    path.write_bytes(b"x" * 200_000)
    History(path).close()
    assert path.read_bytes() == b""


def test_opening_a_whole_file_leaves_it_alone(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_bytes(encode(rows_of(1)[0]))
    os.utime(path, (1, 1))
    History(path).close()
    assert path.stat().st_mtime == 1


def test_damage_inside_is_named(tmp_path):
    path = tmp_path / "m.jsonl"
    lines = [*map(encode, rows_of(1, 2, 3))]
    path.write_bytes(lines[0] + lines[1][5:] + lines[2])
    with pytest.raises(CheckpointError, match=r"line 2 of m\.jsonl"):
        list(read(path))


def test_rewind_drops_each_later_row_once(tmp_path):
    path = tmp_path / "m.jsonl"
    history = History(path)
    for row in rows_of(1, 2) + rows_of(2, kind="eval") + rows_of(3, 4):
        history.append(row)
    assert history.rewind(2) == rows_of(2, kind="eval")[0]
    history.append(rows_of(3)[0])
    assert [row["iteration"] for row in read(path)] == [1, 2, 2, 3]
    assert [row["iteration"] for row in read(path, kinds=["train"])] == [1, 2, 3]
    before = path.stat()
    history.rewind(3)
    assert path.stat().st_ino == before.st_ino, "nothing to drop, nothing written"
    assert history.rewind(0) is None
    history.close()
    assert path.read_bytes() == b""


@pytest.mark.parametrize("kills", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_killed_while_appending_and_rewinding(tmp_path, python, kills):
    done = python(KILLS, tmp_path / "m.jsonl", kills)
    assert done.returncode == 0, done.stderr
