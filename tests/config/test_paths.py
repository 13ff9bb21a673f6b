"""The configuration is found in a checkout, in a wheel, and beside a user's own experiments."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_gen.config import paths
from lightning_gen.config.compose import check_overrides

OWN = "# @package _global_\ndefaults:\n  - override /model: wgan_gp\nseed: 7\n"


def test_shipped_files_are_found():
    assert (paths.conf_dir() / "config.yaml").is_file()
    assert "dcgan_mnist" in paths.group_files("experiment")
    assert set(paths.group_files("model")) > {"cgan", "dcgan", "gan", "wgan_gp"}


@pytest.mark.parametrize("where", ["cwd", "environment"])
def test_own_experiment_is_found_beside_the_shipped_ones(tmp_path, monkeypatch, where):
    folder = tmp_path / "experiments"
    folder.mkdir()
    (folder / "mine.yaml").write_text(OWN)
    if where == "cwd":
        monkeypatch.chdir(tmp_path)
    else:
        monkeypatch.setenv("LIGHTNING_GEN_EXPERIMENTS", str(folder))
    config = check_overrides(["experiment=mine"])
    assert config["experiment_name"] == "mine" and config["seed"] == 7
    assert config["model"]["gp_weight"] == 10
    assert check_overrides(["experiment=dcgan_mnist"])["experiment_name"] == "dcgan_mnist"
    assert {"mine", "dcgan_mnist"} <= set(paths.group_files("experiment"))


def test_own_experiment_wins_over_a_shipped_one_of_the_same_name(tmp_path, monkeypatch):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "dcgan_mnist.yaml").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    assert check_overrides(["experiment=dcgan_mnist"])["seed"] == 7
    assert paths.group_files("experiment")["dcgan_mnist"].parent == tmp_path / "experiments"


def test_layout_of_an_installed_wheel(tmp_path):
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    package = shutil.copytree(paths.PACKAGE, site / "lightning_gen")
    for folder in ("conf", "experiments"):
        shutil.copytree(paths.shipped(folder), package / folder)
        (site / folder).mkdir()  # another package's folder of that name
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import lightning_gen\n"
        "from lightning_gen.config.compose import check_overrides\n"
        "from lightning_gen.config.paths import conf_dir\n"
        "print(conf_dir()); print(check_overrides(['experiment=gan_ring'])['experiment_name'])"
    )
    command = [sys.executable, "-c", code, str(site)]
    out = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, check=True).stdout
    assert [Path(out.split()[0]), out.split()[1]] == [package / "conf", "gan_ring"]
    assert not list(elsewhere.iterdir())
