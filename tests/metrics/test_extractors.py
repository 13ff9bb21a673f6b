"""The extractors: what they see, and where their weights come from."""

import hashlib
import json
import subprocess
import sys

import pytest
import torch

from lightning_gen.errors import MetricError
from lightning_gen.metrics import extractors
from lightning_gen.metrics.extractors import (
    INCEPTION_URL,
    INCEPTION_VARIABLE,
    MNIST_WEIGHTS,
    MNISTClassifier,
    find_inception,
)

NAME = INCEPTION_URL.rpartition("/")[2]


def test_the_card_is_of_the_shipped_weights():
    card = json.loads(MNIST_WEIGHTS.with_suffix(".json").read_text())
    assert card["sha256"] == hashlib.sha256(MNIST_WEIGHTS.read_bytes()).hexdigest()
    assert MNISTClassifier().sha256 == card["sha256"]
    assert card["bytes"] == MNIST_WEIGHTS.stat().st_size <= 1_000_000
    assert card["test_accuracy"] >= 0.993


def test_the_shipped_classifier_reads_digits_and_nothing_else(digits):
    real = digits.real("test")
    network = MNISTClassifier()
    logits = torch.cat([network(x).logits for x in real.image.split(500)])
    accuracy = (logits.argmax(1) == real.label).double().mean()
    card = json.loads(MNIST_WEIGHTS.with_suffix(".json").read_text())
    assert float(accuracy) == pytest.approx(card["test_accuracy"], abs=2e-4)
    noise = network(torch.rand(200, 1, 28, 28) * 2 - 1).logits.softmax(1).max(1).values
    assert noise.max() < 0.9  # else noise would count for modes


def test_stacked_digits_are_classified_channel_by_channel(digits):
    network, images = MNISTClassifier(), digits.real("test", torch.arange(30)).image
    single, stacked = network(images), network(images.view(10, 3, 28, 28))
    a, b, c = single.logits.argmax(1).view(10, 3).T
    assert torch.equal(stacked.logits.argmax(1), 100 * a + 10 * b + c)
    torch.testing.assert_close(stacked.features, single.features.view(10, 384))
    probability = single.logits.softmax(1).max(1).values.view(10, 3).prod(1)
    torch.testing.assert_close(stacked.logits.softmax(1).max(1).values, probability)


def test_autocast_and_autograd_stay_outside():
    network, x = MNISTClassifier(), torch.rand(4, 1, 28, 28)
    plain = network(x)
    with torch.autocast("cpu", torch.bfloat16):
        inside = network(x.requires_grad_())
    assert torch.equal(plain.features, inside.features)
    assert not inside.features.requires_grad


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No weights anywhere, and a network that refuses."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(INCEPTION_VARIABLE, raising=False)
    monkeypatch.setattr(extractors, "INCEPTION_URL", f"http://127.0.0.1:9/{NAME}")
    return tmp_path


@pytest.mark.parametrize("way", ["path", "variable", "hub"])
def test_weights_are_found_where_they_are_put(nowhere, monkeypatch, way):
    content = b"weights"
    digest = hashlib.sha256(content).hexdigest()
    file = nowhere / f"weights-{digest[:8]}.pth"
    if way == "hub":
        file = nowhere / "torch" / "hub" / "checkpoints" / f"w-{digest}.pth"
        monkeypatch.setattr(extractors, "INCEPTION_URL", f"http://127.0.0.1:9/{file.name}")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    if way == "variable":
        monkeypatch.setenv(INCEPTION_VARIABLE, str(file))
    assert find_inception(str(file) if way == "path" else None) == file


def test_weights_are_downloaded_once_and_moved_into_place(nowhere, monkeypatch):
    served = nowhere / "served"
    served.mkdir()
    digest = hashlib.sha256(b"weights").hexdigest()[:8]
    (served / f"w-{digest}.pth").write_bytes(b"weights")
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
    with subprocess.Popen(command, cwd=served, stdout=subprocess.PIPE, text=True) as server:
        port = server.stdout.readline().split("port ")[1].split()[0]
        monkeypatch.setattr(extractors, "INCEPTION_URL", f"http://127.0.0.1:{port}/w-{digest}.pth")
        file = find_inception()
        server.terminate()
    assert file.read_bytes() == b"weights"
    assert find_inception() == file  # the server is gone
    assert not list(nowhere.rglob("*.part"))


def test_weights_cannot_run_code(nowhere):
    class Trap:
        def __reduce__(self):
            return print, ("ran",)

    file = nowhere / "inception.pth"
    torch.save({"a": Trap()}, file)
    with pytest.raises(MetricError, match="cannot be read") as caught:
        extractors.Inception2015(str(file))
    assert "Weights only load failed" in str(caught.value.__cause__)
