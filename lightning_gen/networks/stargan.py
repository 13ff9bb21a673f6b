"""Generator and discriminator of StarGAN, for any channels and resolution.

Choi, Choi, Kim, Ha, Kim, Choo. 2017, arXiv:1711.09020, tables 4 and 5, and the authors' model.py.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from lightning_gen.types import PositiveInt


def code_dim(num_classes: int | None, domains: list[str] | None) -> int:
    """Length of the code of a domain: one place a class, or one an attribute.

    Raises:
        ValueError: If there are neither classes nor attributes, or both.

    Example:
        >>> code_dim(10, None), code_dim(None, ["Smiling", "Male"])
        (10, 2)
    """
    if (num_classes is None) == (not domains):
        raise ValueError(f"classes or attributes: got {num_classes=} and {domains=}")
    return num_classes or len(domains or [])


def _normalised(conv: nn.Module, width: int, *, rectified: bool = True) -> list[nn.Module]:
    rest: list[nn.Module] = [nn.ReLU(inplace=True)] if rectified else []
    return [conv, nn.InstanceNorm2d(width, affine=True), *rest]


class InstanceResidual(nn.Module):
    """Two convolutions with instance normalisation beside the identity."""

    def __init__(self, width: PositiveInt) -> None:
        super().__init__()
        first, second = (nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(2))
        self.layers = nn.Sequential(
            *_normalised(first, width), *_normalised(second, width, rectified=False)
        )

    def forward(self, h: Tensor) -> Tensor:
        """Map (N, width, H, W) to the same shape."""
        return h + self.layers(h)


class StarGANGenerator(nn.Module):
    """An image and the code of a domain to an image of that domain.

    The code is repeated at each pixel and joins the image as further channels. Two strided
    convolutions, residual blocks, two fractionally strided convolutions; instance normalisation.

    Args:
        channels: Image channels.
        resolution: Image side in pixels, a multiple of 4; images of other sides may be translated.
        num_classes: Length of the code, if domains are classes.
        domains: The places of the code, if they are attributes.
        width: Channels of the first feature map; the paper's 64.
        blocks: Residual blocks; the paper's 6.

    Example:
        >>> G = StarGANGenerator(channels=3, resolution=28, num_classes=5, width=4, blocks=1)
        >>> G(torch.zeros(2, 3, 28, 28), torch.zeros(2, 5)).shape
        torch.Size([2, 3, 28, 28])
    """

    def __init__(
        self,
        *,
        channels: PositiveInt,
        resolution: PositiveInt,
        num_classes: PositiveInt | None = None,
        domains: list[str] | None = None,
        width: PositiveInt = 64,
        blocks: PositiveInt = 6,
    ) -> None:
        super().__init__()
        if resolution % 4:
            raise ValueError(f"resolution={resolution} must be a multiple of 4")
        inputs, widths = channels + code_dim(num_classes, domains), [width, 2 * width, 4 * width]
        layers = _normalised(nn.Conv2d(inputs, width, 7, padding=3, bias=False), width)
        for inner, outer in pairwise(widths):
            layers += _normalised(nn.Conv2d(inner, outer, 4, 2, 1, bias=False), outer)
        layers += [InstanceResidual(widths[-1]) for _ in range(blocks)]
        for inner, outer in pairwise(reversed(widths)):
            layers += _normalised(nn.ConvTranspose2d(inner, outer, 4, 2, 1, bias=False), outer)
        layers += [nn.Conv2d(width, channels, 7, padding=3, bias=False), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """Map images (N, C, H, W) and codes (N, K) to images (N, C, H, W) in [-1, 1]."""
        replicated = c.to(x.dtype)[:, :, None, None].expand(-1, -1, *x.shape[2:])
        return self.layers(torch.cat([x, replicated], 1))


class StarGANDiscriminator(nn.Module):
    """A PatchGAN critic with a second head, which tells the domain.

    Strided convolutions halve the image down to 2 or 3 pixels, and no more than ``blocks`` times;
    one head values every place, the other sees all of them. No normalisation.

    Args:
        channels: Image channels.
        resolution: Image side in pixels.
        num_classes: Length of the code, if domains are classes.
        domains: The places of the code, if they are attributes.
        width: Channels of the first feature map; they double. The paper's 64.
        blocks: Most strided convolutions; the paper's 6, of images of 128 pixels.

    Example:
        >>> D = StarGANDiscriminator(channels=1, resolution=28, num_classes=10, width=4)
        >>> [h.shape for h in D.heads(torch.zeros(2, 1, 28, 28))]
        [torch.Size([2, 1, 3, 3]), torch.Size([2, 10])]
    """

    def __init__(
        self,
        *,
        channels: PositiveInt,
        resolution: PositiveInt,
        num_classes: PositiveInt | None = None,
        domains: list[str] | None = None,
        width: PositiveInt = 64,
        blocks: PositiveInt = 6,
    ) -> None:
        super().__init__()
        halvings = min(blocks, resolution.bit_length() - 2)
        widths = [channels] + [width * 2**i for i in range(halvings)]
        layers: list[nn.Module] = []
        for inner, outer in pairwise(widths):
            layers += [nn.Conv2d(inner, outer, 4, 2, 1), nn.LeakyReLU(0.01, inplace=True)]
        self.body, self.resolution = nn.Sequential(*layers), resolution
        self.source = nn.Conv2d(widths[-1], 1, 3, padding=1, bias=False)
        side = resolution >> halvings
        self.domain = nn.Conv2d(widths[-1], code_dim(num_classes, domains), side, bias=False)

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (N, C, H, W) to values (N, 1, h, w) of patches and logits (N, K)."""
        h = self.body(x)
        return self.source(h), self.domain(h).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to values (N, 1, h, w) of their patches."""
        return self.source(self.body(x))

    def classify(self, x: Tensor) -> Tensor:
        """Map images of any size, scaled to that of training, to logits (N, K) of domains."""
        side = (self.resolution, self.resolution)
        if x.shape[2:] != side:
            x = interpolate(x, side, mode="bilinear", antialias=True)
        return self.heads(x)[1]
