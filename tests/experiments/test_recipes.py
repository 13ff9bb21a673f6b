"""What the recipes promise about a paper's protocol holds of the configurations they make."""

from functools import cache

import pytest

from lightning_gen.baselines import reproduce
from lightning_gen.baselines.registry import load_recipe
from lightning_gen.baselines.results import SeedResult
from lightning_gen.config.compose import check_overrides
from lightning_gen.config.paths import group_files

NAMES = sorted(group_files("experiment"))
PACKED = {  # name: packs of how many, beside which plain GAN, updates of the paper and here
    **{f"pacgan{m}_ring": (m or 2, "gan_ring", 400_000, 6_400) for m in ("", 3, 4)},
    **{f"pacgan{m}_grid": (m or 2, "gan_grid", 400_000, 20_000) for m in ("", 3, 4)},
    "pacgan_stacked_mnist": (2, "dcgan_stacked_mnist", 100_000, 100_000),
    "pacgan_tiny_stacked_mnist": (2, "dcgan_tiny_stacked_mnist", 500_000, 500_000),
}
FOLDERS = ["dcgan_celeba64", "sngan_celeba64", "progan_celeba128", "stylegan2_ffhq256"]


@cache
def config(name):
    return check_overrides([f"experiment={name}"])


def updates(name, images):
    """Steps of D, each on a batch."""
    return images / config(name)["data"]["batch_size"]


@pytest.mark.parametrize("name", PACKED)
def test_a_batch_of_pacgan_is_the_papers_number_of_packs(name):
    m, plain, of_paper, here = PACKED[name]
    assert config(name)["model"]["D"]["pack"] == m
    assert config(name)["data"]["batch_size"] == m * config(plain)["data"]["batch_size"]
    for recipe in (name, plain):
        assert updates(recipe, load_recipe(recipe).paper.images) == of_paper
        assert updates(recipe, config(recipe)["budget"]["images"]) == here


@pytest.mark.parametrize("data", ["ring", "grid"])
def test_veegans_pair_differs_in_the_packs_only(data):
    plain, packed = (config(f"{model}_{data}_veegan") for model in ("gan", "pacgan"))
    for key in ("data", "budget", "seed", "callbacks", "metrics"):
        assert plain[key] == packed[key]
    for key in ("G", "optimizers", "latent_dim", "prior", "ema_halflife", "n_critic"):
        assert plain["model"][key] == packed["model"][key]
    inner = {k: v for k, v in packed["model"]["D"]["D"].items() if k != "_partial_"}
    assert inner == {k: v for k, v in plain["model"]["D"].items() if k != "inputs"}
    paper = load_recipe(f"gan_{data}_veegan").paper
    assert updates(f"gan_{data}_veegan", paper.images) == 100_000


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("dcgan_tiny_stacked_mnist", "lightning_gen.models.gan.dcgan.DCGAN"),
        ("unrolled_stacked_mnist", "lightning_gen.models.gan.unrolled.UnrolledGAN"),
        ("pacgan_tiny_stacked_mnist", "lightning_gen.models.gan.pacgan.PacGAN"),
    ],
)
def test_the_tiny_protocol_is_one_and_the_same(name, model):
    made, paper = config(name), load_recipe(name).paper
    assert made["model"]["_target_"] == model
    assert updates(name, made["budget"]["images"]) == updates(name, paper.images) == 500_000
    assert made["model"]["latent_dim"] == 256 and made["model"]["G"]["width"] == 8
    rates = {p: made["model"]["optimizers"][p] for p in "GD"}
    assert [rates[p]["lr"] for p in "GD"] == [1e-4, 2e-4]
    assert all(rate["betas"] == [0.5, 0.99] for rate in rates.values())
    assert made["callbacks"]["scores"]["final_n_fake"] == paper.protocol["n_fake"] == 25_600
    D = made["model"]["D"]
    assert D.get("D", D)["width"] * 4 == made["model"]["G"]["width"]


@pytest.mark.parametrize("name", ["wgan_gp_cifar10", "sngan_cifar10", "sngan_celeba64"])
def test_learning_rates_reach_zero_with_the_last_image(name):
    made = config(name)
    budget, batch = made["budget"]["images"], made["data"]["batch_size"]
    schedules = made["model"]["schedules"]
    assert schedules["D"]["total_iters"] == budget // batch
    assert schedules["G"]["total_iters"] == budget // batch // made["model"]["n_critic"]
    assert all(s["start_factor"] == 1 and s["end_factor"] == 0 for s in schedules.values())


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_that_a_paper_scores_are_there_to_be_scored(name):
    made, paper = config(name), load_recipe(name).paper
    for number in paper.numbers:
        wanted = paper.measurement(number).get("weights")
        halflife = made["model"].get("ema_halflife")
        assert wanted != "ema" or halflife, "there is no average to score"


@pytest.mark.parametrize("name", [n for n in NAMES if {"ring", "grid"} & set(n.split("_"))])
def test_a_budget_is_the_papers_or_is_said_to_be_short(name):
    paper = load_recipe(name).paper
    said = group_files("experiment")[name].read_text()
    if paper.images and config(name)["budget"]["images"] < paper.images:
        assert "short run" in said


@pytest.mark.parametrize("name", FOLDERS)
def test_pictures_that_are_not_there_are_the_verdict(name, tmp_path):
    baseline = load_recipe(name)
    words = [f"paths.data={tmp_path}/data", f"paths.runs={tmp_path}/runs"]
    reproduce.check(baseline, words)
    (result,) = list(reproduce.run(baseline, words, seeds=[0]))
    assert isinstance(result, SeedResult)
    assert "there is no such folder" in result.missing and str(tmp_path) in result.missing
    assert "data.folder" in result.missing
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", [*FOLDERS, "sngan_cifar10", "wgan_gp_cifar10", "progan_cifar10"])
def test_pictures_are_scored_as_the_paper_says(name):
    made, paper = config(name), load_recipe(name).paper
    counts = {paper.measurement(n).get("n_real") for n in paper.numbers} - {None}
    assert counts <= {made["metrics"]["n_real"]}
    assert made["metrics"]["extractor"] == "inception" and made["metrics"]["split"] == "train"
    assert made["budget"]["images"] == paper.images
    if name in FOLDERS:
        arrays = f"{made['data']['root']}/{made['data']['name']}/"
        assert not made["data"]["folder"].startswith(arrays)


def test_progan_grows_to_its_end_within_the_budget():
    for name, levels in (("progan_cifar10", 4), ("progan_celeba128", 6)):
        made = config(name)
        assert made["budget"]["images"] > 2 * made["model"]["phase_images"] * (levels - 1)
        assert made["model"]["D"]["group"] == made["data"]["batch_size"]


def test_dcgan_sees_mnist_at_64_pixels_for_5000_updates():
    made = config("dcgan_mnist64")
    assert made["model"]["G"]["resolution"] == made["data"]["resolution"] == 64
    assert updates("dcgan_mnist64", made["budget"]["images"]) == 5_000
