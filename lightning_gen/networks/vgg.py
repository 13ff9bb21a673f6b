"""Features of VGG19 that perceptual losses compare; its weights are found, never downloaded.

Simonyan, Zisserman. Very Deep Convolutional Networks for Large-Scale Image Recognition. 2014,
arXiv:1409.1556.
"""

import hashlib
import re
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import VGG19_Weights
from torchvision.models.vgg import cfgs, make_layers

from lightning_gen.errors import ConfigError

URL = VGG19_Weights.IMAGENET1K_V1.url
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet in [0, 1]
REMEDY = "or model.content=mse"


class VGG19Features:
    """A layer of VGG19, frozen, as a function of images.

    It is no module, so a model that has it has neither its weights in checkpoints nor its
    parameters among its own. The weights are read when they are first needed.

    Args:
        layer: Name such as ``conv5_4``, the fourth convolution of the fifth block.
        activation: Give what comes out of the rectifier after it; or the convolution itself.
        weights_path: File of torchvision's weights; None looks in torch's hub cache
            (``$TORCH_HOME/hub/checkpoints``).
        scale: Features are divided by it.

    Raises:
        ConfigError: There is no such layer.
    """

    def __init__(
        self,
        layer: str = "conv5_4",
        *,
        activation: bool = True,
        weights_path: str | None = None,
        scale: float = 1.0,
    ) -> None:
        if layer not in (known := layers()):
            raise ConfigError(
                f"VGG19 has no layer {layer!r}", where="model.layer", fix=", ".join(known)
            )
        self.depth = known[layer] + 1 + activation
        self.weights_path, self.scale = weights_path, scale
        self.network: nn.Module | None = None

    def load(self) -> nn.Module:
        """Read the weights, unless that was done.

        Raises:
            ConfigError: They are nowhere, or not those of the network.
        """
        if self.network is None:
            path = find_weights(self.weights_path)
            with torch.device("meta"):
                network = make_layers(cfgs["E"], batch_norm=False)[: self.depth]
            try:
                state = torch.load(path, map_location="cpu", weights_only=True)
                weights = {name: state[f"features.{name}"] for name in network.state_dict()}
                network.load_state_dict(weights, assign=True)
            except Exception as error:  # a damaged or foreign file fails in many ways
                raise ConfigError(
                    f"VGG19's weights cannot be read: {error!r}",
                    where=path,
                    fix=f"the file of {URL}, {REMEDY}",
                ) from error
            self.network = network.eval().requires_grad_(False)
        return self.network

    def __call__(self, x: Tensor) -> Tensor:
        """Map images (N, 1 or 3, H, W) in [-1, 1] to features (N, 512, H / 16, W / 16)."""
        mean, std = (torch.tensor(v, device=x.device).view(3, 1, 1) for v in (MEAN, STD))
        return self.load().to(x.device)(((x + 1) / 2 - mean) / std) / self.scale


def layers() -> dict[str, int]:
    """Places of VGG19's convolutions among its layers, by name.

    Example:
        >>> list(layers().items())[-1]
        ('conv5_4', 34)
    """
    found, block, conv, at = {}, 1, 0, 0
    for kind in cfgs["E"]:
        if kind in {"M"}:
            block, conv, at = block + 1, 0, at + 1
            continue
        conv += 1
        found[f"conv{block}_{conv}"] = at
        at += 2  # the rectifier
    return found


def find_weights(path: str | None = None) -> Path:
    """Look VGG19's weights up; a file whose name ends in a hash, as the original's, has to have it.

    Args:
        path: A file given by the configuration.

    Raises:
        ConfigError: No file, or one of another hash.
    """
    name = URL.rpartition("/")[2]
    found = Path(path).expanduser() if path else Path(torch.hub.get_dir()) / "checkpoints" / name
    if not found.is_file():
        raise ConfigError(
            f"VGG19's weights are not there: {found.name}",
            where=found,
            fix=f"put the file of {URL} there, or its path into model.weights_path, {REMEDY}",
        )
    expected = re.search(r"-([0-9a-f]{8,64})$", found.stem)
    if expected:
        with found.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if not sha256.startswith(expected[1]):
            raise ConfigError(
                f"VGG19's weights are damaged: SHA-256 is {sha256[:8]}..., "
                f"expected {expected[1]}...",
                where=found,
                fix=f"delete the file, {REMEDY}",
            )
    return found
