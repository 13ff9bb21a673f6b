"""From the command line to a configuration: what is right passes, everything wrong is listed."""

import subprocess
import sys
from typing import Any

import pytest
import yaml

from lightning_gen.cli import main
from lightning_gen.config.compose import (
    check_overrides,
    check_sweep,
    compose_group,
    instantiate,
    load_run_config,
)
from lightning_gen.config.paths import group_files
from lightning_gen.config.problems import ConfigErrors
from lightning_gen.config.signature import TargetError, read
from lightning_gen.errors import ConfigError
from tests.config.refusal import EXPERIMENTS, refusal

# What is right


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_is_sound(name):
    config = check_overrides([f"experiment={name}"])
    assert config["experiment_name"] == name
    assert check_overrides([f"experiment={name}", "debug=default"])["budget"]["images"] == 32


def model_of(data):
    """A model that learns from what a data set gives."""
    if data in {"downsample"}:
        return "srresnet"
    target = yaml.safe_load(group_files("data")[data].read_text())["_target_"]
    models = {"pairs": "unit", "captions": "gan_cls", "text": "gpt"}
    return models.get(read(target).facts["gives"][0], "dcgan")


@pytest.mark.parametrize("group", ["trainer", "logger", "callbacks", "metrics", "data", "debug"])
def test_every_choice_of_a_group_is_sound(group):
    points = ["model=gan", "network@model=mlp2d", "metrics=ring"]
    for choice in group_files(group):
        argv = [f"{group}={choice}"]
        if choice in {"ring", "grid"}:
            argv = ["data=ring", *points, *argv]
        if choice in {"image_folder"} and group == "data":
            argv += ["data.folder=pictures"]
        if group == "data":
            argv += [f"model={model_of(choice)}"] if choice not in {"ring", "grid"} else []
        config = check_overrides(argv)
        assert set(config) >= {"seed", "data", "model", "trainer", "metrics", "logger"}


def test_networks_and_optimisers_can_be_exchanged():
    config = check_overrides(
        ["model=dcgan", "network@model=gan2014", "optimizer@model.optimizers.G=sgd"]
    )
    assert config["model"]["D"]["pieces"] == 5
    assert config["model"]["optimizers"]["G"] == {
        "_target_": "torch.optim.SGD", "_partial_": True, "lr": 0.1, "momentum": 0.5
    }  # fmt: skip


def test_defaults_of_signatures_are_written_out_and_can_be_overridden():
    config = check_overrides(["experiment=gan_mnist"])
    assert config["model"]["G"]["irange"] == 0.05
    assert check_overrides(["callbacks.finite_guard.patience=3"])["callbacks"]["finite_guard"] == {
        "_target_": "lightning_gen.callbacks.finite_guard.FiniteGuard", "patience": 3
    }  # fmt: skip


@pytest.mark.parametrize("text", ["1e-3", "'1e-3'", ".001", "0.001"])
def test_numbers_as_yaml_writes_them(text):
    config = check_overrides([f"model.optimizers.G.lr={text}", "budget.images=1e6"])
    assert config["model"]["optimizers"]["G"]["lr"] == 0.001
    assert config["budget"]["images"] == 1_000_000
    assert isinstance(config["budget"]["images"], int)


def test_the_result_survives_yaml(tmp_path):
    config = check_overrides(["experiment=wgan_gp_mnist"])
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    assert load_run_config(tmp_path) == config
    assert load_run_config(tmp_path / "config.yaml") == config


def test_sweep_is_expanded(tmp_path):
    (tmp_path / "debug").mkdir()
    text = "# @package _global_\nhydra: {sweeper: {params: {seed: '0,1,2,3,4'}}}\n"
    (tmp_path / "debug" / "seeds.yaml").write_text(text)
    seeds = ["-m", "--config-dir", str(tmp_path), "debug=seeds"]
    jobs = check_sweep([*seeds, "model=gan,dcgan", "trainer.threads=1"])
    assert len(jobs) == 10
    classes = {config["model"]["_target_"].rpartition(".")[2] for _, config in jobs}
    assert classes == {"GAN", "DCGAN"}
    for overrides, config in jobs:
        assert check_overrides([*seeds[1:3], *overrides]) == config
    assert sorted({config["seed"] for _, config in jobs}) == [0, 1, 2, 3, 4]
    assert len(check_sweep([*seeds, "seed=9"])) == 1


def test_large_sweep_is_expanded_whole_and_checked_in_part():
    jobs = check_sweep(["-m", f"seed={','.join(map(str, range(70)))}"])
    assert [config is None for _, config in jobs] == [False] * 64 + [True] * 6


def test_config_dir_adds_choices(tmp_path):
    (tmp_path / "model").mkdir()
    text = "defaults: [_gan, /network@_here_: dcgan, _self_]\n"
    text += "_target_: lightning_gen.models.gan.dcgan.DCGAN\noptimizers:\n"
    for player in "GD":
        text += f"  {player}: {{_target_: torch.optim.AdamW, _partial_: true, lr: 1e-3}}\n"
    (tmp_path / "model" / "mine.yaml").write_text(text)
    argv = ["--config-dir", str(tmp_path), "model=mine"]
    ((overrides, config),) = check_sweep(argv)
    assert config["model"]["optimizers"]["D"]["lr"] == 0.001
    assert check_overrides(overrides) == config
    assert "--config-dir" in refusal(f"--config-dir={tmp_path}/nowhere")


