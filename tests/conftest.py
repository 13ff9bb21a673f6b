"""What tests of all rooms share."""

import os
from pathlib import Path

import platformdirs
import pytest


@pytest.fixture(scope="session")
def mnist_root():
    """A data folder with MNIST that outlives the tests: it is downloaded once on a machine."""
    from lightning_gen.data.mnist import MNIST

    given = os.environ.get("LIGHTNING_GEN_DATA")
    root = Path(given) if given else platformdirs.user_cache_path("lightning_gen") / "test-data"
    MNIST(str(root), str(root / "downloads"), batch_size=64).prepare_data()
    return root
