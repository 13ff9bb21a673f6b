"""The error of a categorical code: matchings by brute force, honest splits, untouched models."""

import itertools
import threading
from dataclasses import asdict

import pytest
import torch
from torch import nn

from lightning_gen.config.compose import check_overrides, instantiate
from lightning_gen.core import ImageBatch
from lightning_gen.metrics.code_evaluator import CodeEvaluator, majority, one_to_one
from tests.metrics.stubs import Model
from tests.metrics.test_evaluator import Threads

SCORES = ["code_error", "code_error_one_to_one"]


class Written:
    """Images of one pixel, which holds the category that Q is to read, and labels."""

    name, num_classes, fingerprint = "written", 3, "f1"
    splits: tuple[str, ...] = ("train", "test")

    def __init__(self, **sets):
        self.sets = sets

    def size(self, split):
        return len(self.sets[split][0])

    def real(self, split, indices, device="cpu"):
        image, label = self.sets[split]
        return ImageBatch(image[indices], None if label is None else label[indices])


class Reading(nn.Module):
    """A model whose code is what stands in the pixel."""

    device = torch.device("cpu")

    def __init__(self):
        super().__init__()
        self.D = nn.BatchNorm2d(1, affine=False, eps=0.0)

    def classify(self, x):
        return self.D(x).flatten().round().long()


def written(*, categories, labels, test=None):
    pixels = torch.tensor(categories).float().view(-1, 1, 1, 1)
    whole = (pixels, torch.tensor(labels))
    return Written(train=whole, test=test or whole)


def errors(data, model=None, **arguments):
    evaluation = CodeEvaluator(**arguments).evaluate(model or Reading(), data).require()
    assert [s.metric for s in evaluation.scores] == SCORES
    return [s.value for s in evaluation.scores]


@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5), (1, 4)])
def test_matchings_are_the_best_of_all(shape):
    counts = torch.randint(0, 50, shape, generator=torch.Generator().manual_seed(0))
    K, C = shape
    every = [dict(enumerate(names)) for names in itertools.product(range(C), repeat=K)]
    right = [sum(int(counts[k, c]) for k, c in names.items()) for names in every]
    found = majority(counts)
    assert sum(int(counts[k, c]) for k, c in enumerate(found.tolist())) == max(right)

    def pairs():
        n = min(K, C)
        for some in itertools.permutations(range(K), n):
            for classes in itertools.permutations(range(C), n):
                yield sum(int(counts[k, c]) for k, c in zip(some, classes, strict=True))

    found = one_to_one(counts)
    named = [(k, c) for k, c in enumerate(found.tolist()) if c >= 0]
    assert len({c for _, c in named}) == len(named) == min(K, C)
    assert sum(int(counts[k, c]) for k, c in named) == max(pairs())


def test_two_categories_for_one_digit():
    # Digit 0 has categories 0 and 1, and category 2 has digits 1 and 2.
    data = written(categories=[0, 0, 0, 1, 1, 2, 2, 2], labels=[0, 0, 0, 0, 0, 1, 1, 2])
    assert errors(data) == [1 / 8, 3 / 8]


def test_the_names_of_the_categories_do_not_matter():
    generator = torch.Generator().manual_seed(1)
    code, labels = torch.randint(0, 6, (2, 300), generator=generator)
    order = torch.randperm(6, generator=generator)
    first = errors(written(categories=code.tolist(), labels=labels.tolist()))
    assert first == errors(written(categories=order[code].tolist(), labels=labels.tolist()))
    assert first[0] <= first[1] <= 5 / 6


def test_names_come_from_training_images_unless_asked_otherwise():
    test = (torch.tensor([0.0, 0, 1, 3]).view(-1, 1, 1, 1), torch.tensor([1, 1, 0, 1]))
    data = written(categories=[0, 0, 1], labels=[0, 0, 1], test=test)
    assert errors(data) == [1.0, 1.0]
    assert errors(data, match="test") == [0.0, 1 / 4]  # 0 and 3 are both digit 1
    assert errors(data, match="test", n_match=2, n_real=3) == [1 / 3, 1 / 3]  # 1 has no name


def test_the_protocol_says_all_this_and_the_error_its_spread():
    data = written(categories=[0, 0, 1, 1], labels=[0, 1, 1, 1])
    (score, _) = CodeEvaluator(n_match=3).evaluate(Reading(), data, n_fake=7).scores
    assert score.name == "code_error_Q@0_test"
    assert asdict(score.protocol) | {"options": {}} == {
        "extractor": "Q", "extractor_sha256": "", "resize": "", "n_real": 4, "n_fake": 0,
        "split": "test", "weights": "raw", "seed": 0, "data_fingerprint": "f1", "options": {},
    }  # fmt: skip
    assert score.protocol.options == {
        "matched_on": "train", "n_match": 3, "ci": "standard error over test points",
    }  # fmt: skip
    assert (score.value, score.ci) == (0.25, pytest.approx((0.25 * 0.75 / 4) ** 0.5))


def test_the_model_is_read_in_evaluation_mode_and_left_as_it_was():
    data = written(categories=[0, 1, 2] * 50, labels=[2, 0, 1] * 50)
    model = Reading()
    model.eval().D.train()  # by batch statistics 0, 1, 2 would be read as -1, 0, 1
    before = {k: v.clone() for k, v in model.state_dict().items()}
    assert errors(data, model) == [0.0, 0.0]
    assert model.D.training and not model.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_what_cannot_be_scored_has_a_note():
    data = written(categories=[0, 1], labels=[0, 1])
    plain = Model()
    plain.modules, plain.eval = lambda: [], lambda: None
    for score in CodeEvaluator().evaluate(plain, data).scores:
        assert (score.value, score.note) == (None, "Model reads no category from images")
    data.sets["test"] = (data.sets["test"][0], None)
    for score in CodeEvaluator().evaluate(Reading(), data).scores:
        assert score.value is None
        assert "labels" in score.note


def test_any_number_of_processes_has_the_same_error():
    generator = torch.Generator().manual_seed(2)
    code, labels = torch.randint(0, 4, (2, 500), generator=generator)
    data = written(categories=code.tolist(), labels=labels.tolist())
    threads, got = Threads(3), {}

    def run(rank):
        found = CodeEvaluator().evaluate(
            Reading(), data, gather=threads.gather_of(rank), rank=rank, world=3
        )
        got[rank] = [s.value for s in found.require().scores]

    workers = [threading.Thread(target=run, args=(rank,)) for rank in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert list(got.values()) == [errors(data)] * 3


def test_infogans_code_of_real_digits(digits):
    torch.manual_seed(0)
    words = ["model=infogan", "model.G.width=4", "model.G.units=16"]
    words += ["model.D.width=4", "model.D.units=16", "metrics=code"]
    config = check_overrides([*words, "metrics.n_match=2000", "metrics.n_real=500"])
    evaluation = instantiate(config["metrics"]).evaluate(instantiate(config["model"]), digits)
    majority_error, pair_error = (score.value for score in evaluation.require().scores)
    assert 0.3 < majority_error <= pair_error < 0.95  # untrained: it knows little, and is no oracle
    assert evaluation.scores[0].protocol.options["n_match"] == 2000
