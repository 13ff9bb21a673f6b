"""Real digits for the tests that need them."""

import pytest

from lightning_gen.data.mnist import MNIST


@pytest.fixture(scope="session")
def digits(mnist_root):
    data = MNIST(str(mnist_root), str(mnist_root / "downloads"), batch_size=64)
    data.setup()
    return data
