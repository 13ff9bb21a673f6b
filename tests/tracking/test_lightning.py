"""A model's own ``self.log`` reaches the run."""

from types import SimpleNamespace

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from lightning_gen.tracking.lightning import RunLogger


class Model(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.iteration = self.images_seen = 0

    def training_step(self, batch, _):
        self.iteration += 1
        self.images_seen += len(batch)
        self.log("mine", float(self.iteration))
        return self.weight**2

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def test_self_log_arrives_on_the_run_s_own_time(tmp_path):
    rows = []
    run = SimpleNamespace(path=tmp_path / "experiment" / "name", log=lambda *row: rows.append(row))
    model = Model()
    logger = RunLogger(run, model)
    assert (logger.name, logger.version) == ("experiment", "name")
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=logger,
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, DataLoader(torch.zeros(12, 1), batch_size=4))
    assert rows == [("train", i, 4 * i, {"mine": float(i)}) for i in (1, 2, 3)]
