"""Perplexity against what is known of Markov chains, and of text in bytes and characters."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from lightning_gen.data.text import SCALARS, Text
from lightning_gen.metrics.perplexity_evaluator import PerplexityEvaluator, windows
from lightning_gen.models.autoregressive.lstm import LSTM
from lightning_gen.networks.lstm import LSTM as Network


class Chain(nn.Module):
    """Logits of a Markov chain whose first token is uniform."""

    length = None

    def __init__(self, transitions):
        super().__init__()
        self.tokens = len(transitions)
        self.table = torch.cat([transitions, torch.ones(1, self.tokens)]).log()

    def forward(self, x):
        return self.table[nn.functional.pad(x[:, :-1], (1, 0), value=self.tokens)]


def model_of(network):
    model = LSTM(network=network, optimizers={})
    return model.eval()


def text(tmp_path, content, **options):
    path = tmp_path / f"{len(list(tmp_path.iterdir()))}.txt"
    path.write_text(content)
    options = {"batch_size": 1, "length": 16} | options
    data = Text(str(tmp_path / "data"), str(tmp_path), path=str(path), **options)
    data.prepare_data()
    data.setup()
    return data


def scores(model, data, **options):
    evaluation = PerplexityEvaluator(**options).evaluate(model, data).require()
    return {score.metric: score for score in evaluation.scores}


def test_a_uniform_model_has_the_perplexity_of_its_vocabulary(tmp_path):
    data = text(tmp_path, "A plain text of English words. " * 40)
    model = model_of(Chain(torch.ones(256, 256)))
    found = scores(model, data)
    assert found["perplexity"].value == pytest.approx(256, rel=1e-6)
    assert found["bits_per_byte"].value == pytest.approx(8, rel=1e-6)
    assert found["nats_per_token"].value == pytest.approx(math.log(256), rel=1e-6)
    assert found["perplexity"].name == "perplexity_bytes@0_test"
    assert found["perplexity"].protocol.options["stride"] == 8


@pytest.mark.parametrize(("context", "stride"), [(16, 1), (16, 8), (5, 3), (16, 16), (None, None)])
def test_a_markov_chain_is_scored_token_by_token(tmp_path, context, stride):
    draw = np.random.default_rng(0)
    p = torch.tensor(draw.dirichlet(np.ones(3), size=3)).float()
    tokens = [0]
    for _ in range(2500):
        tokens.append(int(draw.choice(3, p=p[tokens[-1]].double() / p[tokens[-1]].double().sum())))
    data = text(tmp_path, "".join("abc"[i] for i in tokens), tokens="characters", vocabulary=4)
    order = [data.ids(c).item() for c in "abc"]
    table = torch.full((4, 4), 1e-9)
    table[np.ix_(order, order)] = p
    test = torch.from_numpy(data.stream_of("test")[0].astype(np.int64))
    table = table / table.sum(1, keepdim=True)
    nats = torch.cat([torch.full((1,), math.log(4)), -table[test[:-1], test[1:]].log()])
    first, fresh = windows(len(test), context or 16, stride or 8)
    nats[first[fresh == 0]] = math.log(4)  # nothing is known of what came before
    assert (fresh == 0).sum() == (1 if stride != 16 else len(test) // 16)
    exact = nats.double().sum()
    found = scores(model_of(Chain(table)), data, context=context, stride=stride)
    assert found["nats_per_token"].value == pytest.approx(float(exact) / len(test), rel=1e-5)
    assert found["perplexity"].value == pytest.approx(math.exp(float(exact) / len(test)), rel=1e-5)
    assert (
        found["perplexity"].protocol.n_real == len(test) == found["bits_per_byte"].protocol.n_real
    )


@pytest.mark.parametrize("tokens", [16, 17, 24, 100])
@pytest.mark.parametrize("stride", [1, 5, 16])
def test_each_token_is_scored_once_with_enough_before_it(tokens, stride):
    first, fresh = windows(tokens, 16, stride)
    times = torch.zeros(tokens)
    for start, new in zip(first.tolist(), fresh.tolist(), strict=True):
        times[start + new : start + 16] += 1
        assert start == 0 or new >= 16 - stride
    assert (times == 1).all()


def test_bytes_and_characters_are_scored_in_the_same_bits(tmp_path):
    content = "吾輩は猫である。名前はまだ無い。" * 60
    of_bytes = text(tmp_path, content)
    of_characters = text(tmp_path, content, tokens="characters", vocabulary=20)
    uniform = scores(model_of(Chain(torch.ones(20, 20))), of_characters)
    assert uniform["bits_per_byte"].value == pytest.approx(math.log2(20) / 3, rel=1e-6)
    other = scores(model_of(Chain(torch.ones(256, 256))), of_bytes)["bits_per_byte"]
    assert uniform["bits_per_byte"].protocol.data_fingerprint == other.protocol.data_fingerprint
    assert uniform["bits_per_byte"].protocol.extractor == other.protocol.extractor == "text"


def test_unknown_characters_are_paid_for(tmp_path):
    data = text(tmp_path, "ab" * 180 + "ax" * 20, tokens="characters", vocabulary=3)
    found = scores(model_of(Chain(torch.ones(3, 3))), data)["bits_per_byte"]
    assert found.value == pytest.approx(math.log2(3) + math.log2(SCALARS) / 2, rel=1e-6)
    assert found.note == "20 of 40 characters are unknown"


def test_ranks_have_the_scores_of_one_process(tmp_path):
    data = text(tmp_path, "".join(chr(97 + i * i % 23) for i in range(9000)))
    torch.manual_seed(0)
    model = model_of(Network(tokens=256, width=4, hidden=8))
    evaluator = PerplexityEvaluator(stride=4)
    alone = evaluator.evaluate(model, data)
    heard = []

    def note(x):
        heard.append(x)
        return x.repeat(2, *[1] * (x.ndim - 1))

    evaluator.evaluate(model, data, gather=note, rank=1, world=2)
    others, calls = heard, iter(heard)

    def both(x):
        return torch.cat([x, next(calls)])

    together = evaluator.evaluate(model, data, gather=both, rank=0, world=2)
    assert [s.value for s in together.scores] == [s.value for s in alone.scores]
    assert len(others) == 4 and model.training is False


def test_only_so_many_tokens_and_only_of_texts(tmp_path):
    data = text(tmp_path, "abc" * 200)
    model = model_of(Network(tokens=256, width=4, hidden=8))
    assert scores(model, data, n_real=20)["perplexity"].protocol.n_real == 20
    model.network.length = 8
    refused = PerplexityEvaluator().evaluate(model, data)
    assert all(s.value is None for s in refused.scores)
    assert "metrics.context=8" in refused.scores[0].note
