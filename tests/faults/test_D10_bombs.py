"""D10: what unpacks to more than it may is read no further than a byte too far."""

import gzip

import pytest

from lightning_gen.data import mnist as module
from lightning_gen.data.mnist import FILES
from lightning_gen.errors import DataError

LABELS = "t10k-labels-idx1-ubyte"


def test_D10_compressed_bomb_is_read_no_further_than_a_byte_too_far():
    bomb = gzip.compress(b"\x00" * 10**8, 1)
    size = FILES[LABELS][1]
    assert len(module._unzipped(bomb, size, "x")) == size + 1
    with pytest.raises(DataError, match="not a whole gzip file"):
        module._unzipped(gzip.compress(bytes(size))[:-9], size, "x")
