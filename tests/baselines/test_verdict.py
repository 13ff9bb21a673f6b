"""A verdict follows from the mean, the band and the protocol, and from nothing else."""

import math

import pytest

from lightning_gen.baselines.verdict import Measured, judge
from lightning_gen.config.paper import Paper
from lightning_gen.metrics.protocol import Protocol, Score

HOW = Protocol("ring", "ab", "none", 100, 2500, "test", "raw", 0, "cd", {"k": 3})
RESULT = {
    "metric": "modes",
    "value": 8.0,
    "band": [7.0, 9.0],
    "why": "2 se",
    "better": "higher",
    "protocol": {"n_fake": 2500, "options": {"k": 3}},
}


def paper(images=None, early=None, **changes):
    results = [{**RESULT, **changes}]
    return Paper("X", "arXiv:1", results=results, images=images, early=early)


def seeds(*values, how=HOW, images=0, **facts):
    return [
        Measured(i, images, [Score("modes", value, how, note="no weights")], **facts)
        for i, value in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("values", "better", "verdict"),
    [
        ([7.0], "higher", "reproduced"),
        ([9.0], "higher", "reproduced"),
        ([6, 8.1], "higher", "reproduced"),
        ([6.9], "higher", "short of it"),
        ([9.1], "higher", "better"),
        ([6.9], "lower", "better"),
        ([9.1], "lower", "short of it"),
        ([9.1], None, "short of it"),
        ([6.9], None, "short of it"),
    ],
)
def test_the_mean_and_the_band(values, better, verdict):
    [row] = judge(paper(better=better), seeds(*values))
    assert row.verdict == verdict
    assert row.mean == pytest.approx(sum(values) / len(values))
    assert row.gap == pytest.approx(row.mean - 8)


def test_an_open_band():
    assert judge(paper(band=[7, None]), seeds(1e9))[0].verdict == "reproduced"
    assert judge(paper(band=[None, 7]), seeds(-1e9))[0].verdict == "reproduced"


def test_the_standard_error_is_that_of_the_mean():
    [row] = judge(paper(), seeds(7, 8, 9))
    assert (row.n, row.se) == (3, pytest.approx(1 / math.sqrt(3)))


@pytest.mark.parametrize(
    ("field", "value"),
    [("n_fake", 10_000), ("split", "train"), ("weights", "ema"), ("extractor", "mnist"),
     ("n_real", 5), ("resize", "28"), ("options", {"k": 5}), ("options", {"sure": 0.5})],
)  # fmt: skip
def test_another_protocol_is_never_compared_and_named(field, value):
    fixed = {**RESULT["protocol"], field: value}
    [row] = judge(paper(protocol=fixed), seeds(8.0))
    assert row.verdict == "not comparable"
    assert row.gap is None
    name = f"options.{next(iter(value))}" if field == "options" else field
    assert name in row.why


def test_seeds_of_unlike_protocols_are_not_averaged_into_a_verdict():
    from dataclasses import replace

    mixed = seeds(8.0) + seeds(8.0, how=replace(HOW, data_fingerprint="ef"))
    [row] = judge(paper(), mixed)
    assert row.verdict == "not comparable"
    assert "data_fingerprint" in row.why


def test_the_nearest_of_several_scores_is_judged():
    from dataclasses import replace

    other = Score("modes", 1.0, replace(HOW, n_fake=100))
    right = Score("modes", 8.0, HOW)
    [row] = judge(paper(), [Measured(0, 0, [other, right])])
    assert (row.verdict, row.mean) == ("reproduced", 8.0)


def test_less_training_than_the_paper_has_no_verdict_but_a_gap():
    [row] = judge(paper(images=1000), seeds(8.5, images=999))
    assert (row.verdict, row.gap) == ("not run at its budget", 0.5)
    assert "999 of 1,000 images" in row.why
    assert judge(paper(images=1000), seeds(8.5, images=1000))[0].verdict == "reproduced"


@pytest.mark.parametrize(
    ("value", "images", "verdict"),
    [
        (3.0, 500, "on course"),
        (5.0, 505, "on course"),
        (2.9, 500, "off course"),
        (8.0, 500, "on course"),
        (4.0, 499, "not run at its budget"),
        (4.0, 506, "not run at its budget"),
        (4.0, 1000, "short of it"),
        (8.0, 1000, "reproduced"),
    ],
)
def test_a_short_run_is_judged_where_its_recipe_has_a_band_for_it(value, images, verdict):
    early = {"images": 500, "bands": {"modes": [3, 5]}, "why": "seed 9's curve"}
    [row] = judge(paper(images=1000, early=early), seeds(value, images=images))
    assert row.verdict == verdict
    assert ("3 to 5 is on course: seed 9's curve" in row.why) == verdict.endswith("course")
    assert f"{images:,} of 1,000 images" in row.why or images == 1000


def test_seeds_that_gave_a_band_are_not_judged_by_it():
    early = {"images": 500, "bands": {"modes": [3, 5]}, "why": "of two seeds", "seeds": [0, 1]}
    block = paper(images=1000, early=early)
    [row] = judge(block, seeds(3.0, 4.0, images=500))
    assert (row.verdict, row.mean) == ("not run at its budget", 3.5)
    [row] = judge(block, seeds(4.0, 4.0, 2.0, 2.2, images=500))
    assert (row.verdict, row.mean, row.n) == ("off course", 3.05, 4)
    assert "3 to 5 is on course, 2.1 of seeds 2, 3 is judged: of two seeds" in row.why
    [row] = judge(block, seeds(0.0, 0.0, 4.0, images=500))
    assert row.verdict == "on course"
    assert "4 of seed 2 is judged" in row.why


def test_what_was_not_measured():
    assert judge(paper(), [])[0].verdict == "not run"
    assert judge(paper(), seeds(8.0, failed="diverged"))[0].why == "seed 0: diverged"
    assert judge(paper(), seeds(8.0, missing="no MNIST"))[0].verdict == "data missing"
    [row] = judge(paper(), seeds(8.0, None))
    assert (row.verdict, row.why, row.mean) == ("data missing", "no weights", None)
    [row] = judge(paper(metric="fid"), seeds(8.0))
    assert (row.verdict, row.mean, row.why) == ("not run", None, "fid was not measured")
    assert judge(Paper("X", "arXiv:1"), seeds(8.0))[0].verdict == "no published number"
