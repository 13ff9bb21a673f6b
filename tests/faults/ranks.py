"""Train a few steps on some CPU processes and save what each rank ended with.

Run by test_strategy.py: python ranks.py OUT WORLD MODEL...
"""

import sys
from functools import partial
from pathlib import Path

import pytorch_lightning as pl
import torch

from lightning_gen.config.compose import check_overrides, instantiate
from lightning_gen.core import ImageBatch
from lightning_gen.data.module import ImageSet, StreamLoader
from lightning_gen.models.gan.wgan_gp import WGANGP
from lightning_gen.networks.mlp import MLP
from lightning_gen.runs.strategy import PlayerDDPStrategy
from tests.models.test_gan import small
from tests.suited import words_of

STEPS, BATCH = 4, 8


class Record(pl.Callback):
    """Keep what each step drew and saw."""

    def __init__(self):
        self.seen, self.draws, self.losses = [], [], []

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.seen.append(batch.image.detach().clone())

    def on_train_batch_end(self, trainer, module, *args):
        self.losses.append({k: v.item() for k, v in module.recorded.items()})
        module.seed_iteration()
        self.draws.append(module.randn(3, 8))
        self.draws.append(torch.rand(3))


class Data(pl.LightningDataModule):
    splits, binarise = ("train",), None

    def __init__(self, shape):
        super().__init__()
        images = torch.randint(256, (40, *shape), generator=torch.Generator().manual_seed(0))
        labels = torch.arange(40) % 10  # or captions of three words
        labels = labels[:, None].expand(40, 3) + 1 if shape[0] == 3 else labels
        self.set = ImageSet(images.to(torch.uint8).numpy(), labels.numpy())

    def train_dataloader(self):
        model, t = self.trainer.lightning_module, self.trainer
        return StreamLoader(
            self.set,
            batch_size=BATCH,
            minibatches=model.minibatches,
            rank=t.global_rank,
            world=t.world_size,
            stop=STEPS,
        )

    def on_after_batch_transfer(self, batch, dataloader_idx):
        dtype = self.trainer.lightning_module.dtype
        return ImageBatch(batch.image.to(dtype) / 127.5 - 1, batch.label)

    def size(self, split):
        return len(self.set)

    def real(self, split, indices=None, device="cpu"):
        rows = torch.arange(len(self.set)) if indices is None else indices
        image, label = self.set.gather(rows.numpy())
        return ImageBatch(image.float().to(device) / 127.5 - 1, label)

    def mean(self, device="cpu"):
        return self.real("train", device=device).image.mean(0)


def build(name):
    torch.manual_seed(0)
    if name == "mlp":  # no batch norm, no dropout: the ranks' average is the whole batch's step
        sgd = partial(torch.optim.SGD, lr=0.05)
        networks = {"G": MLP(inputs=3, outputs=2, units=8), "D": MLP(inputs=2, outputs=1, units=8)}
        model = WGANGP(**networks, optimizers={"G": sgd, "D": sgd}, latent_dim=3, n_critic=2)
        return model.double(), (2,)
    config = check_overrides([f"model={name}", *words_of(name)])
    side = config["data"]["resolution"]
    return instantiate(small(config["model"])), (config["data"]["channels"], side, side)


def main(out, world, name):
    torch.set_num_threads(1)
    model, shape = build(name)
    record = Record()
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=world,
        strategy=PlayerDDPStrategy() if world > 1 else "auto",
        max_epochs=1,
        logger=False,
        callbacks=[record],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(model, datamodule=Data(shape))
    state = {
        "weights": dict(model.state_dict()),
        "seen": record.seen,
        "draws": record.draws,
        "losses": record.losses,
        "images_seen": model.images_seen,
        "minibatches": model.minibatches,
    }
    torch.save(state, Path(out) / f"{name}-{world}-{trainer.global_rank}.pt")


if __name__ == "__main__":
    for model_name in sys.argv[3:]:
        main(sys.argv[1], int(sys.argv[2]), model_name)
