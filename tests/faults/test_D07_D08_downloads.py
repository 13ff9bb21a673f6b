"""D7, D8: a download that is altered, cut off or never comes is refused, and says what to do.

It is asked for once more, nothing of it is kept, and the next source is tried.
"""

import gzip
import hashlib
import time

import pytest

from lightning_gen.data.mnist import FILES, MNIST
from lightning_gen.errors import DataError
from tests.data.mirrors import LABELS, idx_files, packed_files, serving, whole


@pytest.fixture(scope="session")
def files(mnist_root):
    mnist = MNIST(str(mnist_root), str(mnist_root / "downloads"), batch_size=64, valid=10_000)
    mnist.prepare_data()
    mnist.setup()
    return idx_files(mnist)


@pytest.fixture
def mirror(files, monkeypatch, tmp_path):
    with serving(packed_files(files), monkeypatch, tmp_path) as asked:
        yield asked


def test_D07_mirror_with_altered_files_is_asked_twice_and_refused(mirror, files):
    server, fetch = mirror
    altered = bytes(len(files[LABELS]))
    name = f"{LABELS}.gz"
    with pytest.raises(DataError, match=FILES[LABELS][0]) as caught:
        fetch(lambda n, b: whole(n, gzip.compress(altered) if n == name else b))
    assert hashlib.sha256(altered).hexdigest() in caught.value.what
    assert server.asked.count(name) == 2


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda n, b: (len(b), b[:-100]), "cannot be reached|sent [0-9]+ of [0-9]+ bytes"),
        (lambda n, b: whole(n, b"<html>please log in</html>"), "sent something else"),
        (lambda n, b: whole(n, b[:-100]), "sent something else"),
        (lambda n, b: (time.sleep(1.5), whole(n, b))[1], "timed out"),
    ],
)
def test_D08_mirror_that_fails_is_passed_over(mirror, answer, said):
    _, fetch = mirror
    with pytest.raises(DataError, match=f"anywhere(.|\n)*({said})(.|\n)*pip could not"):
        fetch(answer)
