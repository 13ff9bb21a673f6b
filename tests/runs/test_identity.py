import copy
from pathlib import Path

import pytest

from lightning_gen.errors import ConfigError
from lightning_gen.runs.identity import ABSENT, HARMLESS, SEED, differences, digest, run_path, table


def put(config, key, value):
    config = copy.deepcopy(config)
    *branch, last = key.split(".")
    node = config
    for name in branch:
        node = node[name]
    node[last] = value
    return config


@pytest.mark.parametrize(
    "key, value",
    [
        ("trainer.devices", 8),
        ("trainer.accelerator", "gpu"),
        ("trainer.strategy", "ddp"),
        ("budget.images", 5000),
        ("logger", {"project": "p", "api_key": "k"}),
        ("paths.runs", "/elsewhere"),
        ("callbacks.progress", None),
        ("tags", ["a"]),
        ("resume.allow", ["model"]),
        ("run.fresh", True),
        ("data.resident", True),
        ("seed", 1),
        ("model.hub_token", "abc"),
    ],
)
def test_left_out_of_the_digest(config, key, value):
    assert digest(put(config, key, value)) == digest(config)


@pytest.mark.parametrize(
    "key, value",
    [
        ("model.optimizers.G.lr", 0.0003),
        ("model.optimizers.G.lr", 0.00020000000000000004),
        ("model.betas", [0.5, 0.9]),
        ("data.batch_size", 65),
        ("trainer.precision", "bf16-mixed"),
        ("callbacks.scores", {"every_images": 5}),
        ("metrics", {"_target_": "m"}),
        ("model.new", None),
    ],
)
def test_part_of_the_digest(config, key, value):
    assert digest(put(config, key, value)) != digest(config)


def test_digest_ignores_order_and_the_way_a_number_is_written(config):
    assert digest(dict(reversed(config.items()))) == digest(config)
    assert digest(put(config, "data.batch_size", 64.0)) == digest(config)


def test_moving_the_data_is_the_same_run(config):
    moved = put(put(config, "paths.data", "/mnt/d"), "data.root", "/mnt/d")
    assert digest(moved) == digest(config)
    assert [row.key for row in differences(config, moved)] == ["paths.data"]
    assert digest(put(config, "data.root", "/other")) != digest(config)


def test_run_path(config, tmp_path):
    path = run_path(config)
    assert path.parent == tmp_path / "runs" / "tiny"
    assert path.name == f"{digest(config)[:8]}-seed0"
    assert run_path(put(config, "seed", 3)).name == f"{digest(config)[:8]}-seed3"
    assert run_path(put(config, "run.name", "mine")) == path.with_name("mine")
    assert run_path(put(config, "paths.runs", "r")) == Path.cwd() / "r" / "tiny" / path.name


@pytest.mark.parametrize("name", ["a/b", "../x", "..", "/abs", ".hidden"])
def test_run_name_stays_in_its_folder(config, name):
    with pytest.raises(ConfigError, match="not a folder name") as caught:
        run_path(put(config, "run.name", name))
    assert caught.value.where == "run.name"


def test_differences_and_their_table(config):
    other = put(put(config, "model.optimizers.G.lr", 0.5), "model.betas", [0.5, 0.999])
    other = put(other, "data.flip", True)
    rows = differences(config, other)
    assert [tuple(row) for row in rows] == [
        ("model.optimizers.G.lr", 0.0002, 0.5),
        ("data.flip", ABSENT, True),
    ]
    lines = table(rows).splitlines()
    assert lines[1].split() == ["model.optimizers.G.lr", "0.0002", "0.5"]
    assert lines[0].index("saved") == lines[1].index("0.0002")


def test_harmless_keys_are_not_the_seed():
    assert SEED not in HARMLESS
