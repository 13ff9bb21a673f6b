"""FID, KID and IS equal torch-fidelity's on the same features, to 1e-6 relative."""

import hashlib
import io

import numpy as np
import pytest
import torch
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kernel_mmd, kid_features_to_metric

from lightning_gen.metrics.extractors import Inception2015, MNISTClassifier
from lightning_gen.metrics.fid import FrechetDistance
from lightning_gen.metrics.inception_score import ClassifierScore
from lightning_gen.metrics.kid import KernelDistance
from lightning_gen.randomness import fold


def fid(real, fake):
    metric = FrechetDistance(real.shape[1])
    metric.update(real, real=True)
    metric.update(fake, real=False)
    return float(metric.compute())


def fidelity_fid(real, fake):
    sides = [fid_features_to_statistics(side.double()) for side in (real, fake)]
    return fid_statistics_to_metric(*sides, verbose=False)["frechet_inception_distance"]


def kid(real, fake, **kwargs):
    metric = KernelDistance(**kwargs)
    metric.update(real, real=True)
    metric.update(fake, real=False)
    return [float(value) for value in metric.compute()]


@pytest.fixture(scope="module")
def sides():
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(48, 48, generator=generator)
    real = (torch.randn(1200, 48, generator=generator) @ mix).relu()
    return real, (torch.randn(900, 48, generator=generator) @ mix + 1).relu()


def test_fid(sides):
    assert fid(*sides) == pytest.approx(fidelity_fid(*sides), rel=1e-6)


def test_kid_of_one_whole_subset(sides):
    real, fake = (side[:500] for side in sides)
    theirs = kid_features_to_metric(
        fake.double(), real.double(), kid_subsets=1, kid_subset_size=500, verbose=False
    )
    mean, _ = kid(real, fake, subsets=1, subset_size=500)
    assert mean == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-6)


def test_kid_of_random_subsets(sides):
    real, fake = (side.double() for side in sides)
    subsets = []
    with torch.random.fork_rng():
        torch.manual_seed(fold(7, "kid"))
        for _ in range(5):
            a, b = (side[torch.randperm(len(side))[:200]].numpy() for side in (real, fake))
            subsets.append(kernel_mmd(a, b, kid_kernel="poly"))
    mean, deviation = kid(real, fake, subsets=5, subset_size=200, seed=7)
    assert mean == pytest.approx(np.mean(subsets), rel=1e-6)
    assert deviation == pytest.approx(np.std(subsets), rel=1e-6)


def test_inception_score(sides):
    logits = sides[0][:, :10] / 3
    metric = ClassifierScore(splits=10, seed=3)
    metric.update(logits)
    mean, deviation = (float(value) for value in metric.compute())
    with torch.random.fork_rng():
        torch.manual_seed(fold(3, "inception_score"))
        shuffled = logits[torch.randperm(len(logits))]
    theirs = isc_features_to_metric(shuffled, splits=10, shuffle=False)
    assert mean == pytest.approx(theirs["inception_score_mean"], rel=1e-6)
    unbiased = theirs["inception_score_std"] * (10 / 9) ** 0.5
    assert deviation == pytest.approx(unbiased, rel=1e-6)


def test_metrics_leave_torchs_generator_alone(sides):
    before = torch.get_rng_state()
    kid(*sides, subsets=2, subset_size=50)
    score = ClassifierScore()
    score.update(sides[0])
    score.compute()
    assert torch.equal(before, torch.get_rng_state())


class Blank(FeatureExtractorInceptionV3):
    """torch-fidelity's network as its constructor leaves it: with random weights."""

    def load_state_dict(self, *args, **kwargs):
        pass


@pytest.fixture(scope="module")
def random_inception(tmp_path_factory):
    """torch-fidelity's Inception with random weights, and the file they were saved to."""
    nothing = io.BytesIO()
    torch.save({}, nothing)
    nothing.seek(0)
    torch.manual_seed(0)
    network = Blank("blank", ["2048", "logits_unbiased"], nothing)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save(network.state_dict(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    return network, path.rename(path.with_name(f"weights-random-{digest}.pth"))


def test_random_inception_from_a_file(random_inception):
    theirs, path = random_inception
    ours = Inception2015(str(path))
    assert ours.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert not any(module.training for module in ours.train().modules())
    assert not any(p.requires_grad for p in ours.parameters())
    images = torch.randint(0, 256, (6, 1, 28, 28), dtype=torch.uint8)
    with torch.autocast("cpu", torch.bfloat16):
        features, logits = ours(images / 127.5 - 1)
    expected, expected_logits = theirs(images.expand(-1, 3, -1, -1))
    assert features.dtype == torch.float32
    assert torch.equal(features, expected)
    assert torch.equal(logits, expected_logits)
    few = slice(0, 40)  # 2048 features need 2049 samples; their first 40 serve as well
    side = (features[:3, few].repeat(50, 1) + torch.randn(150, 40) * features.std()).split(75)
    assert fid(*side) == pytest.approx(fidelity_fid(*side), rel=1e-6)


def test_features_of_digits():
    images = torch.rand(400, 1, 28, 28) * 2 - 1
    images[:200] *= torch.linspace(0, 1, 28)
    features = MNISTClassifier()(images).features
    real, fake = features[:200], features[200:]
    assert fid(real, fake) == pytest.approx(fidelity_fid(real, fake), rel=1e-6)
