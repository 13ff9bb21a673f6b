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
from lightning_gen.config.schema import check, keys
from lightning_gen.config.signature import TargetError, read
from lightning_gen.errors import ConfigError

EXPERIMENTS = sorted(group_files("experiment"))


def refusal(*argv: str) -> str:
    with pytest.raises(ConfigErrors) as info:
        check_overrides(argv)
    assert info.value.exit_code == 2
    return str(info.value)


def leaves(node: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(node, dict) and node:
        return {k: v for n in node for k, v in leaves(node[n], f"{prefix}.{n}").items()}
    return {prefix.strip("."): node}


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


# What is wrong


def test_several_mistakes_are_all_listed():
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


def test_misspelt_keys_are_led_to_the_right_one():
    total = right = 0
    done: set[str] = set()
    for name in EXPERIMENTS:
        config = check_overrides([f"experiment={name}"])
        known, wrong = keys(config), {}
        for key in leaves(config):
            leaf = key.rpartition(".")[2]
            if len(leaf) < 3 or "_" in leaf[:1]:
                continue
            stem, middle = key[: -len(leaf)], len(leaf) // 2
            dropped = stem + leaf[:middle] + leaf[middle + 1 :]
            swapped = stem + leaf[:-2] + leaf[-1] + leaf[-2]
            wrong |= {w: key for w in (dropped, swapped) if w not in {*known, *done}}
        done |= set(wrong)
        if not wrong:
            continue
        with pytest.raises(ConfigErrors) as info:
            check_overrides([f"experiment={name}", *(f"{w}=1" for w in wrong)])
        suggested = {p.key: p.near for p in info.value.problems}
        assert set(suggested) == set(wrong)
        total += len(wrong)
        right += sum(f"did you mean '{key}'" in suggested[w] for w, key in wrong.items())
    assert total > 250 and right / total >= 0.95, (right, total)


@pytest.mark.parametrize(
    "group", ["model", "data", "metrics", "experiment", "trainer", "callbacks"]
)
def test_misspelt_choices_are_led_to_the_right_one(group):
    names = list(group_files(group))
    for name in (n for n in names if len(n) > 3):
        wrong = name[:2] + name[3:]
        if wrong not in names:
            text = refusal(f"{group}={wrong}")
            assert f"there is no {group} {wrong!r}; did you mean " in text and f"'{name}'" in text


@pytest.mark.parametrize("experiment", ["dcgan_mnist", "gan_mnist", "cgan_mnist", "wgan_gp_ring"])
def test_every_annotated_key_refuses_other_types(experiment):
    config = check_overrides([f"experiment={experiment}"])
    missed = []
    for key, value in leaves(config).items():
        *path, leaf = key.split(".")
        node = config
        for part in path:
            node = node[part]
        if isinstance(value, str) or leaf == "_partial_":
            wrong = [["abc"], {"a": 1}]
        elif value is None:
            wrong = [[{"a": 1}]]  # a text or a number may be meant
        elif isinstance(value, list):
            wrong = ["abc", 1, [["abc"]], {"a": 1}]
        else:
            wrong = ["abc", ["abc"], {"a": 1}, -5.5]
        for bad in wrong:
            node[leaf] = bad
            if not any(p.key.startswith(key) for p in check(config)):
                missed.append((key, bad))
        node[leaf] = value
    assert missed == [] and check(config) == []


def test_numbers_out_of_range_are_refused():
    config = check_overrides(["experiment=dcgan_mnist"])
    numbers = {k: v for k, v in leaves(config | {"paper": None}).items() if type(v) in (int, float)}
    for bad in ("-1", "nan"):
        text = refusal(*(f"{key}={bad}" for key in numbers))
        missed = [key for key in numbers if f"{key}: must be" not in text]
        assert missed in ([], ["metrics.seed"])  # any integer
    assert len(numbers) > 40


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
def test_impossible(argv, part):
    assert part in refusal(*argv.split())


def test_what_follows_from_a_mistake_is_not_listed_with_it():
    assert "1 configuration mistake\n" in refusal(
        "model=cgan", "data=image_folder", "data.folder=x"
    )
    assert "1 configuration mistake\n" in refusal("model=wgna_gp", "model.gp_weight=1")


def test_a_wrong_value_in_a_sweep_is_found():
    text = refusal("-m", "seed=0,-1,2", "model=dcgan,gun", "trainer=cpu")
    assert "seed: must be" in text and "got -1" in text and "there is no model 'gun'" in text


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("seed: 1\nseed: 2\n", [":3:1: is not YAML", "duplicate key seed"]),
        ("model:\n\tlatent_dim: 3\n", [":3:1: is not YAML", "cannot start any token"]),
        ("model: [1, 2\nseed: 3\n", [":3:5: is not YAML"]),
        ("defaults:\n  - override /model: dcgn\n", ["model/dcgn: there is no such", "'dcgan'"]),
        ("modle:\n  latent_dim: 3\ndata: {batchsize: 3}\n",
         ["modle: unknown key; did you mean 'model'", "'data.batch_size'"]),
        ("model: {G: dcgan, optimizers: {G: 3}}\ncallbacks: {scores: 3}\n",
         ["model.G: must be a mapping with _target_", "model.optimizers.G: must"]),
        ("trainer: 3\nbudget: [1]\n", ["Cannot merge"]),
    ],
)  # fmt: skip
def test_bad_experiment_files(tmp_path, monkeypatch, text, parts):
    (tmp_path / "bad.yaml").write_text(f"# @package _global_\n{text}")
    monkeypatch.setenv("LIGHTNING_GEN_EXPERIMENTS", str(tmp_path))
    report = refusal("experiment=bad")
    for part in parts:
        assert part in report
    if "is not YAML" in parts[0]:
        assert str(tmp_path / "bad.yaml") in report


@pytest.mark.parametrize("content", [b"seed: 3\n", b"", b"- a\n", b"text", b"\xff\xfe\x00"])
def test_experiment_files_that_are_none(tmp_path, monkeypatch, content):
    (tmp_path / "bad.yaml").write_bytes(content)
    monkeypatch.setenv("LIGHTNING_GEN_EXPERIMENTS", str(tmp_path))
    assert "# @package _global_" in (text := refusal("experiment=bad")) or "UTF-8" in text


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
