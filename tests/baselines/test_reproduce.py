"""`lightning-gen reproduce` from the command to the verdict, with real processes and files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_gen.baselines import results
from lightning_gen.cli import main
from lightning_gen.cli.reproduce import parse

RECIPE = """# @package _global_
# A ring, for a few steps.
defaults:
  - override /data: ring
  - override /model: gan
  - override /network@model: mlp2d
budget: {{images: 256}}
data: {{batch_size: 32}}
model: {{latent_dim: 2, G: {{units: 8}}, D: {{units: 8}}}}
callbacks:
  scores: {{every_images: 256, n_fake: 64, final_n_fake: 64}}
  history: {{every_images: 256}}
paper:
  citation: A. Author, Title, 2020
  link: arXiv:2001.00001
  source: made up
  protocol: {{weights: raw, {protocol}}}
  images: {images}
  seeds: [3, 4]
  results:
    - {{metric: modes, value: 4, band: {band}, why: so, better: higher}}
"""


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """Write a recipe, reproduce it, and give exit code, result and page."""
    monkeypatch.setenv("LIGHTNING_GEN_EXPERIMENTS", str(tmp_path / "mine"))
    (tmp_path / "mine").mkdir()

    def reproduce(*words, protocol="n_fake: 96", images=256, band="[0, 8]", text=RECIPE):
        recipe = text.format(protocol=protocol, images=images, band=band)
        (tmp_path / "mine" / "tiny_ring.yaml").write_text(recipe)
        paths = [f"paths.{kind}={tmp_path / kind}" for kind in ("runs", "data", "cache")]
        options = ["logger=none", "trainer=cpu", "trainer.threads=1", f"out={tmp_path / 'out'}"]
        code = main(["reproduce", "tiny_ring", *paths, *options, *words])
        page = (tmp_path / "out" / "RESULTS.md").read_text()
        return code, results.read(tmp_path / "out" / "results" / "tiny_ring.json"), page

    return reproduce


def test_from_the_recipe_to_the_verdict(lab, tmp_path, capfd):
    code, result, page = lab()
    assert code == 0
    assert [seed.seed for seed in result.seeds] == [3, 4]
    for seed in result.seeds:
        names = [score["name"] for score in seed.scores]
        assert "modes_ring@64" in names, "what the run measured itself"
        assert "modes_ring@96" in names, "what the paper measures"
        assert seed.images_seen == 256
        assert seed.minutes > 0
        assert seed.machine["device"] == "1 x CPU"
    assert (tmp_path / "out" / "results" / "tiny_ring.png").stat().st_size > 0
    assert "| `tiny_ring` | modes | 4 |" in page
    assert "Measured with (n_fake=96, weights=raw)" in page
    assert "**reproduced**" in page
    assert "0 to 8: so" in page
    assert result.command.startswith("lightning-gen reproduce tiny_ring ")

    # Finished runs are not run again, and the verdict follows the block.
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "runs").rglob("metrics.jsonl")}
    code, _, page = lab(band="[9, null]")
    assert (code, "short of it" in page) == (1, True)
    code, _, page = lab(images=10_000)
    assert (code, "256 of 10,000 images" in page) == (1, True)
    code, _, page = lab(protocol="n_fake: 96, extractor: inception")
    assert (code, "extractor is ring, the paper has inception" in page) == (1, True)
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "runs").rglob("metrics.jsonl")}
    assert len(before) == 2
    capfd.readouterr()


def test_missing_data_are_said_and_nothing_is_lost(lab, tmp_path):
    text = RECIPE.replace("/data: ring", "/data: image_folder").replace(
        "data: {{batch_size: 32}}", f"data: {{{{folder: {tmp_path / 'none'}}}}}"
    )
    text = text.replace("model: {{latent_dim: 2, G: {{units: 8}}, D: {{units: 8}}}}\n", "")
    text = text.replace("n_fake: 64", "n_fake: 3000").replace(
        "  - override /model: gan\n  - override /network@model: mlp2d\n", ""
    )
    code, result, page = lab(text=text)
    assert code == 1
    assert all(seed.missing for seed in result.seeds)
    assert "data missing" in page
    assert str(tmp_path / "none") in page


def test_a_result_keeps_the_words_that_obtain_it_again_without_the_readers_folders():
    words = ["gan_ring", "seeds=[7,3]", "trainer=cpu", "paths.runs=mine", "out=there"]
    asked = parse(words)
    command = asked.command(asked.chosen[0])
    assert command == "lightning-gen reproduce gan_ring seeds=7,3 trainer=cpu"
    assert parse(command.split()[2:])._replace(out=None) == asked._replace(
        out=None, overrides=["trainer=cpu"]
    )


def test_mistakes_are_found_before_anything_runs(lab, tmp_path, capsys):
    for words, said in (
        (["model.latent_dim=7"], "would change the recipe"),
        (["seeds=a,b"], "are not numbers"),
        (["--tier", "day"], "there is no tier 'day'"),
        (["--everything"], "unknown flag"),
        (["trainer.devicse=2"], "trainer.devices"),
    ):
        with pytest.raises(FileNotFoundError):  # no page: the verb wrote nothing
            lab(*words)
        assert said in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
    assert main(["reproduce"]) == 0
    assert main(["reproduce", "seeds=1"]) == 2


def test_a_signal_stops_after_saving_and_the_same_command_continues(tmp_path):
    import signal
    import time

    mine = tmp_path / "mine"
    mine.mkdir()
    recipe = RECIPE.format(protocol="n_fake: 64", images=256, band="[0, 8]")
    recipe = recipe.replace("budget: {images: 256}", "budget: {images: 80000}")
    (mine / "tiny_ring.yaml").write_text(recipe.replace("[3, 4]", "[3]"))
    words = ["reproduce", "tiny_ring", "logger=none", "trainer=cpu", "trainer.threads=1"]
    command = [sys.executable, "-m", "lightning_gen", *words]
    environment = {**os.environ, "LIGHTNING_GEN_EXPERIMENTS": str(mine)}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if any(p.stat().st_size for p in tmp_path.rglob("metrics.jsonl")):
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 75
    [status] = tmp_path.rglob("status.json")
    assert json.loads(status.read_text())["state"] == "preempted"
    assert subprocess.run(command, cwd=tmp_path, env=environment, timeout=300).returncode == 0
    assert json.loads(status.read_text())["state"] == "finished"
    assert "**reproduced**" in Path(tmp_path, "reproduced", "RESULTS.md").read_text()
