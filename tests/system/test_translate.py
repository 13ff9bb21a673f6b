"""Runs of models that translate: killed and resumed, scored, and used on pictures of any size."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.system.harness import TINY, assert_same, only_run, outcome, train
from tests.system.test_verbs import verb

KILLED = {
    "between the players": ("lightning_gen.players", "AlternatingModule", "descending", 14, False),
    "while it saves": ("lightning_gen.runs.checkpoint", "CheckpointStore", "save", 2, False),
}


def small(model, folder, root, **options):
    """A run of a few steps on two sets of digits."""
    widths = {"cyclegan": ["model.G_ab.width=4", "model.G_ab.blocks=1", "model.pool_b.size=20"]}
    return [
        *TINY,
        f"model={model}",
        "data=digits",
        *widths[model],
        "model.D_b.width=4",
        "model.D_b.layers=1",
        f"paths.data={root}",
        f"paths.cache={root}/cache",
        f"paths.runs={folder}",
        "budget.images=144",
        "callbacks.scores.every_images=64",
        "callbacks.scores.n_fake=150",
        "callbacks.sample_grid.every_images=64",
        "callbacks.checkpoint.every_images=48",
        *(f"{k}={v}" for k, v in options.items()),
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory, mnist_root):
    folder = tmp_path_factory.mktemp("cyclegan")
    assert train(small("cyclegan", folder, mnist_root)) == 0
    return only_run(folder)


@pytest.mark.parametrize("place", KILLED)
def test_a_killed_run_ends_as_an_unbroken_one(place, run, tmp_path, mnist_root):
    overrides = small("cyclegan", tmp_path, mnist_root)
    assert train(overrides, die=KILLED[place]) == -9
    assert train(overrides) == 0
    whole, resumed = outcome(run), outcome(only_run(tmp_path))
    assert_same(whole, resumed)
    pool = [v for k, v in whole["tensors"].items() if k.endswith("pool_b.images")]
    assert len(pool) == 1 and pool[0].abs().sum() > 0


def test_both_directions_are_scored_and_drawn(run, tmp_path):
    scores = json.loads((run / "scores.json").read_text())
    names = json.dumps(scores)
    for score in ("fid_mnist@150_test_a", "kid_mnist@150_test_b", "cycle_l1_pixels@150_test_a"):
        assert score in names
    grid = Image.open(sorted((run / "samples").glob("samples-*.png"))[-1])
    assert grid.size == (6 * 30 + 2, 8 * 30 + 2)  # input, output, cycle, both ways
    code, out, err = verb(["evaluate", f"run={run}", "n=140", "metrics=digits"], tmp_path)
    assert code == 0, err
    assert "translated_accuracy_mnist@140_test_b" in out


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name, size in (("small.png", (28, 28)), ("deep/odd.jpg", (45, 30)), ("wide.png", (90, 21))):
        pixels = generator.integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    return folder


def translate(run, tmp_path, *words):
    return verb(["translate", f"run={run}", f"in={tmp_path / 'in'}", *words], tmp_path)


def read(path):
    with Image.open(path) as image:
        return np.asarray(image).copy()


def test_pictures_of_any_size(run, pictures, tmp_path):
    for to in ("a", "b"):
        code, _, err = translate(run, tmp_path, f"out={tmp_path / to}", f"to={to}")
        assert code == 0, err
    made = {p.relative_to(tmp_path / "a").as_posix() for p in (tmp_path / "a").rglob("*.*")}
    assert made == {"small.png", "deep/odd.png", "wide.png"}
    assert read(tmp_path / "a/deep/odd.png").shape == (30, 45)  # grey, as the digits are
    assert (read(tmp_path / "a/small.png") != read(tmp_path / "b/small.png")).any()
    assert translate(run, tmp_path, f"out={tmp_path / 'again'}", "to=a")[0] == 0
    assert (read(tmp_path / "again/wide.png") == read(tmp_path / "a/wide.png")).all()


def test_tiles_and_a_size_of_their_own(run, pictures, tmp_path):
    code, _, err = translate(run, tmp_path, f"out={tmp_path / 'o'}", "to=b", "tile=24")
    assert code == 0, err
    assert read(tmp_path / "o/wide.png").shape == (21, 90)
    assert translate(run, tmp_path, f"out={tmp_path / 's'}", "to=b", "size=28")[0] == 0
    assert read(tmp_path / "s/wide.png").shape == (28, 28)
    one = [f"in={tmp_path}/in/small.png", f"out={tmp_path}/one", "to=b"]
    assert verb(["translate", f"run={run}", *one], tmp_path)[0] == 0
    assert (read(tmp_path / "one/small.png") == read(tmp_path / "s/small.png")).all()


def test_mistakes_name_their_remedy(run, pictures, tmp_path):
    out = f"out={tmp_path / 'o'}"
    cases = [
        ([out], 2, "to=b"),
        ([out, "to=c"], 2, "translates to b, a"),
        ([f"out={tmp_path / 'in'}", "to=a"], 2, "may not replace"),
        ([out, "to=a", "overlap=3"], 2, "tile=256"),
        ([out, "to=a", "tile=8", "overlap=8"], 2, "overlap=2"),
    ]
    for words, code, text in cases:
        got, _, err = translate(run, tmp_path, *words)
        assert got == code and text in err and "Traceback" not in err, err
    code, _, err = verb(["translate", f"run={run}", f"in={tmp_path}/none", out, "to=a"], tmp_path)
    assert code == 2 and "no such picture or folder" in err
    (pictures / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nhalf")
    code, _, err = translate(run, tmp_path, out, "to=a")
    assert code == 3 and "broken.png" in err and "on_error=skip" in err
    code, _, err = translate(run, tmp_path, out, "to=a", "on_error=skip")
    assert code == 0 and "skipped" in err and (tmp_path / "o/small.png").is_file()
