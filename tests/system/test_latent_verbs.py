"""What the latents of small real runs show, by the command."""

import contextlib
import io
import json
import operator
import re

import numpy as np
import pytest
import torch
from PIL import Image

from tests.system.harness import CONTEXT, assert_same, only_run, outcome, tiny, train
from tests.system.test_verbs import RING

WAYS = {"interpolation", "walk"}
KNOWN = {
    "infogan": WAYS | {"traversal"},
    "cgan": WAYS | {"classes"},
    "stylegan2": WAYS | {"mixing"},
    "ring": set(),
}
LARGE = {  # initial weights large enough for images to differ
    "infogan": ["model.G.init_std=0.5"],
    "cgan": ["model.G.irange=0.5"],
}
LACKS = {
    "traversal": "no codes in its latents",
    "mixing": "no styles to mix",
    "classes": "no classes to ask for",
}
SIZE = {  # rows and columns of a table of n=3 and steps=4
    "interpolation": (3, 4),
    "walk": (3, 4),
    "traversal": (3 + 1 + 3 + 1 + 3, 10),
    "mixing": (1 + 3, 1 + 4),
    "classes": (3, 4),
}


@pytest.fixture(scope="module", params=KNOWN)
def run(request, tmp_path_factory, mnist_root):
    name, folder = request.param, tmp_path_factory.mktemp(request.param)
    if name == "ring":
        words = [*RING, *(f"paths.{k}={folder}/{k}" for k in ("data", "cache", "runs"))]
    else:
        words = tiny(name, folder, mnist_root, iterations=3, metrics="none")
        words = [w for w in words if not w.startswith("metrics.")] + LARGE.get(name, [])
    assert train(words) == 0
    return name, only_run(folder / "runs" if name == "ring" else folder)


def _verbs(lines, folder, pipe):
    """In the child: commands one after another."""
    from lightning_gen.cli import main

    with contextlib.chdir(folder):
        for words in lines:
            out, err = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = main(["sample", *words])
            pipe.send((code, out.getvalue().strip(), err.getvalue()))


def verbs(lines, folder):
    """Run the verb with these words in a process of its own; give exit code, stdout and stderr."""
    ours, theirs = CONTEXT.Pipe()
    process = CONTEXT.Process(target=_verbs, args=(lines, folder, theirs))
    process.start()
    theirs.close()
    told = [ours.recv() for _ in lines]  # EOFError: the process died
    process.join(60)
    return told


def sample(run, folder, *lines):
    """Write tables of three rows and four columns; give the files."""
    said = []
    for line in lines:
        size = ["n=3"] if "what=samples" in line else ["n=3", "steps=4"]
        said.append([f"run={run}", *size, *line])
    told = verbs(said, folder)
    assert [code for code, *_ in told] == [0] * len(lines), told
    return [folder / out for _, out, _ in told]


def refused(run, folder, *lines):
    """Give what is said of commands that are refused."""
    told = verbs([[f"run={run}", *line] for line in lines], folder)
    assert [code for code, *_ in told] == [2] * len(lines), told
    assert not any("Traceback" in err for *_, err in told)
    return [err for *_, err in told]


def arrays(path):
    with np.load(path, allow_pickle=False) as x:
        return {key: x[key] for key in x.files}


@pytest.mark.parametrize("what", SIZE)
def test_what_a_model_has(run, what, tmp_path):
    name, path = run
    if what not in KNOWN[name]:
        (err,) = refused(path, tmp_path, [f"what={what}"])
        lacks = "the samples are no images" if name == "ring" else LACKS[what]
        assert lacks in err and f"where: what={what}" in err
        has = re.search(r"has what=(.*)", err).group(1).split(", ")
        assert set(has) == {"samples", *KNOWN[name]}
        return
    shown, words = SIZE[what], [f"what={what}"]
    grid, again, other, npz = sample(
        path, tmp_path, words, [*words, "out=again.png"], [*words, "seed=1", "out=other.png"],
        [*words, "format=npz"],
    )  # fmt: skip
    assert (grid.name, npz.name) == (f"{what}.png", f"{what}.npz")
    assert grid.read_bytes() == again.read_bytes() != other.read_bytes()
    x = arrays(npz)
    assert x["images"].dtype == np.uint8 and x["images"].shape[1:] == (1, 28, 28)
    assert {len(v) for v in x.values()} == {len(x["images"])}
    assert (x["row"].max() + 1, x["column"].max() + 1) == shown
    with Image.open(grid) as picture:
        assert picture.size == (30 * shown[1] + 2, 30 * shown[0] + 2)
        pixels = np.asarray(picture)[..., 0]
    for i, image in enumerate(x["images"]):  # each in its place
        top, left = 2 + 30 * x["row"][i], 2 + 30 * x["column"][i]
        assert (pixels[top : top + 28, left : left + 28] == image[0]).all()


@pytest.mark.parametrize("run", ["infogan", "cgan", "stylegan2"], indirect=True)
def test_the_ends_are_samples_and_seeds_and_weights_count(run, tmp_path):
    name, path = run
    given = ["format=npz", "seed=4", *(["labels=2"] if name == "cgan" else [])]
    words = [*given, "what=interpolation"]
    own, ways, raw, more = map(
        arrays,
        sample(
            path, tmp_path, [*given, "what=samples", "n=6"], words,
            [*words, "weights=raw", "out=raw.npz"], [*words, "n=4", "out=more.npz"],
        ),
    )  # fmt: skip
    ends = own["images"].astype(int)
    rows = ways["images"].reshape(3, 4, 1, 28, 28).astype(int)
    assert abs(rows[:, 0] - ends[0::2]).max() <= 1 and abs(rows[:, -1] - ends[1::2]).max() <= 1
    assert ways["t"].reshape(3, 4)[0] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert ("labels" in ways) == (name == "cgan") and set(ways.get("labels", [2])) == {2}
    assert (raw["latents"] == ways["latents"]).all() and (raw["images"] != ways["images"]).any()
    assert (more["latents"][:12] == ways["latents"]).all()


