"""Residual generator and discriminator of SNGAN and of the projection discriminator.

Miyato, Kataoka, Koyama, Yoshida. 2018, arXiv:1802.05957, appendix B.4, table 4;
Miyato, Koyama. 2018, arXiv:1802.05637, figure 14.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, relu
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import is_parametrized

from lightning_gen.networks.dcgan import scales
from lightning_gen.types import PositiveInt


class ConditionalBatchNorm(nn.Module):
    """Batch normalisation whose scale and shift belong to the class; without classes, to all.

    Args:
        channels: Channels of the feature map.
        num_classes: Number of labels; None is ordinary batch normalisation.
    """

    def __init__(self, channels: PositiveInt, num_classes: PositiveInt | None = None) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.scale = nn.Embedding(num_classes or 1, channels)
        self.shift = nn.Embedding(num_classes or 1, channels)
        nn.init.ones_(self.scale.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(self, h: Tensor, y: Tensor | None = None) -> Tensor:
        """Normalise (N, C, H, W), given labels (N,)."""
        y = torch.zeros(len(h), dtype=torch.long, device=h.device) if y is None else y
        return self.scale(y)[:, :, None, None] * self.norm(h) + self.shift(y)[:, :, None, None]


class UpBlock(nn.Module):
    """Normalise, rectify, double the side, convolve; twice, beside a skip connection."""

    def __init__(
        self, inner: PositiveInt, outer: PositiveInt, num_classes: PositiveInt | None
    ) -> None:
        super().__init__()
        self.norm1 = ConditionalBatchNorm(inner, num_classes)
        self.conv1 = nn.Conv2d(inner, outer, 3, padding=1)
        self.norm2 = ConditionalBatchNorm(outer, num_classes)
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1)
        self.skip = nn.Conv2d(inner, outer, 1)

    def forward(self, x: Tensor, y: Tensor | None) -> Tensor:
        """Map (N, inner, H, W) to (N, outer, 2H, 2W)."""
        h = interpolate(relu(self.norm1(x, y)), scale_factor=2)
        h = self.conv2(relu(self.norm2(self.conv1(h), y)))
        return h + self.skip(interpolate(x, scale_factor=2))


class DownBlock(nn.Module):
    """Two spectrally normalised convolutions beside a skip connection, halving the side or not."""

    def __init__(
        self, inner: PositiveInt, outer: PositiveInt, *, half: bool, first: bool = False
    ) -> None:
        super().__init__()
        self.halves, self.first = half, first
        self.conv1 = spectral_norm(nn.Conv2d(inner, outer, 3, padding=1))
        self.conv2 = spectral_norm(nn.Conv2d(outer, outer, 3, padding=1))
        learned = half or inner != outer
        self.skip = spectral_norm(nn.Conv2d(inner, outer, 1)) if learned else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inner, H, W) to (N, outer, H, W) or half the side; the first is not rectified."""
        h = self.conv2(relu(self.conv1(x if self.first else relu(x))))
        if self.halves:
            h = avg_pool2d(h, 2)
            x = avg_pool2d(x, 2) if self.first else x
        s = self.skip(x)
        return h + (avg_pool2d(s, 2) if self.halves and not self.first else s)


class ResNetGenerator(nn.Module):
    """Residual blocks from a latent vector to an image, class-conditional on request.

    Note:
        Table 4 has 256 channels everywhere at 32 x 32, from 4 x 4.

    Args:
        latent_dim: Dimension of z.
        channels: Image channels.
        resolution: Image side in pixels.
        width: Channels of every feature map.
        num_classes: Number of labels for conditional batch normalisation; None takes no labels.

    Example:
        >>> G = ResNetGenerator(latent_dim=8, channels=3, resolution=32, width=4)
        >>> G(torch.zeros(2, 8)).shape
        torch.Size([2, 3, 32, 32])
    """

    def __init__(
        self,
        *,
        latent_dim: PositiveInt = 128,
        channels: PositiveInt,
        resolution: PositiveInt,
        width: PositiveInt = 256,
        num_classes: PositiveInt | None = None,
    ) -> None:
        super().__init__()
        sides = scales(resolution)
        self.shape = (width, sides[0], sides[0])
        self.linear = nn.Linear(latent_dim, width * sides[0] ** 2)
        self.blocks = nn.ModuleList(UpBlock(width, width, num_classes) for _ in sides[1:])
        self.norm = nn.BatchNorm2d(width)
        self.last = nn.Conv2d(width, channels, 3, padding=1)
        xavier(self)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Map latents (N, latent_dim), and labels (N,), to images (N, C, H, W) in [-1, 1]."""
        h = self.linear(z).unflatten(1, self.shape)
        for block in self.blocks:
            h = block(h, y)
        return torch.tanh(self.last(relu(self.norm(h))))


class ResNetDiscriminator(nn.Module):
    r"""Spectrally normalised residual blocks from an image to a logit, with projection on request.

    .. math:: D(x, y) = y^T V \phi(x) + \psi(\phi(x))

    Args:
        channels: Image channels.
        resolution: Image side in pixels.
        width: Channels of every feature map; 128 in table 4.
        num_classes: Number of labels that are projected on; None takes no labels.

    Example:
        >>> D = ResNetDiscriminator(channels=3, resolution=32, width=4)
        >>> D(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 1])
    """

    def __init__(
        self,
        *,
        channels: PositiveInt,
        resolution: PositiveInt,
        width: PositiveInt = 128,
        num_classes: PositiveInt | None = None,
    ) -> None:
        super().__init__()
        stages = len(scales(resolution))
        halvings = min(2, stages - 1) + max(0, stages - 4)  # 32 to 8 pixels, and larger ones too
        widths = [channels] + [width] * (halvings + 2)
        self.blocks = nn.Sequential(
            *(
                DownBlock(inner, outer, half=i < halvings, first=i == 0)
                for i, (inner, outer) in enumerate(pairwise(widths))
            )
        )
        self.psi = spectral_norm(nn.Linear(width, 1))
        self.V = spectral_norm(nn.Embedding(num_classes, width)) if num_classes else None
        xavier(self)

    def features(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to the sums (N, width) of the last feature maps, phi(x)."""
        return relu(self.blocks(x)).sum((2, 3))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Map images (N, C, H, W), and labels (N,), to logits (N, 1)."""
        phi = self.features(x)
        logit = self.psi(phi)
        return logit if self.V is None else logit + (self.V(y) * phi).sum(1, keepdim=True)


def xavier(network: nn.Module) -> None:
    """Draw weights as the authors do: Glorot's uniform, times sqrt(2) inside of the blocks.

    The scale of a spectrally normalised weight means nothing, so those stay as they are.
    """
    for name, module in network.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            inside = "blocks" in name and "skip" not in name
            if not is_parametrized(module):
                nn.init.xavier_uniform_(module.weight, 2**0.5 if inside else 1.0)
            assert module.bias is not None
            nn.init.zeros_(module.bias)
