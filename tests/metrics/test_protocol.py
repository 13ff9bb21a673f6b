"""A score says what it is a score of."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from lightning_gen.errors import MetricError
from lightning_gen.metrics.protocol import Evaluation, Protocol, Score, comparable

HOW = Protocol("inception", "67", "tf1-299", 60_000, 50_000, "train", "ema", 0, "f0", {"k": 5})


@pytest.mark.parametrize(
    ("n_fake", "split", "name"),
    [
        (50_000, "train", "fid_inception@50k_train"),
        (2500, "", "fid_inception@2500"),
        (1000, "test", "fid_inception@1k_test"),
        (64, "test", "fid_inception@64_test"),
    ],
)
def test_the_name_carries_extractor_count_and_split(n_fake, split, name):
    assert Score("fid", 1.0, replace(HOW, n_fake=n_fake, split=split)).name == name


def test_json_keeps_everything():
    for score in (Score("kid", 0.1, HOW, ci=0.01), Score("kid", None, HOW, note="too few")):
        row = json.loads(json.dumps(score.to_json()))
        assert row["name"] == "kid_inception@50k_train"
        assert Score.from_json(row) == score


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({"seed": 1}, []),
        ({"weights": "raw"}, ["weights"]),
        ({"split": "test", "n_real": 10_000}, ["n_real", "split"]),
        ({"extractor_sha256": "68"}, ["extractor_sha256"]),
        ({"options": {"k": 3}}, ["options.k"]),
        ({"options": {}}, ["options.k"]),
    ],
)
def test_unlike_protocols_are_not_comparable(change, differs):
    a, b = Score("fid", 1.0, HOW), Score("fid", 2.0, replace(HOW, **change))
    assert sorted(comparable(a, b)) == differs
    assert sorted(comparable(b, a)) == differs


def test_require_names_what_was_refused():
    fine, refused = Score("fid", 1.0, HOW), Score("kid", None, HOW, note="64 samples are few")
    assert Evaluation([fine], {}).require().scores == [fine]
    with pytest.raises(MetricError, match=r"\[6\]: 64 samples are few"):
        Evaluation([fine, refused], {}).require()


def test_protocols_are_read_without_torch():
    code = "import sys, lightning_gen.metrics.protocol; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
