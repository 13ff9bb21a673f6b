"""Models and data whose scores by methods are arithmetic, and evaluations by several processes."""

import threading
from contextlib import contextmanager

import torch
from torch import nn

from lightning_gen.core import ImageBatch
from tests.metrics.test_evaluator import Threads


class Real:
    """Given images (and labels) as a data module."""

    name, fingerprint, num_classes = "real", "f1", 3

    def __init__(self, test, labels=None, *, train=None, binarise=None, without=()):
        self.sets = {"train": (test if train is None else train, labels), "test": (test, labels)}
        self.binarise, self.without = binarise, list(without)
        self.splits, self.shape = tuple(self.sets), tuple(test.shape[1:])

    def size(self, split):
        return len(self.sets[split][0])

    def real(self, split, indices=None, device="cpu"):
        image, label = self.sets[split]
        rows = torch.arange(len(image)) if indices is None else indices
        return ImageBatch(image[rows], None if label is None else label[rows])


class Bare(nn.Module):
    """A model without any method; a test adds what it is about."""

    device = torch.device("cpu")
    has_ema, requires_labels = False, False
    likelihood_kind, likelihood_space = "exact", "binary"

    @contextmanager
    def raw_weights(self):
        yield


def images(n=150, side=4, seed=0):
    """Random bytes as images (n, 1, side, side) in [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    levels = torch.randint(0, 256, (n, 1, side, side), generator=generator)
    return levels.float() / 127.5 - 1


def black_and_white(n=150, side=4):
    return torch.where(images(n, side) > 0, 1.0, -1.0)


def values(evaluation):
    return {score.metric: score.value for score in evaluation.scores}


def notes(evaluation):
    """The one reason why there are no values."""
    assert all(score.value is None for score in evaluation.scores)
    (note,) = {score.note for score in evaluation.scores}
    return note


def by_processes(world, evaluate):
    """What each of several processes finds: evaluate(gather=, rank=, world=)."""
    threads, got = Threads(world), {}

    def run(rank):
        found = evaluate(gather=threads.gather_of(rank), rank=rank, world=world)
        got[rank] = [(s.name, s.value, s.ci, s.note) for s in found.scores]

    workers = [threading.Thread(target=run, args=(rank,)) for rank in range(world)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(got) == world
    return list(got.values())
