"""Scores of translations: planted translators whose scores are known, and independent truth."""

import json
import math

import numpy as np
import pytest
import torch
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from sklearn.metrics import confusion_matrix, jaccard_score

from lightning_gen.core import ImageBatch
from lightning_gen.errors import MetricError
from lightning_gen.metrics.adaptation_evaluator import AdaptationEvaluator
from lightning_gen.metrics.domains import Domains, Translated
from lightning_gen.metrics.label_maps import confusion, label_scores, nearest_label
from lightning_gen.metrics.paired import comparable_pixels, luma, psnr, ssim
from lightning_gen.metrics.translation_evaluator import TranslationEvaluator


class Negatives:
    """Digits (a) and negatives of the same digits (b), paired."""

    name, fingerprint, num_classes, gives = "negatives", "n1", 10, ("pairs", "paired")
    domains, splits = ("a", "b"), ("train_a", "train_b", "test_a", "test_b")
    palette = None

    def __init__(self, digits, n=400):
        self.of = {}
        for split in ("train", "test"):
            x, y = digits.real(split, torch.arange(n))
            self.of |= {f"{split}_a": (x, y), f"{split}_b": (-x, y)}

    def domain(self, split, name, *, inside=True):
        chosen = f"{split}_{name if inside else {'a': 'b', 'b': 'a'}[name]}"
        return chosen, torch.arange(self.size(chosen))

    def size(self, split):
        return len(self.of[split][0])

    def real(self, split, indices=None, device="cpu"):
        x, y = self.of[split]
        return ImageBatch(x, y) if indices is None else ImageBatch(x[indices], y[indices])


class Unpaired(Negatives):
    gives = ("pairs",)


class Translator:
    """A function of images for each direction."""

    device, requires_labels, has_ema = torch.device("cpu"), False, False

    def __init__(self, **ways):
        self.ways = ways
        self.targets = tuple(ways)

    def translate(self, x, to):
        return self.ways[to](x)


def negative(x):
    return -x


def same(x):
    return x


def values(model, data, **options):
    evaluation = TranslationEvaluator(kid_subset_size=50, **options).evaluate(model, data)
    return {f"{s.metric}_{s.protocol.split}": s for s in evaluation.scores}


@pytest.fixture(scope="module")
def paired(digits):
    return Negatives(digits)


@pytest.fixture(scope="module")
def unpaired(digits):
    return Unpaired(digits)


def test_the_true_translator(unpaired, tmp_path):
    found = values(Translator(b=negative, a=negative), unpaired, cache=str(tmp_path))
    for split in ("test_a", "test_b"):
        assert found[f"fid_{split}"].value == pytest.approx(0, abs=1e-3)
        assert found[f"cycle_l1_{split}"].value == 0
        assert found[f"identity_rate_{split}"].value == 0
    assert found["translated_accuracy_test_a"].value > 0.97  # negatives made digits again
    assert found["translated_accuracy_test_b"].value < 0.7
    assert found["fid_test_a"].name == "fid_mnist@400_test_a"
    assert not any(key.startswith(("psnr", "ssim", "l1", "pixel")) for key in found)
    for score in found.values():
        assert score.protocol.n_fake == 400 and json.dumps(score.to_json())


def test_a_translator_that_does_nothing(unpaired, tmp_path):
    found = values(Translator(b=same, a=same), unpaired, cache=str(tmp_path))
    assert found["identity_rate_test_b"].value == 1 and found["cycle_l1_test_b"].value == 0
    assert found["fid_test_b"].value > 20
    assert found["translated_accuracy_test_b"].value > 0.97  # still the digits they were


def test_one_way_has_no_cycle(paired, tmp_path):
    found = values(Translator(b=negative), paired, cache=str(tmp_path), n=100)
    assert not any(key.startswith("cycle") or key.endswith("_a") for key in found)
    assert math.isinf(found["psnr_test_b"].value) and found["l1_test_b"].value == 0
    assert found["ssim_test_b"].value == pytest.approx(1)
    assert found["psnr_test_b"].name == "psnr_rgb@100_test_b"


def test_pixels_need_no_network(paired):
    found = values(Translator(b=lambda x: -0.9 * x), paired, extractor=None, n=70)
    assert {s.metric for s in found.values()} == {"psnr", "ssim", "l1", "identity_rate"}
    x, y = (paired.of[s][0][:70].double() for s in ("test_a", "test_b"))
    assert found["l1_test_b"].value == pytest.approx(float((-0.9 * x - y).abs().mean()), rel=1e-4)
    each = (-0.9 * x - y).abs().mean((1, 2, 3))
    assert found["l1_test_b"].ci == pytest.approx(float(each.std()) / 70**0.5, rel=1e-4)


def test_no_direction_in_common(paired):
    with pytest.raises(MetricError, match="translates to"):
        values(Translator(c=same), paired)


