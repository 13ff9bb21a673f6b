import os
from pathlib import Path

import numpy as np
import platformdirs
import pytest

from lightning_gen.data.mnist import MNIST
from lightning_gen.data.module import DataModule, ImageSet


@pytest.fixture(scope="session")
def store():
    """A folder that outlives the tests, so that MNIST is downloaded once on a machine."""
    given = os.environ.get("LIGHTNING_GEN_DATA")
    return Path(given) if given else platformdirs.user_cache_path("lightning_gen") / "test-data"


@pytest.fixture(scope="session")
def mnist(store):
    data = MNIST(str(store), str(store / "downloads"), batch_size=64, valid=10_000)
    data.prepare_data()
    data.setup()
    return data


class Numbers(DataModule):
    """n images whose every byte is the image's index."""

    def __init__(self, root, n=20, **options):
        options = {"batch_size": 4, "name": "numbers", "shape": (1, 2, 3)} | options
        super().__init__(str(root), str(root), num_classes=n, **options)
        self.n = n

    def write(self, writer):
        index = np.arange(self.n)
        image = np.broadcast_to(index[:, None, None, None], (self.n, *self.shape))
        writer.save("image", image.astype(np.uint8))
        writer.save("label", index)
        return "counted"

    def open(self, prepared):
        return {"train": ImageSet(prepared.array("image"), prepared.array("label"))}


@pytest.fixture
def numbers(tmp_path):
    def make(**options):
        data = Numbers(tmp_path, **options)
        data.prepare_data()
        data.setup()
        return data

    return make
