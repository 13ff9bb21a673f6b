import os

import pytest

from lightning_gen.errors import CheckpointError
from lightning_gen.runs.history import History, encode, make_row, read


def rows_of(*iterations, kind="train"):
    return [make_row(kind, k, 64 * k, {"loss": k / 3}) for k in iterations]


def test_each_row_is_in_the_file_at_once(tmp_path):
    history = History(tmp_path / "m.jsonl")
    for count, row in enumerate(rows_of(1, 2, 3), 1):
        history.append(row)
        assert len(list(read(tmp_path / "m.jsonl"))) == count
    history.close()
    history.close()


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
