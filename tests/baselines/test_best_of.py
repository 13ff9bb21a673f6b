"""Where a paper shows the best of its runs, the best seed is judged, and the row says so."""

import pytest

from lightning_gen.baselines.registry import load_recipe
from lightning_gen.baselines.verdict import Measured, judge
from lightning_gen.config.paper import Paper
from lightning_gen.config.schema import validate_paper
from lightning_gen.metrics.protocol import Protocol, Score

HOW = Protocol("Q", "", "", 100, 0, "test", "raw", 0, "cd")
RESULT = {
    "metric": "code_error",
    "value": 0.05,
    "band": [None, 0.1],
    "why": "twice the paper's",
    "better": "lower",
    "over": "best",
}


def judged(*values, images=None, seen=0, how=HOW, **changes):
    paper = Paper("X", "arXiv:1", results=[{**RESULT, **changes}], images=images)
    seeds = [Measured(i, seen, [Score("code_error", v, how)]) for i, v in enumerate(values)]
    [row] = judge(paper, seeds)
    return row


def test_one_good_seed_is_enough():
    row = judged(0.4, 0.06, 0.3)
    assert row.verdict == "reproduced"
    assert row.gap == pytest.approx(0.01)
    assert row.why == "the best of 3, 0.06, is judged; at most 0.1: twice the paper's"


def test_the_row_still_shows_the_mean_and_its_error():
    row, mean = judged(0.4, 0.06, 0.3), judged(0.4, 0.06, 0.3, over="mean")
    assert (row.mean, row.se, row.n) == (mean.mean, mean.se, 3)
    assert (mean.verdict, mean.gap) == ("short of it", pytest.approx(0.76 / 3 - 0.05))
    assert mean.why == "at most 0.1: twice the paper's"


@pytest.mark.parametrize(
    ("better", "band", "verdict"),
    [
        ("lower", [0.0, 0.3], "short of it"),  # 0.35 is the best
        ("lower", [0.36, 1.0], "better"),
        ("higher", [0.0, 0.3], "better"),  # 0.9 is the best
        ("higher", [0.95, 1.0], "short of it"),
        (None, [0.8, 1.0], "short of it"),  # 0.35 is the nearest to 0.05
        (None, [0.3, 0.4], "reproduced"),
    ],
)
def test_the_best_is_what_the_number_calls_better(better, band, verdict):
    assert judged(0.9, 0.35, better=better, band=band).verdict == verdict


def test_of_one_seed_the_best_is_the_mean():
    assert judged(0.07).gap == judged(0.07, over="mean").gap


def test_every_seed_needs_its_budget_its_score_and_its_protocol():
    assert judged(0.06, 0.4, images=640, seen=90).verdict == "not run at its budget"
    assert judged(0.06, None).verdict == "not run"
    assert judged(0.06, 0.4, protocol={"split": "train"}).verdict == "not comparable"


def test_the_mean_is_the_default_and_nothing_else_is_known():
    plain = {k: v for k, v in RESULT.items() if k != "over"}
    block = {"citation": "X", "link": "arXiv:1", "results": [plain]}
    assert validate_paper(block, [])["results"][0]["over"] == "mean"
    problems = []
    validate_paper({**block, "results": [{**RESULT, "over": "worst"}]}, problems)
    assert "paper.results.0.over: must be one of 'mean', 'best'" in str(problems[0])


def test_infogan_is_judged_by_the_best_of_five():
    paper = load_recipe("infogan_mnist").paper
    assert [(r.metric, r.over) for r in paper.numbers] == [("code_error", "best")]
    assert len(paper.seeds) == 5
