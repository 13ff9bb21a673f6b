"""C8: an extractor without its weights costs the scores and no more; what to put where is said."""

import pytest
import torch

from lightning_gen.errors import MetricError
from lightning_gen.metrics import extractors
from lightning_gen.metrics.evaluator import FeatureEvaluator
from lightning_gen.metrics.extractors import INCEPTION_URL, INCEPTION_VARIABLE, find_inception
from tests.metrics.stubs import Data, Model

NAME = INCEPTION_URL.rpartition("/")[2]


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No weights anywhere, and a network that refuses."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(INCEPTION_VARIABLE, raising=False)
    monkeypatch.setattr(extractors, "INCEPTION_URL", f"http://127.0.0.1:9/{NAME}")
    return tmp_path


def test_C08_an_extractor_without_weights_costs_the_scores_and_no_more(tmp_path):
    ours = FeatureEvaluator("inception", weights_path=str(tmp_path / "no.pth"), cache=str(tmp_path))
    evaluation = ours.evaluate(Model(), Data())
    assert evaluation.extras == {}
    assert {score.value for score in evaluation.scores} == {None}
    assert "modes" not in {score.metric for score in evaluation.scores}
    assert all("no.pth" in score.note for score in evaluation.scores)
    assert evaluation.scores[0].name == "fid_inception@10k_test"


def test_C08_missing_weights_say_where_to_put_what(nowhere):
    with pytest.raises(MetricError) as caught:
        find_inception()
    text = str(caught.value)
    assert NAME in text
    assert str(nowhere / "torch" / "hub" / "checkpoints") in text
    assert f"${INCEPTION_VARIABLE}" in text
    assert not list(nowhere.rglob("*.part"))


def test_C08_weights_of_another_hash_are_refused(nowhere):
    file = nowhere / NAME
    file.write_bytes(b"not the weights")
    with pytest.raises(MetricError, match=r"expected 6726825d") as caught:
        find_inception(str(file))
    assert caught.value.where == file


def test_C08_a_file_that_is_no_network_is_a_metric_error(nowhere):
    file = nowhere / "inception.pth"
    torch.save({"a": torch.zeros(1)}, file)
    with pytest.raises(MetricError, match="Inception weights cannot be read"):
        extractors.Inception2015(str(file))
