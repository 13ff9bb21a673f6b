import numpy as np
import torch
from PIL import Image

from lightning_gen.callbacks.sample_grid import SampleGrid, draw, to_bytes
from lightning_gen.networks.dcgan import DCGANGenerator
from tests.callbacks.conftest import Idle, Recorder


def generated(seed):
    """A generator of fixed weights in a run of another seed."""
    torch.manual_seed(0)
    network = DCGANGenerator(latent_dim=4, channels=1, resolution=28, width=2).eval()
    model = Idle(lambda i, n, labels, g: network(torch.randn(n, 4, generator=g)))
    model.seed = seed
    return model


def test_grid_is_the_same_in_runs_of_other_seeds(fit, mnist, tmp_path):
    grids = []
    for seed in (0, 1):
        folder = tmp_path / str(seed)
        folder.mkdir()
        recorder = Recorder(folder)
        torch.manual_seed(100 + seed)
        fit(generated(seed), mnist, [SampleGrid(every_images=None, n=8)], 2, run=recorder)
        assert [(key, i) for key, i, _ in recorder.pictures] == [
            ("real", 0),
            ("samples", 0),
            ("samples", 2),
        ]
        grids.append([np.asarray(Image.open(path)) for *_, path in recorder.pictures])
    assert all((a == b).all() for a, b in zip(*grids, strict=True))
    assert grids[0][1].std() > 0


def test_real_grid_is_the_first_images_of_the_training_split(fit, mnist, recorder):
    fit(generated(0), mnist, [SampleGrid(every_images=None, n=6, columns=3)], 1)
    picture = np.asarray(Image.open(recorder.pictures[0][2]))
    assert picture.shape == (62, 92, 3)
    digits = [picture[r : r + 28, c : c + 28, 0] for r in (2, 32) for c in (2, 32, 62)]
    assert (np.stack(digits) == mnist.prepared.array("train_image")[:6, 0]).all()


def test_grids_come_as_often_as_asked_and_not_twice_at_the_end(fit, mnist, recorder):
    fit(generated(0), mnist, [SampleGrid(every_images=128, n=1)], 4)
    assert [i for key, i, _ in recorder.pictures if key == "samples"] == [0, 2, 4]


def test_a_resumed_run_does_not_draw_the_beginning_again(fit, mnist, recorder):
    model = generated(0)
    model.iteration, model.images_seen = 3, 192
    fit(model, mnist, [SampleGrid(every_images=None, n=1)], 4)
    assert [(key, i) for key, i, _ in recorder.pictures] == [("samples", 4)]


def test_conditional_model_shows_a_class_in_each_row(fit, mnist, recorder):
    def shade(iteration, n, labels, generator):
        return (labels / 10).view(n, 1, 1, 1).expand(n, 1, 28, 28)

    fit(Idle(shade, True), mnist, [SampleGrid(every_images=None, n=64, columns=3)], 1)
    picture = np.asarray(Image.open(recorder.pictures[-1][2]))
    rows = picture[2::30, 2::30, 0]
    expected = to_bytes(torch.arange(10) / 10).numpy()
    assert rows.shape == (10, 3) and (rows == expected[:, None]).all()


def test_points_are_drawn_over_the_true_centres(fit, ring, recorder):
    model = Idle(lambda i, n, labels, g: torch.randn(n, 2, generator=g) * 0.2)
    fit(model, ring, [SampleGrid(every_images=None)], 1)
    real, samples = (np.asarray(Image.open(path)) for *_, path in recorder.pictures[:2])
    assert real.shape == samples.shape == (500, 500, 3)

    def share(picture, channel):  # of pixels where a colour stands out
        others = np.delete(picture.astype(int), channel, axis=2).max(2)
        return (picture[..., channel] - others > 60).mean()

    assert share(real, 0) > 0 and share(samples, 0) > 0  # the crosses
    ink = [(picture.min(2) < 255).mean() for picture in (real, samples)]
    assert ink[1] > 2 * ink[0]  # a cloud is wider than eight dots


def test_bytes_of_real_images_come_back_exactly(mnist):
    assert (
        to_bytes(mnist.real("test", range(50)).image).numpy()
        == mnist.prepared.array("test_image")[:50]
    ).all()


def test_colours_keep_their_channels():
    image = torch.full((1, 3, 4, 4), -1.0)
    image[:, 2] = 1
    assert draw(image, 1).getpixel((3, 3)) == (0, 0, 255)
