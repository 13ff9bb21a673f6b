"""B10: a run is resumed under its own configuration, or under the changes that are allowed."""

import copy
import json

import pytest

from lightning_gen.config.compose import check_overrides
from lightning_gen.errors import ConfigError
from lightning_gen.runs.identity import HARMLESS, covers
from lightning_gen.runs.run import Run
from tests.system.harness import only_run, tiny, train

COMMAND = ["/opt/bin/lightning-gen", "train", "seed=0"]


def contents(folder):
    return {
        path.relative_to(folder): (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def reopen(config):
    return Run.open(config, command=COMMAND)


def reopen_path(config):
    run = reopen(config)
    run.close()
    return run.path


class reopen_closing:
    def __init__(self, config):
        self.run = reopen(config)

    def __enter__(self):
        return self.run

    def __exit__(self, *exc_info):
        self.run.close()


def test_another_configuration_is_refused_with_a_table(config):
    config["run"]["name"] = "mine"
    reopen(config).close()
    before = contents(reopen_path(config))
    config["model"]["optimizers"]["G"]["lr"] = 0.5
    config["seed"] = 3
    config["trainer"]["devices"] = 8
    with pytest.raises(ConfigError) as caught:
        reopen(config)
    lines = [line.split() for line in caught.value.what.splitlines()[1:]]
    assert ["model.optimizers.G.lr", "0.0002", "0.5"] in lines
    assert ["seed", "0", "3"] in lines
    assert not any("devices" in word for line in lines for word in line)
    assert "resume.allow=[seed,model.optimizers.G.lr]" in caught.value.fix
    assert contents(caught.value.where) == before

    config["resume"]["allow"] = ["model.optimizers", "seed"]
    with reopen_closing(config) as run:
        changed = {change["key"]: change["new"] for change in run.provenance["changes"]}
    assert changed["model.optimizers.G.lr"] == 0.5
    assert changed["seed"] == 3
    assert Run.read(run.path).config == config
    config["resume"]["allow"] = []
    reopen(config).close()


def test_an_allowed_change_of_the_rate_applies(tmp_path, mnist_root):
    assert train(tiny("dcgan", tmp_path, mnist_root, iterations=3)) == 0
    run = only_run(tmp_path)
    change = {"run.name": run.name, "model.optimizers.G.lr": 0.5}
    refused = tiny("dcgan", tmp_path, mnist_root, iterations=6, **change)
    assert train(refused) == 2
    assert train([*refused, "resume.allow=[model.optimizers.G.lr]"]) == 0
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rates = [row["values"]["lr_G"] for row in rows if row["kind"] in {"train"}]
    assert rates == [2e-4] * 3 + [0.5] * 3


def leaves(node, key=""):
    for name, value in node.items():
        here = f"{key}.{name}" if key else name
        if isinstance(value, dict) and value:
            yield from leaves(value, here)
        else:
            yield here


def changed(config, key):
    config = copy.deepcopy(config)
    *branch, last = key.split(".")
    node = config
    for name in branch:
        node = node[name]
    node[last] = "another" if node[last] != "another" else "other"
    return config


def test_every_key_is_harmless_or_refused(tmp_path):
    config = check_overrides(["experiment=dcgan_mnist", f"paths.runs={tmp_path}", "run.name=mine"])
    reopen(config).close()
    kept = [k for k in leaves(config) if not k.startswith(("paths", "run.", "experiment_name"))]
    assert len(kept) > 60
    for key in kept:
        other = changed(config, key)
        if covers(HARMLESS, key):
            other["resume"]["allow"] = []
            reopen(other).close()
            reopen(config).close()
            continue
        with pytest.raises(ConfigError, match=key.replace("[", "")) as caught:
            reopen(other)
        assert f"resume.allow=[{key}]" in caught.value.fix
        other["resume"]["allow"] = [key]
        reopen(other).close()
        config["resume"]["allow"] = [key]
        reopen(config).close()
        config["resume"]["allow"] = []
