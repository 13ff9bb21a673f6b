"""Networks that turn images into the features and logits every image metric is computed from.

References:
    Szegedy et al., *Rethinking the Inception Architecture for Computer Vision*, 2016
    (arXiv:1512.00567); weights ``inception-2015-12-05`` as converted by torch-fidelity.
"""

import contextlib
import hashlib
import io
import os
import re
import shutil
import urllib.request
from pathlib import Path
from typing import NamedTuple, Self

import platformdirs
import torch
import torch.nn.functional as F
from filelock import FileLock
from safetensors.torch import load_file
from torch import Tensor, nn
from tqdm import tqdm

from lightning_gen.errors import MetricError

MNIST_WEIGHTS = Path(__file__).parent / "weights" / "mnist_classifier.safetensors"
INCEPTION_URL = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth"
)
INCEPTION_VARIABLE = "LIGHTNING_GEN_INCEPTION"


class Features(NamedTuple):
    """What one pass of an extractor gives: features (N, d) and class logits (N, K)."""

    features: Tensor
    logits: Tensor


class Extractor(nn.Module):
    """A frozen network from images in [-1, 1] to :class:`Features`, known by its weights' hash.

    Attributes:
        name: Word that stands in the names of scores, ``fid_<name>@10k_test``.
        resize: What is done to the size of images before the network.
        sha256: Hash of the weights file.
        knows_classes: Whether its classes are those of the data, so that modes can be counted.
    """

    name: str
    resize: str
    sha256: str
    knows_classes: bool = True

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode."""
        return super().train(False)

    def __call__(self, x: Tensor) -> Features:
        """Extract in evaluation mode, in float32, outside of autocast and of autograd."""
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            return super().__call__(x.float())


class MNISTNet(nn.Module):
    """Convolutions and a mean over the 7 x 7 places: 128 features and 10 logits of a grey digit."""

    def __init__(self) -> None:
        super().__init__()

        def block(c_in: int, c_out: int, stride: int) -> list[nn.Module]:
            conv = nn.Conv2d(c_in, c_out, 3, stride, padding=1, bias=False)
            return [conv, nn.BatchNorm2d(c_out), nn.ReLU()]

        self.body = nn.Sequential(
            *block(1, 32, 1),
            *block(32, 64, 2),
            *block(64, 64, 2),
            *block(64, 128, 1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.head = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Features:
        """Map images (N, 1, 28, 28) in [-1, 1] to features (N, 128) and logits (N, 10)."""
        features = self.body(x)
        return Features(features, self.head(features))


class MNISTClassifier(Extractor):
    """The classifier of digits that ships with the package, fitted by ``scripts/``.

    Images of several channels are stacked digits (VEEGAN, PacGAN): the classifier sees each channel
    by itself, features stand side by side, and logits are those of the joint class,
    100 a + 10 b + c for three.

    Args:
        weights: Weights file; None is the shipped one.

    Example:
        >>> features, logits = MNISTClassifier()(torch.rand(2, 3, 32, 32))
        >>> features.shape, logits.shape
        (torch.Size([2, 384]), torch.Size([2, 1000]))
    """

    name = "mnist"
    resize = "bilinear-28"

    def __init__(self, weights: str | None = None) -> None:
        super().__init__()
        path = Path(weights) if weights else MNIST_WEIGHTS
        self.network = MNISTNet()
        self.network.load_state_dict(load_file(path))
        self.network.to(memory_format=torch.channels_last)  # twice as fast on a CPU
        self.sha256 = sha256_of(path)
        self.train().requires_grad_(False)

    def forward(self, x: Tensor) -> Features:
        """Extract from images (N, C, H, W) in [-1, 1]."""
        n, channels = x.shape[:2]
        x = x.reshape(n * channels, 1, *x.shape[2:])
        if x.shape[2:] != (28, 28):
            x = F.interpolate(x, (28, 28), mode="bilinear", antialias=True)
        features, logits = self.network(x)
        logits = logits.view(n, channels, 10)
        joint = logits[:, 0]
        for c in range(1, channels):
            joint = (joint[:, :, None] + logits[:, c, None, :]).flatten(1)
        return Features(features.view(n, -1), joint)


class Inception2015(Extractor):
    """The Inception of the FID papers: pool3 features (2048) and logits without bias (1008).

    The network, its bytes-in input and its TensorFlow 1 resize to 299 x 299 are torch-fidelity's.

    Args:
        weights: Weights file; None looks in the places of :func:`find_inception`.

    Raises:
        MetricError: The weights are not to be had, or are not those of this network.
    """

    name = "inception"
    resize = "tf1-299"
    knows_classes = False

    def __init__(self, weights: str | None = None) -> None:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        super().__init__()
        path = find_inception(weights)
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            # torch-fidelity unpickles whatever file it is given, so it gets these bytes instead.
            tensors = io.BytesIO()
            torch.save(state, tensors)
            tensors.seek(0)
            self.network = FeatureExtractorInceptionV3(
                "inception-v3-compat",
                ["2048", "logits_unbiased"],
                feature_extractor_weights_path=tensors,
            )
        except Exception as error:  # a damaged file fails in many ways
            raise MetricError(
                f"Inception weights cannot be read: {error}", where=path, fix="delete the file"
            ) from error
        self.sha256 = sha256_of(path)
        self.train().requires_grad_(False)

    def forward(self, x: Tensor) -> Features:
        """Extract from images (N, 1 or 3, H, W) in [-1, 1]."""
        images = (x * 127.5 + 128).clamp(0, 255).to(torch.uint8)
        return Features(*self.network(images.expand(-1, 3, -1, -1)))


def sha256_of(path: Path) -> str:
    """Hash a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find_inception(path: str | None = None, *, download: bool = True) -> Path:
    """Look the Inception weights up, and download them when they are nowhere.

    The places are, in this order: ``path``, ``$LIGHTNING_GEN_INCEPTION``, torch's hub cache
    (``$TORCH_HOME/hub/checkpoints``), this package's cache, torch-fidelity's release. A file whose
    name ends in a hash, as the original's does, has to have it.

    Args:
        path: A file given by the configuration.
        download: Whether to try the network.

    Raises:
        MetricError: No file, no network, or a file of the wrong hash.
    """
    name = INCEPTION_URL.rpartition("/")[2]
    given = path or os.environ.get(INCEPTION_VARIABLE)
    cache = platformdirs.user_cache_path("lightning_gen") / name
    places = [Path(given)] if given else [Path(torch.hub.get_dir()) / "checkpoints" / name, cache]
    found = next((place for place in places if place.is_file()), None)
    if found is None and not given and download:
        with contextlib.suppress(OSError):
            _download(INCEPTION_URL, cache)
            found = cache
    if found is None:
        raise MetricError(
            f"Inception weights not found: {places[-1].name}",
            where=", ".join(str(place) for place in places),
            fix=f"put the file of {INCEPTION_URL} there, or its path into ${INCEPTION_VARIABLE}",
        )
    expected = re.search(r"-([0-9a-f]{8,64})$", found.stem)
    if expected and not sha256_of(found).startswith(expected[1]):
        raise MetricError(
            f"Inception weights are damaged: SHA-256 is {sha256_of(found)[:8]}..., "
            f"expected {expected[1]}...",
            where=found,
            fix="delete the file",
        )
    return found


def _download(url: str, target: Path) -> None:
    """Fetch to a temporary file beside the target, then move it there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if target.is_file():
            return
        part = target.with_suffix(".part")
        with urllib.request.urlopen(url, timeout=10) as reply, part.open("wb") as file:  # noqa: S310
            size = int(reply.headers.get("Content-Length") or 0)
            with tqdm.wrapattr(reply, "read", total=size, desc=target.name) as body:
                shutil.copyfileobj(body, file)
        os.replace(part, target)