@pytest.mark.parametrize("run", ["infogan", "cgan"], indirect=True)
def test_a_walk_is_a_film(run, tmp_path):
    name, path = run
    given = ["what=walk", *(["labels=1"] if name == "cgan" else [])]
    formats = ["gif", "webp", "png"]
    *films, pictures = sample(path, tmp_path, *([*given, f"format={f}"] for f in formats))
    for format, film in zip(formats, films, strict=False):
        assert film.name == f"walk.{format}"
        with Image.open(film) as frames:
            assert frames.format == format.upper() and frames.size == (140, 140)
            assert frames.info["loop"] == 0
            milliseconds = 0
            for i in range(frames.n_frames):  # equal neighbours are one, seen for longer
                frames.seek(i)
                frames.load()
                milliseconds += frames.info["duration"]
        assert milliseconds == 60 * 3 * 4
    assert sorted(p.name for p in pictures.iterdir()) == [f"{i:06d}.png" for i in range(12)]


@pytest.mark.parametrize("run", ["infogan"], indirect=True)
def test_a_traversal_is_as_wide_as_asked(run, tmp_path):
    _, path = run
    x = arrays(*sample(path, tmp_path, ["what=traversal", "format=npz", "limit=2"]))
    ways = x["latents"][x["row"] == 4]  # the first noise of the first continuous code
    assert ways[:, -2] == pytest.approx([-2, -2 / 3, 2 / 3, 2])
    assert (ways[:, :-2] == ways[0, :-2]).all() and (ways[:, -1] == ways[0, -1]).all()
    (err,) = refused(path, tmp_path, ["psi=0.5"])
    assert "InfoGAN has no truncation" in err


@pytest.mark.parametrize("run", ["stylegan2"], indirect=True)
def test_truncation_and_crossover_are_stylegans(run, tmp_path):
    _, path = run
    mixing = ["what=mixing", "format=npz"]
    own, mean, way, mixed, coarse = map(
        arrays,
        sample(
            path, tmp_path, ["what=samples", "format=npz"],
            ["what=samples", "format=npz", "psi=0", "out=mean.npz"],
            ["what=walk", "format=npz", "psi=0"], [*mixing, "psi=0"],
            [*mixing, "crossover=1", "out=coarse.npz"],
        ),
    )  # fmt: skip
    assert (own["images"] != own["images"][0]).any()
    assert (mean["images"] == mean["images"][0]).all()
    for x in (way, mixed):
        assert abs(x["images"].astype(int) - mean["images"][0]).max() <= 1
    layers = 1 / (1 - coarse["t"][(coarse["row"] > 0) & (coarse["column"] > 0)][0])
    assert layers == pytest.approx(round(layers), abs=1e-4) and layers > 2
    (err,) = refused(path, tmp_path, ["what=mixing", "crossover=100"])
    assert "cannot be coarse" in err


@pytest.mark.parametrize("run", ["cgan"], indirect=True)
def test_labels_are_of_the_classes_and_a_walk_has_one(run, tmp_path):
    _, path = run
    wrong, several = refused(
        path, tmp_path, ["what=classes", "labels=10"], ["what=walk", "labels=1,2"]
    )
    assert "0..9" in wrong and "one class" in several
    (grid,) = sample(path, tmp_path, ["what=classes", "labels=5,5,6"])
    pixels = np.asarray(Image.open(grid))[..., 0]
    five, again, six = (pixels[2 + 30 * i : 30 + 30 * i] for i in range(3))
    assert (five == again).all() and (five != six).any()


def test_mistakes_are_told_before_anything_is_loaded(tmp_path):
    told = {
        "what=interpolatoin": "what=interpolatoin",
        "steps=4": "what=samples does not take it",
        "what=walk limit=2": "leave it out, or what=traversal",
        "what=walk crossover=2": "leave it out, or what=mixing",
        "format=gif": "leave it out, or what=walk",
        "what=mixing format=webp": "leave it out, or what=walk",
        "what=walk psi=-1": "psi=-1",
        "what=walk n=0": "n=0",
    }
    said = refused("nowhere", tmp_path, *(words.split() for words in told))
    for err, text in zip(said, told.values(), strict=True):
        assert text in err, err


def test_pictures_in_the_run_survive_a_kill_and_training_does_not_notice_them(tmp_path, mnist_root):
    outcomes, names = {}, {}
    die = ("lightning_gen.players", "AlternatingModule", "descending", 14, False)
    drawn = [f"callbacks.latents.{k}" for k in ("rows=2", "columns=3", "every_images=32")]
    for kind, own in (("whole", drawn), ("killed", drawn), ("without", ["callbacks.latents=null"])):
        words = [*tiny("infogan", tmp_path / kind, mnist_root), *own]
        if kind == "killed":
            assert train(words, die=die) == -9
        assert train(words) == 0
        outcomes[kind] = outcome(only_run(tmp_path / kind))
        names[kind] = {name.split("-")[0] for name in outcomes[kind]["samples"]}
    assert_same(outcomes["whole"], outcomes["killed"])
    assert names["whole"] == {"real", "samples", "interpolation", "traversal"}
    assert names["without"] == {"real", "samples"}
    without = outcomes["without"]["tensors"]
    for key, value in outcomes["whole"]["tensors"].items():
        same = torch.equal if isinstance(value, torch.Tensor) else operator.eq
        assert same(value, without[key]), key
    status = json.loads((only_run(tmp_path / "whole") / "status.json").read_text())
    assert status["failed_pictures"] == 0
