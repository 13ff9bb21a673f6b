"""C6: images that are not finite, or out of range, are counted and refused; nothing wraps."""

import math

import pytest

from tests.metrics.stubs import Data, Model, evaluator


def bad_at(index, value):
    """A change that spoils one pixel of the images at some indices."""
    block = [-1]

    def change(x, _):
        block[0] += 1
        for i in index:
            if i // 64 == block[0]:
                x[i % 64, 0, 3, 3] = value
        return x

    return change


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (math.nan, "generated images are not finite"),
        (math.inf, "generated images are not finite"),
        (-math.inf, "generated images are not finite"),
        (1.5, r"generated images are outside of \[-1, 1\]"),
        (255.0, r"generated images are outside of \[-1, 1\]"),
    ],
)
def test_C06_bad_images_are_counted_and_refused(tmp_path, value, rule):
    model = Model(bad_at([17, 70, 299], value))
    evaluation = evaluator(tmp_path).evaluate(model, Data())
    assert {score.value for score in evaluation.scores} == {None}
    assert evaluation.extras == {}
    with pytest.raises(Exception, match=rf"\[6\]: 3 of 300 {rule}; first index 17"):
        evaluation.require()
