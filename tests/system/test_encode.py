"""Codes of small real runs, and what comes back of them, by the command."""

import contextlib
import io

import numpy as np
import pytest
from PIL import Image

from tests.system.harness import CONTEXT, TINY, only_run, train

GIVEN = {
    "autoencoder": ["model.encoder.units=[16]", "model.latent_dim=2"],
    "denoising": ["model.latent_dim=16"],
    "bernoulli": ["data.binarise=static"],
}
ENDS = {"codes": "npz", "map": "png", "reconstructions": "png", "arithmetic": "png"}


@pytest.fixture(scope="module", params=GIVEN)
def run(request, tmp_path_factory, mnist_root):
    folder = tmp_path_factory.mktemp(request.param)
    paths = [f"paths.data={mnist_root}", f"paths.cache={folder}/cache", f"paths.runs={folder}"]
    words = [f"model={request.param}", "metrics=none", "budget.images=64", *GIVEN[request.param]]
    none = [f"callbacks.{name}=null" for name in ("sample_grid", "latents", "scores", "collapse")]
    assert train([*TINY, *words, *none, *paths]) == 0
    return request.param, only_run(folder)


def _verbs(lines, folder, pipe):
    """In the child: commands one after another."""
    from lightning_gen.cli import main

    with contextlib.chdir(folder):
        for words in lines:
            out, err = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = main(["encode", *words])
            pipe.send((code, out.getvalue().strip(), err.getvalue()))


def encode(run, folder, *lines):
    """Run the verb with each line's words; give exit codes, and what was written or said."""
    ours, theirs = CONTEXT.Pipe()
    given = [[f"run={run}", *line.split()] for line in lines]
    process = CONTEXT.Process(target=_verbs, args=(given, folder, theirs))
    process.start()
    theirs.close()
    told = [ours.recv() for _ in lines]  # EOFError: the process died
    process.join(60)
    assert not any("Traceback" in err for *_, err in told)
    return [(code, folder / out if code == 0 else err) for code, out, err in told]


def written(run, folder, *lines):
    found = encode(run, folder, *lines)
    assert [code for code, _ in found] == [0] * len(lines), found
    return [path for _, path in found]


@pytest.mark.parametrize("run", ["autoencoder"], indirect=True)
def test_codes_and_their_map(run, tmp_path):
    _, path = run
    codes, few, plain, pca, tsne = written(
        path, tmp_path, "n=300", "what=codes n=100 out=few.npz split=train",
        "what=map n=300 out=plain.png", "what=map n=300 method=pca out=pca.png",
        "what=map n=100 method=tsne",
    )  # fmt: skip
    with np.load(codes, allow_pickle=False) as x:
        assert x["codes"].shape == (300, 2) and x["codes"].dtype == np.float32
        assert x["labels"][:4].tolist() == [7, 2, 1, 0]  # the test digits begin so
        first = x["codes"][:100]
    with np.load(few, allow_pickle=False) as x:
        assert (x["codes"] != first).any() and x["labels"][:3].tolist() == [5, 0, 4]
    assert (codes.name, tsne.name) == ("codes.npz", "map.png")
    assert len({p.read_bytes() for p in (plain, pca, tsne)}) == 3
    assert Image.open(plain).size == (600, 500)


@pytest.mark.parametrize("run", ["autoencoder", "denoising"], indirect=True)
def test_reconstructions_and_arithmetic(run, tmp_path):
    name, path = run
    grid, again, moved, others = written(
        path, tmp_path, "what=reconstructions n=16", "what=reconstructions n=16 out=again.png",
        "what=arithmetic a=3 b=8 n=2", "what=arithmetic b=8 n=2 out=others.png",
    )  # fmt: skip
    rows = {"autoencoder": 4, "denoising": 6}[name]
    assert Image.open(grid).size == (8 * 30 + 2, rows * 30 + 2)
    assert grid.read_bytes() == again.read_bytes()
    assert Image.open(moved).size == Image.open(others).size == (6 * 30 + 2, 2 * 30 + 2)
    pixels = np.asarray(Image.open(moved)).astype(int)
    assert (pixels[2:30, 32:60] != pixels[2:30, 152:180]).any()


@pytest.mark.parametrize("run", ["bernoulli"], indirect=True)
def test_a_model_without_codes_is_told_what_it_lacks(run, tmp_path):
    _, path = run
    lacks = {
        "what=codes": "no encode()", "what=map": "no encode()",
        "what=reconstructions": "no reconstruct()", "what=arithmetic b=8": "no encode(), decode()",
    }  # fmt: skip
    for (code, said), text in zip(encode(path, tmp_path, *lacks), lacks.values(), strict=True):
        assert code == 2 and f"Bernoulli has {text}" in said and "model=vae" in said


@pytest.mark.parametrize("run", ["denoising"], indirect=True)
def test_mistakes_name_their_remedy(run, tmp_path):
    _, path = run
    cases = {
        "what=map method=codes": (2, "method=pca"),
        "what=map n=2": (2, "three points"),
        "what=codes method=pca": (2, "what=map"),
        "what=map a=3": (2, "what=arithmetic"),
        "what=arithmetic": (2, "a=3 b=8"),
        "what=arithmetic b=12": (3, "has no domain '12'"),
        "what=nothing": (2, "what=nothing"),
        "split=valid": (3, "train, test"),
    }
    for (code, said), (wanted, text) in zip(
        encode(path, tmp_path, *cases), cases.values(), strict=True
    ):
        assert code == wanted and text in said, said
