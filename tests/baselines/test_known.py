"""Known answers: each check against independent computation, and the shipped ones as they are."""

import json
import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier

from lightning_gen.baselines.known.gaussian_logit import (
    ALPHA,
    GaussianInLogitSpace,
    bits_per_dim,
    gaussian_log_likelihood,
    logits,
)
from lightning_gen.baselines.known.independent_bernoulli import IndependentBernoulli
from lightning_gen.baselines.known.modes_mixture import MixtureModesOfTrueSamples
from lightning_gen.baselines.known.modes_stacked import ModesOfTrueLabels
from lightning_gen.baselines.known.ndb_real import NDBOfRealImages
from lightning_gen.baselines.known.nearest_neighbour_real import NearestNeighbourError
from lightning_gen.baselines.known.parzen_real import ParzenOfRealImages
from lightning_gen.baselines.known.pca_reconstruction import PCAReconstruction
from lightning_gen.baselines.known.prdc_gaussians import PRDCOfEqualGaussians
from lightning_gen.baselines.registry import known_files, load_known
from lightning_gen.baselines.verdict import Measured, judge
from lightning_gen.config.compose import compose_data, instantiate
from lightning_gen.core import ImageBatch
from lightning_gen.errors import MetricError
from lightning_gen.metrics.protocol import Score

KNOWN = list(known_files())
QUICK = {"modes_ring", "modes_grid"}  # these need no download


class Digits:
    """Pictures of 5 x 5 bytes around one of ten patterns."""

    name, num_classes, fingerprint, splits = "digits", 10, "f1", ("train", "test")
    sizes = {"train": 900, "test": 200}  # noqa: RUF012

    def __init__(self, labelled=True):
        generator = torch.Generator().manual_seed(0)
        patterns = torch.randint(30, 226, (10, 25), generator=generator)
        self.sets = {}
        for split, n in self.sizes.items():
            label = torch.randint(10, (n,), generator=generator)
            noise = torch.randint(-30, 30, (n, 25), generator=generator)
            levels = (patterns[label] + noise).view(n, 1, 5, 5)
            self.sets[split] = (levels, label if labelled else None)

    def levels(self, split):
        return self.sets[split][0].flatten(1).double()

    def size(self, split):
        return len(self.sets[split][0])

    def labels(self, split):
        return self.sets[split][1]

    def real(self, split, indices=None, device="cpu"):
        levels, label = self.sets[split]
        rows = torch.arange(len(levels)) if indices is None else indices
        image = levels[rows].float().div(127.5).sub(1)
        return ImageBatch(image, None if label is None else label[rows])


class Ring:
    """Points of three Gaussians."""

    name, fingerprint = "triangle", "f2"
    mixture = (torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), 0.02)

    def size(self, split):
        return 60_000

    def real(self, split, indices):
        generator = torch.Generator().manual_seed(1)
        label = torch.randint(3, (60_000,), generator=generator)
        points = self.mixture[0][label] + 0.02 * torch.randn(60_000, 2, generator=generator)
        return ImageBatch(points[indices])


def values(check, data=None, seed=0):
    """Values of a check by metric and split, after a trip through JSON."""
    scores = check(data, seed=seed, progress=False)
    assert [Score.from_json(json.loads(json.dumps(s.to_json()))) for s in scores] == scores
    return {(s.metric, s.protocol.split): s for s in scores}


def test_principal_components_as_in_scikit_learn():
    data = Digits()
    found = values(PCAReconstruction(components=4), data)
    x = {split: (data.levels(split) / 255).numpy() for split in ("train", "test")}
    theirs = PCA(4, svd_solver="full").fit(x["train"])
    for split in ("train", "test"):
        rebuilt = theirs.inverse_transform(theirs.transform(x[split]))
        error = np.square(rebuilt - x[split]).sum(1).mean()
        assert found["reconstruction_error", split].value == pytest.approx(error, rel=1e-6)
    assert found["reconstruction_error", "test"].protocol.n_real == 200


def test_parzen_by_its_definition():
    data = Digits()
    check = ParzenOfRealImages(n_samples=800, held_out=100, n_valid=60, n_test=150)
    train, test = ((data.levels(s) / 255).numpy() for s in ("train", "test"))

    def log_density(x, sigma):
        energy = np.square(x[:, None] - train[None, :800]).sum(-1) / (2 * sigma**2)
        return logsumexp(-energy, axis=1) - np.log(800) - 12.5 * np.log(2 * np.pi * sigma**2)

    sigmas = np.logspace(-1, 0, 10)
    best = sigmas[np.argmax([log_density(train[800:860], s).mean() for s in sigmas])]
    found = values(check, data, seed=3)  # all 800: the seed does not matter
    expected = log_density(test[:150], best)
    assert found["parzen_sigma", "test"].value == pytest.approx(best)
    assert found["parzen", "test"].value == pytest.approx(expected.mean(), rel=1e-5)
    assert found["parzen", "test"].ci == pytest.approx(expected.std(ddof=1) / math.sqrt(150))
    assert found["parzen", "test"].protocol.n_real == 150
    check.n_samples = 300
    some = [values(check, data, seed=s)["parzen", "test"].value for s in (0, 1)]
    assert some[0] != some[1]


