"""Train a linear CycleGAN on two CPU processes, and save what each rank ended with.

Run by test_translation.py: python pool_ranks.py OUT
"""

import sys
from pathlib import Path

import pytorch_lightning as pl
import torch

from lightning_gen.runs.strategy import PlayerDDPStrategy
from tests.models.test_translation import Batches, pool_batches, pooled


class Data(pl.LightningDataModule):
    def train_dataloader(self):
        batches = pool_batches(self.trainer.global_rank, self.trainer.world_size)
        return Batches(batches, len(batches))


def main(out):
    torch.set_num_threads(1)
    model = pooled()
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=2,
        strategy=PlayerDDPStrategy(),
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(model, datamodule=Data())
    torch.save(dict(model.state_dict()), Path(out) / f"{trainer.global_rank}.pt")


if __name__ == "__main__":
    main(sys.argv[1])
