"""A run on captions: its grids, its scores, and samples of what is asked for in words."""

import numpy as np
import pytest
from PIL import Image

from lightning_gen.data.captions import caption, ids
from tests.system.harness import only_run, tiny, train
from tests.system.test_latent_verbs import arrays, refused, verbs


@pytest.fixture(scope="module")
def run(tmp_path_factory, mnist_root):
    folder = tmp_path_factory.mktemp("text")
    assert train(tiny("gan_cls", folder, mnist_root, iterations=3)) == 0
    return only_run(folder)


def test_a_grid_has_a_row_for_each_caption(run):
    grid = Image.open(sorted((run / "samples").glob("samples-*.png"))[-1])
    side = 32 + 2
    assert grid.size == (8 * side + 2, 64 * side + 2)


def test_samples_of_words(run, tmp_path):
    words = "text=two red sevens,one white zero"
    told = verbs(
        [
            [f"run={run}", "n=5", words, "format=npz", "out=both.npz"],
            [f"run={run}", "n=5", "text=two red sevens", "format=npz", "out=one.npz"],
            [f"run={run}", "n=5", "format=npz", "out=any.npz"],
            [f"run={run}", "n=2", "steps=3", "what=classes", words, "format=npz"],
            [f"run={run}", "n=2", "steps=3", "what=walk", "text=one green one"],
        ],
        tmp_path,
    )
    assert [code for code, *_ in told] == [0] * 5, told
    both, one, other = (arrays(tmp_path / f"{name}.npz") for name in ("both", "one", "any"))
    assert both["labels"].tolist() == [ids(t).tolist() for t in words[5:].split(",")] * 2 + [
        ids("two red sevens").tolist()
    ]
    assert both["images"].shape == (5, 3, 32, 32)
    assert np.array_equal(both["images"][0], one["images"][0])  # the same latents and words
    assert len({caption(t) for t in np.asarray(other["labels"])}) == 5
    rows = arrays(tmp_path / "classes.npz")
    assert len(rows["images"]) == 6 and rows["labels"].shape == (6, 3)


def test_what_cannot_be_asked_for(run, tmp_path):
    unknown, numbers, walk = refused(
        run,
        tmp_path,
        ["text=two orange sevens"],
        ["labels=3"],
        ["what=walk", "text=one red one,two red ones"],
    )
    assert "'orange'" in unknown and "purple" in unknown
    assert "takes captions" in numbers and 'text="' in numbers
    assert "one caption" in walk