@pytest.mark.parametrize("dimension", [2, 40])
def test_density_and_coverage_have_their_expectations_in_any_dimension(dimension):
    n, k, draws = 60, 5, 250
    check = PRDCOfEqualGaussians(n=n, dimension=dimension, k=k)
    runs = [values(check, seed=seed) for seed in range(draws)]
    coverage = 1 - math.prod((n - i) / (2 * n - i) for i in range(1, k + 1))
    for metric, expected in (("density", 1.0), ("coverage", coverage)):
        got = np.array([run[metric, ""].value for run in runs])
        assert abs(got.mean() - expected) < 4 * got.std() / math.sqrt(draws)
        assert got.std() / math.sqrt(draws) < 0.02


def test_a_set_without_a_class_has_other_bins():
    check = NDBOfRealImages(bins=10, n_train=500, n_query=350, lost=4)
    found = values(check, Digits())
    assert {split for _, split in found} == {"val", "test", "val without 4"}
    assert found["ndb", "val"].value == 0
    assert found["ndb", "val without 4"].value >= 1
    assert found["bin_js", "val without 4"].value > 3 * found["bin_js", "val"].value
    assert found["bin_js", "val"].protocol.n_real == 500
    assert found["bin_js", "test"].protocol.n_fake == 200
    assert found["bin_js", "val without 4"].protocol.n_fake == 350


def test_modes_of_true_points_come_to_the_closed_forms():
    runs = [values(MixtureModesOfTrueSamples(n=1000), Ring(), seed=s) for s in range(60)]
    assert {run["modes", ""].value for run in runs} == {3}
    quality = np.mean([run["high_quality", ""].value for run in runs])
    assert quality == pytest.approx(1 - math.exp(-4.5), abs=0.002)
    kl = np.mean([run["reverse_kl", ""].value for run in runs])
    assert kl == pytest.approx(2 / (2 * 1000 * quality), rel=0.4)


def test_modes_of_true_labels_come_to_the_expectation():
    data = Digits()
    p = data.labels("train").bincount(minlength=10).double() / 900
    uneven = float((p * (p * 10).log()).sum())
    runs = [values(ModesOfTrueLabels(n=300), data, seed=s) for s in range(400)]
    assert {run["modes", "train"].value for run in runs} == {10}
    kl = np.array([run["class_kl", "train"].value for run in runs])
    left = (900 - 300) / (900 - 1)  # of the variance, as they are drawn without replacement
    assert abs(kl.mean() - uneven - left * 9 / 600) < 3 * kl.std() / math.sqrt(400)
    assert kl.std() / math.sqrt(400) < 0.1 * left * 9 / 600


def test_nearest_neighbours_as_in_scikit_learn():
    data = Digits()
    noise = torch.randint(-150, 150, (200, 1, 5, 5), generator=torch.Generator().manual_seed(1))
    levels, label = data.sets["test"]
    data.sets["test"] = ((levels + noise).clamp(0, 255), label)
    theirs = KNeighborsClassifier(1).fit(data.levels("train")[:700], data.labels("train")[:700])
    error = 1 - theirs.score(data.levels("test")[:150], data.labels("test")[:150])
    (score,) = values(NearestNeighbourError(n_train=700, n_test=150, rows=40), data).values()
    assert score.value == pytest.approx(error)
    assert 0.02 < score.value < 0.9
    assert (score.protocol.n_fake, score.protocol.n_real) == (700, 150)


def test_the_gaussian_as_in_scipy():
    generator = torch.Generator().manual_seed(0)
    train = torch.randn(500, 6, generator=generator).double() @ torch.randn(6, 6).double()
    theirs = multivariate_normal(train.mean(0), np.cov(train.T, bias=True))
    got = gaussian_log_likelihood(train[:50], train)
    np.testing.assert_allclose(got.numpy(), theirs.logpdf(train[:50]), rtol=1e-9)


def test_bits_are_those_of_the_density_of_grey_levels():
    """Change of variables by autograd, from 256 x in [0, 256) to logits."""
    v = torch.rand(7, 3, dtype=torch.float64) * 256
    v.requires_grad_()
    y = logits(torch.zeros_like(v), v)
    (slope,) = torch.autograd.grad(y.sum(), v)
    log_p = torch.distributions.Normal(0.3, 2.0).log_prob(y).sum(1)
    expected = -(log_p + slope.log().sum(1)) / (3 * math.log(2))
    torch.testing.assert_close(bits_per_dim(log_p, y), expected)
    assert torch.autograd.gradcheck(lambda x: logits(x, x * 0), v)
    assert float(logits(torch.tensor(0.0), torch.tensor(0.0).double()).sigmoid()) == pytest.approx(
        ALPHA
    )


