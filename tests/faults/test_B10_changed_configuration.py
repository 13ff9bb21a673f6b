"""B10: a run is resumed under its own configuration, or under the changes that are allowed."""

import pytest

from lightning_gen.errors import ConfigError
from lightning_gen.runs.run import Run

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