def test_two_processes_score_as_one(unpaired, tmp_path):
    model = Translator(b=lambda x: -x.roll(1, 3), a=lambda x: -0.5 * x)
    evaluator = TranslationEvaluator(kid_subset_size=50, cache=str(tmp_path))
    one = evaluator.evaluate(model, unpaired)
    # Ranks take turns: what the other one makes is asked of a translator that it does not have.
    source = Translated(model, Domains(unpaired), "test", "b")
    blocks = [source.block(j) for j in range(7)]
    again = Translated(model, Domains(unpaired), "test", "b")
    assert all(torch.equal(again.block(j), blocks[j]) for j in reversed(range(7)))
    assert evaluator.evaluate(model, unpaired).scores == one.scores


@pytest.mark.parametrize("space", ["rgb", "y"])
@pytest.mark.parametrize("channels", [1, 3])
def test_psnr_and_ssim_are_those_of_scikit_image(space, channels):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(3, channels, 40, 36, generator=generator) * 2 - 1
    y = (x + 0.2 * torch.randn(x.shape, generator=generator)).clamp(-1, 1)
    border = 4
    a, b = (comparable_pixels(image, space, border) for image in (x, y))
    for i in range(3):
        pair = [((im[i] + 1) * 127.5).round().permute(1, 2, 0).double().numpy() for im in (x, y)]
        if space == "y" and channels == 3:
            pair = [rgb2ycbcr(im.astype(np.uint8))[..., :1] for im in pair]
        p, q = (im[border:-border, border:-border] for im in pair)
        assert float(psnr(a, b)[i]) == pytest.approx(
            peak_signal_noise_ratio(p, q, data_range=255), rel=1e-4
        )
        truth = structural_similarity(
            p,
            q,
            data_range=255,
            channel_axis=2,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        assert float(ssim(a, b)[i]) == pytest.approx(truth, abs=2e-3)


def test_luma_is_matlabs():
    x = torch.randint(0, 256, (2, 3, 5, 5)).float()
    truth = rgb2ycbcr(x.permute(0, 2, 3, 1).numpy().astype(np.uint8))[..., 0]
    assert np.allclose(luma(x)[:, 0].numpy(), truth, atol=1e-3)


def test_small_pictures_have_no_ssim():
    with pytest.raises(MetricError, match="smaller than SSIM's window"):
        ssim(torch.zeros(1, 1, 10, 30), torch.zeros(1, 1, 10, 30))


def test_label_scores_are_those_of_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(0, 3, (4, 9, 9), generator=generator)  # class 3 is not there
    found = torch.where(torch.rand(truth.shape, generator=generator) < 0.6, truth, 3)
    counts = confusion(found, truth, 4)
    flat = truth.flatten().numpy(), found.flatten().numpy()
    assert (counts.numpy() == confusion_matrix(*flat, labels=range(4))).all()
    scores = label_scores(counts)
    assert scores.pixel_accuracy == pytest.approx(float((truth == found).double().mean()))
    iou = jaccard_score(*flat, labels=range(3), average=None)
    assert scores.mean_iou == pytest.approx(iou.mean())


def test_label_maps_are_read_by_colour(paired):
    class Maps(Negatives):
        palette = ((0, 0, 0), (255, 255, 255))

        def real(self, split, indices=None, device="cpu"):
            x, y = super().real(split, indices, device)
            return ImageBatch((x > 0).float().mul(2).sub(1).expand(-1, 3, -1, -1), y)

    maps = Maps.__new__(Maps)
    maps.of = paired.of
    perfect = values(Translator(b=lambda x: -0.6 * x), maps, extractor=None)
    assert perfect["pixel_accuracy_test_b"].value == perfect["mean_iou_test_b"].value == 1
    black = values(Translator(b=lambda x: torch.full_like(x, -1)), maps, extractor=None)
    assert black["class_accuracy_test_b"].value == 0.5
    assert nearest_label(torch.full((1, 3, 2, 2), 200.0), torch.tensor(maps.palette)).all()


def test_adaptation_teaches_what_source_images_do_not(paired):
    evaluator = AdaptationEvaluator(steps=60, batch_size=64)
    scores = evaluator.evaluate(Translator(b=negative), paired).scores
    found = {s.metric: s.value for s in scores}
    assert found["adapted_accuracy"] == found["target_accuracy"] > 0.6
    assert found["source_only_accuracy"] < found["adapted_accuracy"] - 0.2
    assert scores[0].name == "source_only_accuracy_lenet@400_test_b"
    nothing = evaluator.evaluate(Translator(b=same), paired).scores
    assert nothing[1].value == nothing[0].value == found["source_only_accuracy"]


def test_adaptation_needs_labels(paired):
    class Unlabelled(Negatives):
        def real(self, split, indices=None, device="cpu"):
            return ImageBatch(super().real(split, indices, device).image)

    data = Unlabelled.__new__(Unlabelled)
    data.of = paired.of
    scores = AdaptationEvaluator(steps=1).evaluate(Translator(b=same), data).scores
    assert all(s.value is None and "both domains need labels" in s.note for s in scores)
