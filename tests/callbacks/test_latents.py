import copy

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_gen.callbacks.latent_pictures import (
    BLOCK,
    TOOLS,
    Plan,
    Table,
    aside,
    block_seed,
    latents,
)
from lightning_gen.callbacks.latents import Latents
from lightning_gen.callbacks.sample_grid import SampleGrid, draw, to_bytes
from tests.callbacks.conftest import Idle, Recorder
from tests.models.test_gan import build

PLAN = Plan(rows=3, columns=4, seed=5)
TEN = torch.arange(10)


def plan_of(model, **changes):
    return PLAN._replace(labels=TEN if model.requires_labels else None, **changes)


def close(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=1e-4)


def grid(table, rows=3, columns=4):
    return table.images.unflatten(0, (rows, columns))


def first_samples(model, labels=None):
    """The seed's first samples, by the model itself."""
    generator = torch.Generator().manual_seed(block_seed(PLAN.seed, 0))
    return model.sample(BLOCK, labels=labels, generator=generator)


@pytest.mark.parametrize("name", ["dcgan", "infogan", "cgan", "lapgan", "stylegan2"])
def test_the_ends_of_an_interpolation_are_the_models_own_samples(name):
    model = build(name)
    table = TOOLS["interpolation"].table(model, plan_of(model))
    labels = torch.arange(BLOCK) // 2 % 10 if model.requires_labels else None
    own = first_samples(model, labels)
    close(grid(table)[:, 0], own[0:6:2])
    close(grid(table)[:, -1], own[1:6:2])
    z = table.arrays["latents"].unflatten(0, (3, 4))
    assert torch.equal(z[:, 0], latents(model, 6, PLAN.seed)[0::2])
    assert torch.equal(z[:, -1], latents(model, 6, PLAN.seed)[1::2])
    close(table.arrays["t"], torch.linspace(0, 1, 4).repeat(3))
    if model.requires_labels:
        assert table.arrays["labels"].tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert table.row.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert table.column.tolist() == [0, 1, 2, 3] * 3


def test_a_way_is_an_arc_for_a_normal_prior_and_a_line_for_a_uniform_one():
    half = torch.tensor(0.5)
    for prior, keeps in (("normal", True), ("uniform", False)):
        model = build("dcgan", prior=prior)
        a, b = latents(model, 64, 0).unflatten(0, (-1, 2)).unbind(1)
        middle = model.path(a, b, half).norm(dim=1)
        assert torch.allclose(middle, (a.norm(dim=1) + b.norm(dim=1)) / 2) == keeps
        assert torch.allclose(middle, ((a + b) / 2).norm(dim=1)) != keeps


@pytest.mark.parametrize("prior", ["normal", "uniform"])
def test_infogans_codes_go_straight_whatever_the_prior(prior):
    model = build("infogan", prior=prior)
    a, b = latents(model, 2, 0)
    middle = model.path(a, b, torch.tensor(0.5))
    k = model.noise_dim
    close(middle[k:], (a[k:] + b[k:]) / 2)
    assert middle[k : k + 10].sum() == 1  # the category is torn between two, not doubled


@pytest.mark.parametrize("name", ["dcgan", "infogan", "cgan"])
def test_a_walk_passes_all_latents_and_closes(name):
    model = build(name)
    labels = torch.tensor([7, 8]) if model.requires_labels else None
    table = TOOLS["walk"].table(model, Plan(rows=5, columns=20, seed=1, labels=labels))
    z = table.arrays["latents"]
    assert torch.equal(z[::20], latents(model, 5, 1))
    step = (z - z.roll(-1, 0)).norm(dim=1)  # the last one comes back to the first
    legs = (z[::20] - z[::20].roll(-1, 0)).norm(dim=1).repeat_interleave(20)
    assert (step < 1.3 * legs / 20).all() and (step > 0.7 * legs / 20).all()
    if model.requires_labels:
        assert set(table.arrays["labels"].tolist()) == {7}


@pytest.mark.parametrize("limit", [1.0, 2.0])
def test_a_traversal_changes_the_code_asked_for_and_nothing_else(limit):
    model = build("infogan")
    z = latents(model, 3, PLAN.seed)
    made = model.traverse(z, 5, limit)
    assert list(made) == ["category", "code 1", "code 2"]
    n = model.noise_dim
    own = {"category": range(n, n + 10), "code 1": [n + 10], "code 2": [n + 11]}
    for code, ways in made.items():
        rest = [i for i in range(model.latent_dim) if i not in own[code]]
        assert torch.equal(ways[..., rest], z[:, None, rest].expand(-1, ways.shape[1], -1))
        varied = ways[..., list(own[code])]
        wanted = (
            torch.eye(10) if len(own[code]) == 10 else torch.linspace(-limit, limit, 5)[:, None]
        )
        assert torch.equal(varied, wanted.expand(3, -1, -1))
    assert torch.equal(z, latents(model, 3, PLAN.seed))  # untouched
    table = TOOLS["traversal"].table(model, PLAN._replace(columns=5, limit=limit))
    assert torch.equal(table.arrays["latents"], torch.cat([w.flatten(0, 1) for w in made.values()]))
    close(table.images, model.generate(table.arrays["latents"]))
    assert sorted(set(table.row.tolist())) == [0, 1, 2, 4, 5, 6, 8, 9, 10]
    assert table.column.max() == 9


