"""Transformers and recurrent networks over text and pixels, and what is exact about them."""

import itertools
import json
import math

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from torch.nn.functional import log_softmax
from torch.utils.data import DataLoader

from lightning_gen.callbacks.pages import page
from lightning_gen.cli.arguments import bind
from lightning_gen.cli.sample import main as sample_verb
from lightning_gen.cli.sample import sample
from lightning_gen.cli.settings import set_sampling
from lightning_gen.config.compose import check_overrides, instantiate
from lightning_gen.core import ImageBatch
from lightning_gen.errors import ConfigError
from lightning_gen.functional.decoding import choose, continued
from lightning_gen.models.autoregressive.autoregressive import AutoregressiveModule
from lightning_gen.runs.session import train
from tests.data.test_text import JAPANESE

V, LENGTH, N = 7, 12, 5
TINY = {"width": 8, "hidden": 9, "layers": 2, "heads": 2, "dropout": 0.0, "tokens": V}
NAMES = ["gpt", "lstm"]


def shrunk(node, sizes):
    if not isinstance(node, dict):
        return node
    return {k: sizes[k] if k in sizes else shrunk(v, sizes) for k, v in node.items()}


def build(name, **sizes):
    node = check_overrides([f"model={name}", "data=text", f"data.length={LENGTH}"])["model"]
    torch.manual_seed(0)
    model = instantiate(shrunk(node, TINY | sizes)).eval()
    with torch.no_grad():  # GPT's initial weights hardly tell tokens apart
        for parameter in model.parameters():
            parameter.mul_(5)
    return model