def test_another_group_for_a_standing_configuration():
    config = check_overrides(["experiment=dcgan_mnist", "paths.cache=elsewhere"])
    node = compose_group("metrics", "inception", config)
    assert node["extractor"] == "inception" and node["cache"] == "elsewhere"
    with pytest.raises(ConfigErrors, match="did you mean 'inception'"):
        compose_group("metrics", "incepton", config)


# Strangers' files


@pytest.mark.parametrize(
    "value",
    [
        {"_target_": "os.system", "command": "touch owned"},
        {"_target_": "builtins.eval"},
        {"_target_": "torch.hub.load", "repo_or_dir": "x"},
        {"_target_": "lightning_gen.something.os.system"},
        {"_target_": "torch.optim.Adam", "_args_": [{"_target_": "os.getcwd"}]},
        {"_target_": "torch.optim.Adam", "lr": {"_target_": "os.getcwd"}},
        "${oc.env:HOME}",
        "${oc.create:{_target_:os.getcwd}}",
        [{"deep": {"_target_": "os.getcwd"}}],
    ],
    ids=str,
)
def test_hostile_run_configurations_are_refused(tmp_path, monkeypatch, value):
    monkeypatch.chdir(tmp_path)
    config = check_overrides(["experiment=dcgan_mnist"])
    config["model"]["G"] = value
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ConfigError):
        load_run_config(tmp_path)
    with pytest.raises(TargetError):
        instantiate(config["model"])
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    "text", ["!!python/object/apply:os.system [touch owned]", "a: [1", "3", ""]
)
def test_run_configurations_that_are_none(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        load_run_config(tmp_path)
    with pytest.raises(ConfigError, match="no run"):
        load_run_config(tmp_path / "nowhere")
    assert not (tmp_path / "owned").exists()


# Objects


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_can_be_built(name):
    model = check_overrides([f"experiment={name}"])["model"]
    built = instantiate(model)
    assert type(built).__name__ == read(model["_target_"]).target.rpartition(".")[2]
    for player in built.players:
        optimizer = built.optimizer_factories[player](built.player_parameters(player))
        # StyleGAN2 slows its optimisers by k / (k + 1).
        assert 0.8 <= optimizer.param_groups[0]["lr"] / model["optimizers"][player]["lr"] <= 1
    if hasattr(built, "latents"):  # LAPGAN's hold the noise of all levels
        assert built.latents(2).shape == (2, built.latent_dim)
        assert built.latent_dim >= model.get("latent_dim", 1)
    if hasattr(built, "translate"):
        assert built.targets


def test_every_callback_and_metric_can_be_built(tmp_path):
    config = check_overrides(["experiment=dcgan_mnist", f"paths.cache={tmp_path}"])
    for node in [*config["callbacks"].values(), config["metrics"], config["logger"]]:
        assert type(instantiate(node)).__name__ == node["_target_"].rpartition(".")[2]


def test_given_objects_are_handed_on_as_they_are():
    import torch

    network, config = torch.nn.Linear(2, 2), check_overrides(["experiment=dcgan_mnist"])
    built = instantiate({k: v for k, v in config["model"].items() if k != "G"}, G=network)
    assert built.G is network


# The process


def command(argv: list[str], cwd: Any) -> subprocess.CompletedProcess[str]:
    code = (
        "import sys; from lightning_gen.cli import main; code = main(sys.argv[1:])\n"
        "heavy = {'torch', 'torchvision', 'pytorch_lightning', 'wandb'} & set(sys.modules)\n"
        "sys.exit(99 if heavy else code)"
    )
    words = [sys.executable, "-c", code, *argv]
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("argv", "code", "part"),
    [
        (["train", "model=dcgn", "trainer.devcies=2"], 2, "'trainer.devices'"),
        (["train", "model.G._target_=os.system"], 2, "may name"),
        (["--help"], 0, "train"),
        ([], 0, "evaluate"),
        (["--version"], 0, "."),
        (["trian"], 2, "did you mean 'train'"),
        (["list"], 0, "models"),
        (["list", "models"], 0, "arXiv:1511.06434"),
        (["list", "experiments", "data", "metrics"], 0, "dcgan_mnist"),
        (["list", "modles"], 2, "did you mean 'models'"),
    ],
)
def test_commands_without_torch_and_without_files(tmp_path, argv, code, part):
    done = command(argv, tmp_path)
    assert (done.returncode, part in done.stdout + done.stderr) == (code, True), done
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_verbs_can_be_run_one_after_the_other(capsys):
    assert [main(["list", "models"]), main(["list", "data"]), main([])] == [0, 0, 0]
    assert "stacked_mnist" in capsys.readouterr().out


def test_list_goes_on_past_files_it_cannot_read(tmp_path, monkeypatch):
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe")
    (tmp_path / "tab.yaml").write_text("a:\n\tb: 1\n")
    (tmp_path / "fine.yaml").write_text("# @package _global_\n# Mine.\nseed: 1\n")
    monkeypatch.setenv("LIGHTNING_GEN_EXPERIMENTS", str(tmp_path))
    lines = command(["list", "experiments"], tmp_path).stdout.splitlines()
    rows = [line.split("\t") for line in lines]
    told = {name: text for name, _, text in rows}
    assert told["fine"] == "Mine." and "dcgan_mnist" in told
    assert "cannot be read" in told["bytes"] and "cannot be read" in told["tab"]


def test_traceback_on_request(tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_GEN_TRACEBACK", "1")
    assert "Traceback" in command(["trian"], tmp_path).stderr
