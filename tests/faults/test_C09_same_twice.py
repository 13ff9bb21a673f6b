"""C9: the same command twice gives the same losses, weights, samples and scores, bit by bit."""

import pytest

from tests.suited import MODELS
from tests.system.harness import assert_same, only_run, outcome, tiny, train

EVERY = [
    pytest.param(model, marks=[pytest.mark.slow] if i % 24 else [])
    for i, model in enumerate(MODELS)
]


@pytest.mark.parametrize("model", EVERY)
def test_twice(model, tmp_path, mnist_root, tally):
    outcomes = []
    with tally("R12", model, 0):
        for hashing in ("1", "2"):
            folder = tmp_path / hashing
            overrides = tiny(model, folder, mnist_root)
            assert train(overrides, environment={"PYTHONHASHSEED": hashing}) == 0
            outcomes.append(outcome(only_run(folder)))
        assert_same(*outcomes)
