import os
from pathlib import Path

import platformdirs
import pytest
import pytorch_lightning as pl
import torch

from lightning_gen.core import GenerativeModule
from lightning_gen.data.mixture import Ring
from lightning_gen.data.mnist import MNIST


class Recorder:
    """A run that notes what it is told."""

    def __init__(self, folder):
        self.folder, self.rows, self.alerts, self.states, self.scores = folder, [], [], [], []
        self.pictures = []

    def log(self, kind, iteration, images_seen, values):
        self.rows.append((kind, iteration, images_seen, dict(values)))

    def of(self, kind):
        return [(iteration, values) for k, iteration, _, values in self.rows if k == kind]

    def record_scores(self, scores, iteration, images_seen):
        self.scores.append((iteration, scores))

    def alert(self, title, text):
        self.alerts.append((self.rows[-1][1], title, text))

    def set_status(self, state, reason=None, **info):
        self.states.append((state, reason))

    def picture(self, key, image, iteration, images_seen):
        path = self.folder / f"{key}-{images_seen:06d}.png"
        image.save(path)
        self.pictures.append((key, iteration, path))


class Idle(GenerativeModule):
    """A model that learns nothing; ``make(iteration, n, labels, generator)`` gives its samples."""

    def __init__(self, make, requires_labels=False):
        super().__init__()
        self.automatic_optimization = False
        self.make, self.requires_labels = make, requires_labels
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def configure_optimizers(self):
        return None

    def training_step(self, batch, batch_idx):
        return None

    def sample(self, n, *, labels=None, generator=None):
        return self.make(self.iteration, n, labels, generator)


@pytest.fixture
def recorder(tmp_path):
    return Recorder(tmp_path)


@pytest.fixture(scope="session")
def mnist():
    given = os.environ.get("LIGHTNING_GEN_DATA")
    store = Path(given) if given else platformdirs.user_cache_path("lightning_gen") / "test-data"
    data = MNIST(str(store), str(store / "downloads"), batch_size=64)
    data.prepare_data()
    data.setup()
    return data


@pytest.fixture(scope="session")
def ring(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("ring"))
    data = Ring(folder, folder, batch_size=64, n_train=5000, n_test=1000)
    data.prepare_data()
    data.setup()
    return data


@pytest.fixture
def fit(recorder):
    """Train for so many iterations with callbacks that write to the recorder."""

    def run(model, data, callbacks, iterations, evaluator=None, run=recorder):
        data.stop_iteration = iterations
        for callback in callbacks:
            callback.run = run
            if hasattr(callback, "evaluator"):
                callback.evaluator = evaluator
        trainer = pl.Trainer(
            accelerator="cpu",
            devices=1,
            max_epochs=1,
            callbacks=callbacks,
            logger=False,
            limit_val_batches=0,
            use_distributed_sampler=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(model, datamodule=data)
        return trainer

    return run
