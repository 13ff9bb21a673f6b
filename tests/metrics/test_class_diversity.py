"""MS-SSIM within classes: pairs, whose classes, and samples that are all alike."""

import pytest
import torch
from torch.nn.functional import interpolate

from lightning_gen.core import ImageBatch
from lightning_gen.functional.ms_ssim import ms_ssim
from lightning_gen.metrics.class_diversity import classes_of, similarities
from lightning_gen.metrics.evaluator import FeatureEvaluator
from lightning_gen.metrics.feature_pass import pixels_of
from lightning_gen.randomness import fold
from tests.metrics.stubs import Data, Model, TinyExtractor


class Labelled(Data):
    """Images of a class are a pattern of it and noise."""

    def __init__(self, n=500):
        super().__init__(n)
        self.labels = torch.arange(n) % 4
        self.patterns = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(9)) * 2 - 1
        for split, noise in self.of.items():
            self.of[split] = (self.patterns[self.labels] + noise) / 2

    def real(self, split, indices, device="cpu"):
        return ImageBatch(super().real(split, indices).image, self.labels[indices])


def evaluate(folder, model, data=None, **options):
    settings = {"n_fake": 300, "metrics": ["class_diversity"], "cache": str(folder)}
    ours = FeatureEvaluator(TinyExtractor(), **(settings | options))
    evaluation = ours.evaluate(model, data or Labelled())
    return {score.metric: score for score in evaluation.scores}, evaluation


@pytest.fixture
def pixels():
    coarse = torch.rand(40, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    smooth = interpolate(coarse + coarse[:1], (64, 64), mode="bilinear")
    return (smooth * 127).to(torch.uint8)


def test_all_pairs_of_different_images_and_no_other(pixels):
    """Over many pairs the mean is that of all pairs of different images, each counted alike."""
    labels = torch.tensor([0, 1, 1, 0, 1, 2] + [3] * 34)
    few = [0, 3], [1, 2, 4]
    expected = []
    for members in few:
        x = pixels[members] / 255
        pairs = [(i, j) for i in range(len(x)) for j in range(len(x)) if i != j]
        first, second = (torch.stack([x[k] for k in side]) for side in zip(*pairs, strict=True))
        expected.append(float(ms_ssim(first, second).mean()))
    found = similarities(lambda i: pixels[i], labels, [0, 1, 2], pairs=2000)
    assert found[:2].tolist() == pytest.approx(expected, rel=0.03)
    assert found[2].isnan()  # a class of one image


def test_pairs_follow_from_seed_and_class(pixels):
    labels = torch.arange(40) % 2
    before = torch.get_rng_state()
    both = similarities(lambda i: pixels[i], labels, [0, 1])
    assert torch.equal(both, similarities(lambda i: pixels[i], labels, [0, 1]))
    assert both[1] == similarities(lambda i: pixels[i], labels, [1])[0]
    assert not torch.equal(both, similarities(lambda i: pixels[i], labels, [0, 1], seed=1))
    assert torch.equal(before, torch.get_rng_state())


def test_only_so_many_classes_are_looked_at(tmp_path):
    scores, _ = evaluate(tmp_path, Model(requires_labels=True), ssim_classes=2)
    assert scores["ms_ssim"].protocol.options["n_classes"] == 2
    all_of_them, _ = evaluate(tmp_path, Model(requires_labels=True), ssim_classes=None)
    assert scores["ms_ssim"].value != all_of_them["ms_ssim"].value
    assert all_of_them["ms_ssim"].protocol.options["n_classes"] == 4


def test_classes_are_spread_evenly():
    assert classes_of(10, None) == list(range(10)) == classes_of(10, 10)
    assert classes_of(1000, 10) == list(range(0, 1000, 100))
    assert classes_of(1, 10) == [0]


def test_one_image_of_each_class_asked_for(tmp_path):
    data = Labelled()
    same = Model(lambda x, labels: data.patterns[labels], requires_labels=True)
    scores, evaluation = evaluate(tmp_path, same, data)
    assert scores["ms_ssim"].value == pytest.approx(1, abs=1e-5)
    assert scores["diverse_classes"].value == 0
    assert evaluation.extras["ms_ssim_excess"] > 0.1
    how = scores["ms_ssim"].protocol
    assert scores["ms_ssim"].name == "ms_ssim_pixels@300_train"
    assert (how.n_real, how.resize) == (500, "bilinear-64")
    assert how.options == {"pairs": 100, "classes": "asked", "n_classes": 4}


def test_as_diverse_as_the_data(tmp_path):
    data = Labelled()

    def truth(x, labels):
        return (data.patterns[labels] + x) / 2

    scores, _ = evaluate(tmp_path, Model(truth, requires_labels=True), data)
    assert scores["ms_ssim"].value == pytest.approx(scores["ms_ssim_real"].value, abs=0.03)
    assert scores["diverse_classes"].value >= 0.5


def test_classes_that_the_extractor_sees(tmp_path):
    scores, _ = evaluate(tmp_path, Model())
    assert scores["ms_ssim"].protocol.options["classes"] == "tiny 00"
    assert 0 < scores["ms_ssim"].value < 0.9
    network = TinyExtractor()
    network.knows_classes = False
    ours = FeatureEvaluator(network, n_fake=300, metrics=["class_diversity"], cache=str(tmp_path))
    (score, *_) = ours.evaluate(Model(), Labelled()).scores
    assert score.protocol.options == {"pairs": 100, "classes": "one", "n_classes": 1}
    assert score.value is not None


def test_data_without_labels_are_sorted_by_the_extractor(tmp_path):
    data = Data()
    scores, _ = evaluate(tmp_path, Model(), data)
    assert scores["ms_ssim_real"].value == pytest.approx(scores["ms_ssim"].value, abs=0.05)
    reads = data.reads
    evaluate(tmp_path, Model(), data)
    assert data.reads == reads  # the real side is made once


def test_too_few_samples_are_refused(tmp_path):
    scores, _ = evaluate(tmp_path, Model(requires_labels=True), n_fake=4)
    assert "no class has two generated images" in scores["ms_ssim"].note


def test_classes_without_samples_are_left_out_on_both_sides(tmp_path):
    data = Labelled()
    scores, _ = evaluate(tmp_path, Model(lambda x, _: 0.3 + 0.001 * x), data)
    seen = TinyExtractor()(torch.full((1, 1, 8, 8), 0.3)).logits.argmax(1)
    shuffle = torch.Generator().manual_seed(fold("real", "train"))
    rows = torch.randperm(500, generator=shuffle)
    pixels = pixels_of(data.of["train"][rows])
    expected = similarities(lambda i: pixels[i], data.labels[rows], seen.tolist())
    assert scores["ms_ssim_real"].value == pytest.approx(float(expected), rel=1e-6)
    assert scores["ms_ssim"].value > 0.99