def pixels(resolution=3, channels=1, likelihood="bernoulli", **sizes):
    words = ["model=image_gpt", "data=mnist", f"model.likelihood={likelihood}"]
    sizes = {k: v for k, v in (TINY | sizes).items() if k not in {"tokens"}}
    sizes |= {"resolution": resolution, "channels": channels}
    torch.manual_seed(0)
    model = instantiate(shrunk(check_overrides(words)["model"], sizes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(5)
    return model


def tokens(n=N, t=LENGTH):
    return torch.randint(V, (n, t), generator=torch.Generator().manual_seed(3))


def fit(model, x, iterations):
    batches = DataLoader([ImageBatch(x)] * iterations, batch_size=None)
    options = dict.fromkeys(
        ["logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"], False
    )
    pl.Trainer(accelerator="cpu", devices=1, max_epochs=1, **options).fit(model, batches)
    return model.eval()


@pytest.mark.parametrize("name", [*NAMES, "image_gpt"])
def test_each_token_is_told_from_those_before_it_and_from_all_of_them(name):
    network = (pixels(4) if name in {"image_gpt"} else build(name)).network
    x, t = tokens() % network.tokens, LENGTH
    seen = []

    def keep(module, inputs, output):
        output.retain_grad()
        seen.append(output)

    network.embedding.register_forward_hook(keep)
    for place in range(t):
        logits = network(x)
        logits[:, place].square().sum().backward()
        reached = seen.pop().grad.abs().sum((0, 2)) > 0
        assert reached.tolist() == [i <= place for i in range(t)]  # of inputs: the start first


@pytest.mark.parametrize("name", NAMES)
def test_teacher_forced_likelihood_is_the_product_of_what_was_drawn_from(name):
    model, parts = build(name), []

    def choosing(logits, u):
        k = choose(logits, u)
        parts.append(log_softmax(logits, -1).gather(1, k[:, None])[:, 0])
        return k

    nothing = torch.empty(N, 0, dtype=torch.long)
    with torch.no_grad():
        x = continued(model.network, nothing, torch.rand(N, LENGTH), choosing)
    torch.testing.assert_close(model.log_likelihood(x), torch.stack(parts).sum(0))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("prompt", "length"), [(0, LENGTH), (1, 40), (30, 9)])
def test_the_cache_changes_no_token(name, prompt, length):
    model = build(name)
    model.length, start = length, tokens(1, prompt)[0]
    texts = [
        model.continue_from(start, N, generator=torch.Generator().manual_seed(1), cached=cached)
        for cached in (True, False)
    ]
    assert torch.equal(*texts) and texts[0].shape == (N, prompt + length)
    assert (texts[0][:, :prompt] == start).all() and texts[0].max() < V


@pytest.mark.parametrize("name", NAMES)
def test_the_cache_changes_no_logit(name):
    network, x = build(name).network, tokens()
    inputs = torch.cat([torch.full((N, 1), V), x[:, :-1]], 1)
    with torch.no_grad():
        whole, cache = network(x), network.begin(N)
        parts = [network.step(part, cache) for part in inputs.split([3, 4, *[1] * (LENGTH - 7)], 1)]
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_samples_follow_from_the_generator_and_have_no_labels(name):
    model = build(name)
    a, b, c = (model.sample(N, generator=torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert a.shape == (N, LENGTH) and a.dtype == torch.int64
    with pytest.raises(ValueError, match="conditional"):
        model.sample(N, labels=torch.zeros(N).long())


@pytest.mark.parametrize("name", NAMES)
def test_cold_samples_are_greedy(name):
    model = build(name)
    model.temperature = 0.0
    cold = model.sample(N)
    model.temperature, model.top_k = 1.0, 1
    assert torch.equal(model.sample(N), cold)
    model.temperature, model.top_k = 1e-6, None
    assert torch.equal(model.sample(N), cold)
    with torch.no_grad():
        assert torch.equal(model.network(cold).argmax(-1), cold)


def test_tokens_are_drawn_as_often_as_they_are_probable():
    logits = torch.tensor([2.0, -torch.inf, 1.0, 0.0, -1.0])
    u = (torch.arange(20_000) + 0.5) / 20_000
    for temperature, top_k, p in (
        (1.0, None, logits.softmax(0)),
        (0.5, None, (2 * logits).softmax(0)),
        (1.0, 2, torch.tensor([2.0, -torch.inf, 1.0, -torch.inf, -torch.inf]).softmax(0)),
        (1.0, 99, logits.softmax(0)),
    ):
        k = choose(logits.expand(20_000, -1), u, temperature=temperature, top_k=top_k)
        torch.testing.assert_close(k.bincount(minlength=5) / 20_000, p, atol=1e-4, rtol=0)
    ends = torch.tensor([0.0, 1 - 2**-24])
    hidden = torch.tensor([-torch.inf, 0.0, 0.1, -torch.inf]).expand(2, -1)
    assert choose(hidden, ends).tolist() == [1, 2]  # never what has no probability


@pytest.mark.parametrize("name", [*NAMES, "image_gpt"])
def test_training_lowers_the_loss_and_moves_every_parameter(name):
    if name in {"image_gpt"}:
        model, x = pixels(), (torch.rand(16, 1, 3, 3) < 0.2).float() * 2 - 1
    else:
        model, x = build(name), (torch.arange(LENGTH) + torch.arange(16)[:, None]) % V
    before = [p.clone() for p in model.parameters()]
    start = model.log_likelihood(x).mean()
    fit(model, x, 20)
    assert model.log_likelihood(x).mean() > start
    assert all(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_dropout_is_of_training_alone():
    model = build("gpt", dropout=0.5).train()
    x = tokens()
    assert torch.equal(model.log_likelihood(x), model.log_likelihood(x)) and model.training
    assert not torch.equal(model.log_probs(x), model.log_probs(x))


@pytest.mark.parametrize("side", [2, 3])
def test_probabilities_of_all_binary_images_sum_to_one(side):
    model = pixels(side)
    bits = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=side**2)))
    p = model.log_likelihood(bits.view(-1, 1, side, side)).exp()
    assert p.sum().item() == pytest.approx(1, abs=1e-5) and p.std() > 0
    if side == 2:
        images = model.sample(4000, generator=torch.Generator().manual_seed(0))
        index = ((images.flatten(1) > 0) * torch.tensor([8, 4, 2, 1])).sum(1)
        error = (index.bincount(minlength=16) / 4000 - p).abs()
        assert (error < 5 * (p * (1 - p) / 4000).sqrt() + 1e-4).all()


@pytest.mark.parametrize(
    ("channels", "likelihood"), [(1, "bernoulli"), (3, "bernoulli"), (2, "categorical")]
)
def test_cached_pixels_are_those_of_the_whole_network(channels, likelihood):
    model = pixels(3, channels, likelihood)
    u = torch.rand(N, channels, 3, 3)
    with torch.no_grad():
        x = model.draw_pixels(u)
        assert torch.equal(AutoregressiveModule.draw_pixels(model, u), x)
        changed = x.clone()
        changed[:, -1, 1, 1] *= -1
        same = (model.logits(x) == model.logits(changed)).all(1).all(0)
    seen = torch.zeros(3, 3, channels, dtype=torch.bool).flatten()
    seen[: 5 * channels] = True  # row by row, channels of a pixel after one another
    assert torch.equal(same, seen.view(3, 3, channels).permute(2, 0, 1))


def test_codes_are_of_each_image():
    model = pixels(4)
    x = torch.where(torch.rand(N, 1, 4, 4) < 0.5, 1.0, -1.0)
    codes = model.encode(x)
    assert codes.shape == (N, 8) and not codes.requires_grad
    torch.testing.assert_close(model.encode(x[:2]), codes[:2])
    assert codes.unique(dim=0).shape == codes.shape


def test_settings_of_samplers_are_checked_before_any_is_changed():
    model = build("gpt")
    set_sampling(model, bind(sample, ["run=x", "model.temperature=0.5", "model.top_k=3"])["model"])
    assert (model.temperature, model.top_k) == (0.5, 3)
    set_sampling(model, {"top_k": "null"})
    assert model.top_k is None
    for name, text, says in (
        ("temperature", "-1", "greater than or equal to 0"),
        ("temperature", "nan", "model.temperature=nan"),
        ("top_k", "0.5", "model.top_k"),
        ("length", "null", "model.length"),
        ("network", "x", "no setting 'network'"),
    ):
        with pytest.raises(ConfigError, match=says):
            set_sampling(model, {"length": "3", name: text})
        assert (model.temperature, model.top_k, model.length) == (0.5, None, LENGTH)


def test_a_page_has_every_line():
    short, long = page(["a"]), page(["a\nb\n日本語 $x^2$\x07\t" + "word " * 60])
    assert short.width == long.width and long.height > 2 * short.height
    assert np.asarray(long).std() > 0


def test_a_model_of_japanese_trains_samples_and_goes_on_from_a_prompt(tmp_path, capsys):
    (tmp_path / "text.txt").write_text(JAPANESE)
    sizes = ["width=8", "layers=1", "heads=2"]
    words = [
        *("model=gpt", "data=text", f"data.path={tmp_path}/text.txt", "data.tokens=characters"),
        *("data.vocabulary=300", "data.length=16", "data.batch_size=8", "budget.images=24"),
        *("logger=none", "trainer=cpu", "trainer.threads=1", "callbacks.progress=null"),
        *(f"model.network.{size}" for size in sizes),
        *(f"paths.{key}={tmp_path}/{key}" for key in ("data", "runs", "cache")),
    ]
    run = train(check_overrides(words), ["test"])
    names = {row["name"] for row in run.last_scores()["scores"]}
    assert {"perplexity_characters@0_test", "bits_per_byte_text@0_test"} <= names
    files = sorted(p.name for p in (run.path / "samples").iterdir())
    assert files == [f"{k}-{n:012d}{e}" for k, n in (("real", 0), ("samples", 0), ("samples", 24))
                     for e in (".png", ".txt")]  # fmt: skip
    assert "春の朝、窓を開けると" in (run.path / f"samples/{files[1]}").read_text()
    with Image.open(run.path / "samples" / files[-2]) as picture:
        assert min(picture.size) > 100
    out = tmp_path / "out.txt"
    asked = [f"run={run.path}", "prompt=春の朝", "n=2", "model.length=9", "model.top_k=40"]
    assert sample_verb([*asked, f"out={out}"]) == 0
    lines = out.read_text().splitlines()
    assert lines[0] == "----- 0 -----" and lines[1].startswith("春の朝")
    assert out.read_text() in capsys.readouterr().out
    tokens = np.load(sample(run.path, n=3, format="npz", out=tmp_path / "x.npz"))["tokens"]
    assert tokens.shape == (3, 16) and tokens.max() < 300
    for options, says in (
        ({"format": "png"}, "no such pictures"),
        ({"labels": [1]}, "not conditional"),
        ({"what": "walk"}, "what=samples"),
        ({"model": {"steps": "3"}}, "no setting 'steps'"),
    ):
        with pytest.raises(ConfigError, match=says):
            sample(run.path, out=tmp_path / "not", **options)
    status = json.loads((run.path / "status.json").read_text())
    assert status["state"] == "finished" and math.isfinite(run.last_scores()["scores"][0]["value"])
