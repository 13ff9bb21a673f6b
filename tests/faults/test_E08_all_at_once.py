"""E8, R15: all the mistakes of a command line are in one report."""

from tests.config.refusal import refusal


def test_E08_R15_several_mistakes_are_all_listed():
    text = refusal(
        "experiment=dcgan_mnst", "trainer.max_steps=5", "modle.latent_dim=3", "seed=-1",
        "data.batch_size=0", "model.optimizers.G.lr=abc", "model.D.norm=bach", "nonsense",
        "model.optimizers.D.betas=[0.5,1.0]", "+model.G.widht=3", "trainer.strategy=fsdp",
    )  # fmt: skip
    assert text.splitlines()[0].startswith("lightning_gen: error [2]: 11 configuration mistakes")
    for part in (
        "experiment: there is no experiment 'dcgan_mnst'; did you mean 'dcgan_mnist'",
        "lightning-gen list experiments",
        "trainer.max_steps: unknown key",
        "modle.latent_dim: unknown key; did you mean 'model.latent_dim'",
        "seed: must be an integer >= 0 and < 4294967296, got -1",
        "data.batch_size: must be an integer >= 1, got 0",
        "model.optimizers.G.lr: must be a number > 0, got 'abc'",
        "model.D.norm: must be one of 'batch', 'layer', 'none', got 'bach'; did you mean 'batch'",
        "model.optimizers.D.betas: must be a list of 2",
        "model.G.widht: unknown key; did you mean 'model.G.width'",
        "nonsense: is not of the form key=value",
        "trainer.strategy: Lightning cannot shard",
    ):
        assert part in text, part


def test_E08_a_wrong_value_in_a_sweep_is_found():
    text = refusal("-m", "seed=0,-1,2", "model=dcgan,gun", "trainer=cpu")
    assert "seed: must be" in text and "got -1" in text and "there is no model 'gun'" in text
