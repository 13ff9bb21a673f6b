"""What a model would be given of a data set: on a rank, from an iteration on, or by Lightning."""

from types import SimpleNamespace

import pytorch_lightning as pl
import torch

from lightning_gen.core import GenerativeModule


def batches(data, *, start=0, stop, seed=0, rank=0, world=1, minibatches=1):
    """The batches of a rank, without a trainer."""
    data.stop_iteration = stop
    data.trainer = SimpleNamespace(
        lightning_module=SimpleNamespace(iteration=start, minibatches=minibatches, seed=seed),
        global_rank=rank,
        world_size=world,
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
    )
    loader = data.train_dataloader()
    found = [data.on_after_batch_transfer(batch) for batch in loader]
    assert len(found) == len(loader)
    return found


def joined(parts):
    """Batches of one record as one record."""
    fields = zip(*parts, strict=True)
    return type(parts[0])(*(None if f[0] is None else torch.cat(f) for f in fields))


def same(one, other):
    """Whether two records hold the same tensors."""
    return all(
        (x is None and y is None) or torch.equal(x, y) for x, y in zip(one, other, strict=True)
    )


def levels(x):
    """Floats in [-1, 1] as the bytes they were."""
    return ((x + 1) * 127.5).round().long()


class Watcher(GenerativeModule):
    """Does nothing but remember what it is given."""

    def __init__(self, seed=0, iteration=0):
        super().__init__()
        self.automatic_optimization = False
        self.seed, self.iteration, self.seen = seed, iteration, []

    def training_step(self, batch, batch_idx):
        self.seen.append(batch)

    def configure_optimizers(self):
        return None


def fitted(data, stop, **options):
    """The batches that Lightning gives to a model."""
    data.stop_iteration, model = stop, Watcher(**options)
    pl.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
    ).fit(model, datamodule=data)  # fmt: skip
    return model.seen
