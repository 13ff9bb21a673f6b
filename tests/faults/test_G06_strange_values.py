"""G6: values that are no numbers and names of any letters are valid JSON and come back."""

import json

import pytest

from lightning_gen.runs.history import History, make_row, read


def rows_of(*iterations, kind="train"):
    return [make_row(kind, k, 64 * k, {"loss": k / 3}) for k in iterations]


def test_G06_rows_are_valid_json_whatever_the_values(tmp_path):
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
