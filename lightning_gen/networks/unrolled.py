"""Networks of the unrolled GAN: for mixtures in the plane, and a tiny pair for stacked MNIST.

Metz, Poole, Pfau, Sohl-Dickstein. 2016, arXiv:1611.02163; sizes of the pair as in the authors'
description that Lin, Khetan, Fanti, Oh (PacGAN, 2018, arXiv:1712.04086, table 3) follow.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from lightning_gen.networks.dcgan import normal_init
from lightning_gen.types import PositiveFloat, PositiveInt

STAGES = 3  # halvings of D, doublings of G


class UnrolledMLP(nn.Module):
    """Layers of hyperbolic tangents with orthogonal weights, as in the authors' notebook.

    Args:
        inputs: Input features.
        outputs: Output features.
        units: Units of each hidden layer.
        depth: Hidden layers.
        gain: Scale of the orthogonal weights.

    Example:
        >>> UnrolledMLP(inputs=2, units=8)(torch.zeros(5, 2)).shape
        torch.Size([5, 1])
    """

    def __init__(
        self,
        *,
        inputs: PositiveInt,
        outputs: PositiveInt = 1,
        units: PositiveInt = 128,
        depth: PositiveInt = 2,
        gain: PositiveFloat = 1.4,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inner, outer in pairwise([inputs] + [units] * depth):
            layers += [nn.Linear(inner, outer), nn.Tanh()]
        self.layers = nn.Sequential(*layers, nn.Linear(units, outputs))
        for module in self.layers:
            if isinstance(module, nn.Linear):
                nn.init.orthogonal_(module.weight, gain)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs) to (N, outputs)."""
        return self.layers(x)


def halved(resolution: int) -> list[int]:
    """Sides of the feature maps from the smallest to the image, halves being rounded up.

    Example:
        >>> halved(28), halved(32)
        ([4, 7, 14, 28], [4, 8, 16, 32])
    """
    sides = [resolution]
    for _ in range(STAGES):
        sides.insert(0, -(-sides[0] // 2))
    return sides


class UnrolledGenerator(nn.Module):
    """Fully connected, then 3 x 3 fractionally strided convolutions of 32, 16 and 8 channels.

    Args:
        latent_dim: Dimension of z.
        channels: Image channels.
        resolution: Image side in pixels.
        width: Channels of the last hidden feature map; they double towards z.

    Example:
        >>> G = UnrolledGenerator(latent_dim=8, channels=3, resolution=28, width=2)
        >>> G(torch.zeros(2, 8)).shape
        torch.Size([2, 3, 28, 28])
    """

    def __init__(
        self,
        *,
        latent_dim: PositiveInt = 256,
        channels: PositiveInt,
        resolution: PositiveInt,
        width: PositiveInt = 8,
    ) -> None:
        super().__init__()
        sides = halved(resolution)
        widths = [width * 2**i for i in reversed(range(STAGES + 1))]
        self.shape = (widths[0], sides[0], sides[0])
        self.linear = nn.Linear(latent_dim, widths[0] * sides[0] ** 2, bias=False)
        layers: list[nn.Module] = [nn.BatchNorm2d(widths[0]), nn.ReLU()]
        for (inner, outer), (small, large) in zip(pairwise(widths), pairwise(sides), strict=True):
            missing = large - (2 * small - 1)  # 4 to 7 pixels, but 7 to 14
            layers += [
                nn.ConvTranspose2d(inner, outer, 3, 2, 1, output_padding=missing, bias=False),
                nn.BatchNorm2d(outer),
                nn.ReLU(),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], channels, 3, padding=1))
        normal_init(self, 0.02, scales=False)

    def forward(self, z: Tensor) -> Tensor:
        """Map latents (N, latent_dim) to images (N, C, H, W) in [-1, 1]."""
        return torch.tanh(self.layers(self.linear(z).unflatten(1, self.shape)))


class UnrolledDiscriminator(nn.Module):
    """Three 3 x 3 convolutions of stride 2 with batch norm, and a logit.

    Note:
        It is batch-normalised also where G's loss is unrolled through it, as in the paper: no
        gradient penalty is taken, and each batch, of real or of generated images, is normalised by
        itself.

    Args:
        channels: Image channels.
        resolution: Image side in pixels.
        width: Channels of the first feature map: 2 for a D of a quarter of G's size (the paper's
            K/4), 4 for a half.

    Example:
        >>> D = UnrolledDiscriminator(channels=3, resolution=28)
        >>> D(torch.zeros(2, 3, 28, 28)).shape
        torch.Size([2, 1])
    """

    def __init__(
        self, *, channels: PositiveInt, resolution: PositiveInt, width: PositiveInt = 2
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inner, outer in pairwise([channels] + [width * 2**i for i in range(STAGES)]):
            layers += [
                nn.Conv2d(inner, outer, 3, 2, 1, bias=False),
                nn.BatchNorm2d(outer),
                nn.LeakyReLU(0.3),
            ]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(width * 2 ** (STAGES - 1) * halved(resolution)[0] ** 2, 1)
        normal_init(self, 0.02, scales=False)

    def features(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to the last feature map, flattened."""
        return self.body(x).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to logits (N, 1)."""
        return self.head(self.features(x))
