"""C5: a metric of too few samples is refused with the numbers; the count is in its name."""

import pytest

from lightning_gen.config.compose import check_overrides
from lightning_gen.config.problems import ConfigErrors
from tests.metrics.stubs import Data, Model, evaluator


def test_C05_too_few_samples_are_refused_one_metric_at_a_time(tmp_path):
    evaluation = evaluator(tmp_path).evaluate(Model(), Data(), n_fake=6)
    by_metric = {score.metric: score for score in evaluation.scores}
    assert "6 samples give no covariance of 6 features" in by_metric["fid"].note
    assert "do not fill a KID subset" in by_metric["kid"].note
    assert "too few for an inception score" in by_metric["inception_score"].note
    assert by_metric["precision"].value is not None
    assert "fid" not in evaluation.extras
    one = evaluator(tmp_path).evaluate(Model(), Data(), n_fake=1)
    assert "1 points have no 5-th neighbour" in {s.metric: s.note for s in one.scores}["recall"]


def test_C05_the_number_of_samples_is_in_every_name(tmp_path):
    scores = evaluator(tmp_path).evaluate(Model(), Data(), n_fake=64).scores
    assert {score.name.partition("@")[2].partition("_")[0] for score in scores} == {"64"}


def test_C05_the_command_refuses_before_it_trains():
    with pytest.raises(ConfigErrors, match="n_fake: must be more than the 2048 features"):
        check_overrides(["metrics=inception", "callbacks.scores.n_fake=2048"])