def test_the_gaussian_of_images_is_scored_in_both_spaces():
    found = values(GaussianInLogitSpace(n_train=800), Digits())
    nats, bits = (found[metric, "test"] for metric in ("log_likelihood", "bits_per_dim"))
    assert 4 < bits.value < 8  # noise of 60 levels is 5.9 bits, levels alike are 8
    assert nats.protocol.options["space"] == "logit, alpha 1e-06"
    assert replace(nats.protocol, options={}) == replace(bits.protocol, options={})
    assert nats.ci > 0
    assert values(GaussianInLogitSpace(800), Digits(), seed=1)["bits_per_dim", "test"] != bits


def test_independent_pixels_as_by_drawing():
    data = Digits()
    (score,) = values(IndependentBernoulli(), data).values()
    train, test = (data.levels(split) / 255 for split in ("train", "test"))
    coin = torch.distributions.Bernoulli((train.sum(0) + 1) / 902)
    torch.manual_seed(0)
    drawn = torch.stack([-coin.log_prob(torch.bernoulli(test)).sum(1) for _ in range(400)])
    assert score.value == pytest.approx(float(drawn.mean()), abs=0.03)
    assert score.ci == pytest.approx(float(drawn.mean(0).std()) / math.sqrt(200), rel=0.3)


SMALL = {
    "pca": (PCAReconstruction(3), Digits),
    "parzen": (ParzenOfRealImages(300, 100, 50), Digits),
    "prdc": (PRDCOfEqualGaussians(100, 10), None),
    "ndb": (NDBOfRealImages(10, 500, 100), Digits),
    "mixture": (MixtureModesOfTrueSamples(500), Ring),
    "labels": (ModesOfTrueLabels(500), Digits),
    "nearest": (NearestNeighbourError(), Digits),
    "gaussian": (GaussianInLogitSpace(500), Digits),
    "bernoulli": (IndependentBernoulli(), Digits),
}


@pytest.mark.parametrize("name", SMALL)
def test_checks_follow_from_their_seed_and_leave_random_states_alone(name, capfd):
    check, make = SMALL[name]
    data = make and make()
    before, legacy = torch.get_rng_state(), np.random.get_state()[1].copy()
    first = check(data, seed=5, progress=False)
    assert capfd.readouterr().err == ""
    torch.rand(3)
    assert check(data, seed=5, progress=True) == first
    torch.set_rng_state(before)
    assert (legacy == np.random.get_state()[1]).all()
    assert all(math.isfinite(s.value) and s.protocol.seed == 5 for s in first)
    assert len({(s.metric, s.protocol.split) for s in first}) == len(first)


@pytest.mark.parametrize("check", [NDBOfRealImages(), NearestNeighbourError()])
def test_checks_of_classes_refuse_data_without_labels(check):
    with pytest.raises(MetricError, match="labels"):
        check(Digits(labelled=False), seed=0, progress=False)


def test_every_check_has_a_file_of_answers():
    import lightning_gen.baselines.known as room

    stems = {f.stem for f in Path(room.__file__).parent.glob("*.py") if f.stem != "__init__"}
    targets = {load_known(name).check["_target_"].split(".")[-2] for name in KNOWN}
    assert stems == targets
    several = {"modes_ring", "modes_grid", "bicubic_digits", "mean_colour_digits"}
    assert set(KNOWN) - stems == several  # one check on two data sets


@cache
def measured(name, root):
    """Run a shipped check as its file says, with the seeds of its paper."""
    baseline = load_known(name)
    data = None
    if baseline.data:
        paths = [f"paths.data={root}", f"paths.cache={root}/cache"]
        data = instantiate(compose_data(baseline.data, paths))
        data.prepare_data()
        data.setup()
    check = instantiate(baseline.check)
    return baseline.paper, [
        Measured(seed, 0, check(data, seed=seed, progress=True)) for seed in baseline.paper.seeds
    ]


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in KNOWN]
)
def test_known_answers_are_reproduced(name, request, tmp_path):
    root = str(tmp_path) if name in QUICK else str(request.getfixturevalue("mnist_root"))
    paper, seeds = measured(name, root)
    rows = judge(paper, seeds)
    for row in rows:
        print(f"{name}: {row.metric} {dict(row.protocol).get('split', '')} {row.mean} {row.why}")
    assert {row.verdict for row in rows} == {"reproduced"}, rows


@pytest.mark.slow
def test_a_lost_class_weighs_more_than_other_writers_and_these_more_than_chance(mnist_root):
    _, seeds = measured("ndb_real", str(mnist_root))
    for seed in seeds:
        js = {s.protocol.split: s.value for s in seed.scores if s.metric == "bin_js"}
        assert js["val without 9"] > 2 * js["test"] > 4 * js["val"]
