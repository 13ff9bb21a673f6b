"""D2: a set smaller than a batch is refused with both numbers, not trained on for no steps."""

import numpy as np
import pytest

from lightning_gen.data.module import ImageSet, StreamLoader
from lightning_gen.errors import DataError


def images(n):
    return ImageSet(np.zeros((n, 1, 1, 1), np.uint8))


def test_D02_impossible_batches_are_refused():
    with pytest.raises(DataError, match="64 samples are fewer than a batch of 128"):
        StreamLoader(images(64), batch_size=128, stop=1)
    with pytest.raises(DataError, match="63 cannot be divided among 2 devices") as caught:
        StreamLoader(images(64), batch_size=63, world=2, stop=1)
    assert caught.value.exit_code == 3 and caught.value.fix == "data.batch_size=62"
