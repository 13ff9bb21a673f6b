"""E5, E6: settings that cannot go together, and those that are missing, are refused by name."""

import pytest

from lightning_gen.config.compose import check_overrides
from tests.config.refusal import refusal


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        ("model=cgan data=image_folder data.folder=x", "model: is conditional, and the data"),
        ("model=wgan_gp network@model=dcgan", "model.D.norm: batch norm in the critic"),
        ("model=wgan_gp model.D.norm=batch", "model.D.norm: batch norm in the critic"),
        ("model=wgan_gp data=ring network@model=wgan_toy model.D.batch_norm=true",
         "model.D.batch_norm: batch norm in the critic"),
        ("trainer=ddp trainer.devices=3", "data.batch_size: the global batch must be a multiple"),
        ("model.accumulate=6 trainer.devices=2", "a multiple of 12"),
        ("trainer=cpu trainer.precision=16-mixed", "trainer.precision: 16-mixed needs a GPU"),
        ("trainer.strategy=fsdp_native", "trainer.strategy: Lightning cannot shard"),
        ("data=ring", "model.G: is a network of images, and the data are points"),
        ("model=gan network@model=mlp2d", "model.G: is a network of points, and the data are"),
        ("data=ring model=gan network@model=mlp2d metrics=mnist", "metrics.extractor: sees images"),
        ("metrics.n_fake=128", "metrics.n_fake: must be more than the 128 features"),
        ("metrics=inception callbacks.scores.n_fake=2048", "callbacks.scores.n_fake: must be more"),
        ("~model.optimizers.G", "model.optimizers.G: is required: every player"),
        ("+model.clip_norm={X:1.0}", "model.clip_norm.X: is not a player of the model"),
        ("model.clip_norm={G:-1}", "model.clip_norm.G: must be a number > 0"),
        ("data=image_folder", "data.folder: is required"),
        ("model.G.width=???", "model.G.width: is required"),
        ("seed=1,2", "seed: names several values; to run them all add -m"),
        ("+model.optimizers.G._args_=[1]", "model.optimizers.G._args_: arguments must be given by"),
        ("metrics._target_=lightning_gen.models.gan.gan.GAN", "metrics._target_: must be a class"),
        ("data.name=${nope}", "data.name: Interpolation key 'nope' not found"),
        ("network@modle=gan2014", "Did you mean to override network@model?"),
        ("lr=1", "lr: unknown key; did you mean 'model.optimizers.G.lr'"),
        ("data=null", "data: there is no data 'none'"),
        ("--config-name=x", "--config-name"),
    ],
)  # fmt: skip
def test_E05_E06_impossible(argv, part):
    assert part in refusal(*argv.split())


def test_E05_what_follows_from_a_mistake_is_not_listed_with_it():
    assert "1 configuration mistake\n" in refusal(
        "model=cgan", "data=image_folder", "data.folder=x"
    )
    assert "1 configuration mistake\n" in refusal("model=wgna_gp", "model.gp_weight=1")


@pytest.mark.parametrize("words", ["metrics.metrics=[modes]", "metrics.allow_singular=true"])
def test_E05_few_samples_are_enough_where_no_covariance_is_inverted(words):
    assert check_overrides([words, "metrics.n_fake=100"])["metrics"]["n_fake"] == 100