def test_mixing_is_a_table_of_sources_and_their_mixes():
    model = build("stylegan2")
    table = TOOLS["mixing"].table(model, PLAN)
    own = first_samples(model)
    coarse, fine = own[:3], own[3:7]
    places = zip(table.row.tolist(), table.column.tolist(), strict=True)
    at = dict(zip(places, table.images, strict=True))
    assert set(at) == {(r, c) for r in range(4) for c in range(5)} - {(0, 0)}
    z = latents(model, 7, PLAN.seed)
    for r in range(3):
        close(at[r + 1, 0], coarse[r])
        for c in range(4):
            close(at[0, c + 1], fine[c])
            mixed = model.mix(z[r : r + 1], z[3 + c : 4 + c], model.latent_layers // 2)[0]
            close(at[r + 1, c + 1], mixed)
            assert not torch.allclose(mixed, coarse[r]) and not torch.allclose(mixed, fine[c])
    share = 1 - (model.latent_layers // 2) / model.latent_layers
    t = [1.0] * 4 + [0.0, share, share, share, share] * 3
    assert table.arrays["t"].tolist() == pytest.approx(t)
    assert table.arrays["latents"].shape == (19, 2, model.latent_dim)
    whole = TOOLS["mixing"].table(model, PLAN._replace(crossover=model.latent_layers))
    close(whole.images[4:].unflatten(0, (3, 5)), coarse[:, None].expand(-1, 5, -1, -1, -1))


def test_truncation_is_that_of_the_models_samples():
    model = build("stylegan2")
    model.G_ema.network.w_mean.normal_()
    generator = torch.Generator().manual_seed(block_seed(PLAN.seed, 0))
    own = model.sample(BLOCK, generator=generator, psi=0.3)
    table = TOOLS["interpolation"].table(model, PLAN._replace(psi=0.3))
    close(grid(table)[:, 0], own[0:6:2])
    assert not torch.allclose(own, first_samples(model), atol=1e-3)
    table = TOOLS["mixing"].table(model, PLAN._replace(psi=0.0))
    close(table.images, table.images[:1].expand_as(table.images))  # the mean alone


def test_classes_have_a_row_each_and_the_same_latents_in_a_column():
    model = build("cgan")
    plan = plan_of(model)._replace(rows=3, labels=torch.tensor([4, 9, 2]))
    table = TOOLS["classes"].table(model, plan)
    z = model.latents(4, torch.Generator().manual_seed(block_seed(PLAN.seed, 0)))
    for row, label in enumerate([4, 9, 2]):
        close(grid(table)[row], model.generate(z, torch.full((4,), label)))
    assert table.arrays["labels"].tolist() == [4] * 4 + [9] * 4 + [2] * 4


def test_the_sample_grid_shows_the_same_latents_in_each_row(fit, mnist, recorder):
    model = build("cgan")
    seen = []
    original = model.generate
    model.generate = lambda z, y: seen.append((z, y)) or original(z, y)
    fit(model, mnist, [SampleGrid(every_images=None, columns=5)], 1)
    rows = seen[-10:]
    assert [set(y.tolist()) for _, y in rows] == [{k} for k in range(10)]
    assert all(torch.equal(z, rows[0][0]) for z, _ in rows)
    assert len(rows[0][0].unique(dim=0)) == 5


def test_which_tools_suit_follows_from_what_the_model_has():
    suits = {
        name: {key for key, tool in TOOLS.items() if tool.suits(build(name))}
        for name in ("dcgan", "infogan", "cgan", "stylegan2")
    }
    ways = {"interpolation", "walk"}
    assert suits["dcgan"] == ways and suits["infogan"] == ways | {"traversal"}
    assert suits["cgan"] == ways | {"classes"} and suits["stylegan2"] == ways | {"mixing"}
    assert not any(tool.suits(Idle(None)) for tool in TOOLS.values())


def test_a_table_is_drawn_with_its_holes():
    images = torch.tensor([-1.0, 1.0, 0.2]).view(3, 1, 1, 1).expand(3, 1, 4, 4)
    table = Table(images, torch.tensor([0, 2, 2]), torch.tensor([1, 0, 1]), {})
    drawn = np.asarray(table.picture())[4::6, 4::6, 0]
    grey = int(to_bytes(torch.zeros(1)))
    assert drawn.tolist() == [[grey, 0], [grey, grey], [255, int(to_bytes(torch.tensor(0.2)))]]


def test_nothing_of_torchs_randomness_is_used_up():
    state = torch.get_rng_state()
    drawn = []
    for _ in range(2):
        with aside(3, torch.device("cpu")):
            drawn.append(torch.rand(2))
    assert torch.equal(*drawn) and torch.equal(state, torch.get_rng_state())


def trained(fit, mnist, name, callbacks, iterations=3, seed=0, run=None):
    model = build(name)
    model.seed = seed
    with torch.random.fork_rng():
        fit(model, mnist, callbacks, iterations, **({} if run is None else {"run": run}))
    return model


@pytest.mark.parametrize("name", ["dcgan", "infogan", "stylegan2"])
def test_drawing_changes_nothing_of_the_training(fit, mnist, recorder, name):
    small = {"rows": 2, "columns": 2, "noises": 1}
    models = [
        trained(fit, mnist, name, callbacks)
        for callbacks in ([], [Latents(every_images=64, **small)])
    ]
    assert len({i for _, i, _ in recorder.pictures}) == 3
    first, second = (model.state_dict() for model in models)
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert models[1].G.training


KEYS = {
    "dcgan": {"interpolation"},
    "infogan": {"interpolation", "traversal"},
    "stylegan2": {"interpolation", "mixing"},
}


@pytest.mark.parametrize("name", KEYS)
def test_pictures_of_equal_runs_are_equal_and_come_when_due(fit, mnist, tmp_path, name):
    pictures = []
    for i in range(2):
        folder = tmp_path / str(i)
        folder.mkdir()
        recorder = Recorder(folder)
        torch.manual_seed(i)  # whatever the process did before
        callback = Latents(every_images=128, rows=2, columns=3, noises=1)
        trained(fit, mnist, name, [callback], run=recorder)
        assert {(key, i) for key, i, _ in recorder.pictures} == {
            (key, i) for key in KEYS[name] for i in (2, 3)
        }
        pictures.append([path.read_bytes() for *_, path in recorder.pictures])
        assert all(np.asarray(Image.open(path)).std() > 0 for *_, path in recorder.pictures)
    assert pictures[0] == pictures[1]


def test_runs_of_other_seeds_show_the_same_latents(fit, mnist, recorder):
    given = []
    for seed in (0, 1):
        model = build("dcgan")
        model.seed = seed
        model.generate = lambda z: given.append(z) or torch.zeros(len(z), 1, 28, 28)
        fit(model, mnist, [Latents(every_images=None, rows=2, columns=3)], 1)
    assert len(given) == 2 and torch.equal(*given)


def test_conditional_models_keep_a_class_in_a_row(fit, mnist, recorder):
    model = build("cgan")
    given = []
    model.generate = lambda z, y: given.append(y) or torch.zeros(len(z), 1, 28, 28)
    fit(model, mnist, [Latents(every_images=None, rows=3, columns=2)], 1)
    assert [y.tolist() for y in given] == [[0, 0, 1, 1, 2, 2]]


def test_the_averaged_weights_are_shown(fit, mnist, recorder):
    model = trained(fit, mnist, "dcgan", [Latents(every_images=None, rows=2, columns=3)])
    plan = Plan(rows=2, columns=3, seed=Latents(every_images=None).plans["mixing"].seed)
    shown = np.asarray(Image.open(recorder.pictures[-1][2]))
    assert (shown == np.asarray(TOOLS["interpolation"].table(model, plan).picture())).all()
    with model.raw_weights():
        raw = TOOLS["interpolation"].table(model, plan)
    assert (shown != np.asarray(raw.picture())).any()
    assert draw(raw.images, 3).size == raw.picture().size


def test_points_and_models_without_latents_have_no_pictures(fit, mnist, ring, recorder):
    points = Idle(lambda i, n, labels, g: torch.zeros(n, 2))
    points.path = points.latents = lambda *_: pytest.fail("asked for")
    fit(points, ring, [Latents(every_images=64)], 2)
    fit(
        Idle(lambda i, n, labels, g: torch.zeros(n, 1, 28, 28)),
        mnist,
        [Latents(every_images=64)],
        2,
    )
    assert recorder.pictures == []


def test_a_run_that_ended_where_it_was_due_is_drawn_once(fit, mnist, recorder):
    trained(fit, mnist, "dcgan", [Latents(every_images=64, rows=1, columns=2)], iterations=2)
    assert [i for _, i, _ in recorder.pictures] == [1, 2]


def test_tools_leave_a_model_as_it_was():
    model = build("stylegan2")
    before = copy.deepcopy(model.state_dict())
    model.train()
    for tool in TOOLS.values():
        if tool.suits(model):
            tool.table(model, PLAN)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert model.G.training
