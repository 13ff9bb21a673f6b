"""The residual generator of CycleGAN.

Johnson, Alahi, Fei-Fei. 2016, arXiv:1603.08155; Zhu, Park, Isola, Efros. 2017, arXiv:1703.10593,
appendix 7.2.
"""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from lightning_gen.networks.dcgan import normal_init
from lightning_gen.types import NonNegativeFloat, PositiveInt


def convolution(inner: int, outer: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """A convolution to be normalised; edges are reflected where it keeps the side."""
    mode: Literal["reflect", "zeros"] = "reflect" if stride == 1 else "zeros"
    return nn.Conv2d(inner, outer, kernel, stride, kernel // 2, bias=False, padding_mode=mode)


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions with instance norm beside the identity, rectified between them.

    Args:
        width: Channels.
    """

    def __init__(self, width: PositiveInt) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            convolution(width, width, 3),
            nn.InstanceNorm2d(width),
            nn.ReLU(inplace=True),
            convolution(width, width, 3),
            nn.InstanceNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, width, H, W) to the same shape."""
        return x + self.layers(x)


class ResNetTranslator(nn.Module):
    """Images to images: c7s1-64, d128, d256, R256 times ``blocks``, u128, u64, c7s1-3.

    The sides of the images have to be multiples of 4, and 8 at least. The encoder's maps are
    numbered: 0 is the image, 1 and 2 the strided convolutions, 3 the first residual block, and so
    on to ``blocks + 2``.

    Args:
        in_channels: Channels of the images that come in.
        channels: Channels of those that come out.
        width: Channels of the first feature map.
        blocks: Residual blocks: the papers' are 9 for 256 x 256, 6 for 128 x 128.
        init_std: Standard deviation of the initial weights.

    Attributes:
        widths: Channels of the numbered maps.

    Example:
        >>> import torch
        >>> G = ResNetTranslator(in_channels=3, channels=3, width=4, blocks=2)
        >>> G(torch.zeros(2, 3, 28, 36)).shape, G.widths
        (torch.Size([2, 3, 28, 36]), [3, 8, 16, 16, 16])
        >>> [tuple(h.shape[1:]) for h in G.features(torch.zeros(2, 3, 28, 28), [1, 3])]
        [(8, 14, 14), (16, 7, 7)]
    """

    def __init__(
        self,
        *,
        in_channels: PositiveInt,
        channels: PositiveInt,
        width: PositiveInt = 64,
        blocks: PositiveInt = 9,
        init_std: NonNegativeFloat = 0.02,
    ) -> None:
        super().__init__()

        def rectified(c: int) -> list[nn.Module]:
            return [nn.InstanceNorm2d(c), nn.ReLU(inplace=True)]

        def doubling(c: int) -> list[nn.Module]:
            conv = nn.ConvTranspose2d(c, c // 2, 3, 2, 1, output_padding=1, bias=False)
            return [conv, *rectified(c // 2)]

        w = width
        self.widths = [in_channels, 2 * w, *[4 * w] * (blocks + 1)]
        self.stem = nn.Sequential(convolution(in_channels, w, 7), *rectified(w))
        self.stages = nn.ModuleList(
            [
                convolution(w, 2 * w, 3, 2),
                nn.Sequential(*rectified(2 * w), convolution(2 * w, 4 * w, 3, 2)),
                nn.Sequential(*rectified(4 * w), ResidualBlock(4 * w)),
                *(ResidualBlock(4 * w) for _ in range(blocks - 1)),
            ]
        )
        last = nn.Conv2d(w, channels, 7, padding=3, padding_mode="reflect")
        self.decoder = nn.Sequential(*doubling(4 * w), *doubling(2 * w), last, nn.Tanh())
        normal_init(self, init_std)

    def features(self, x: Tensor, numbers: Sequence[int]) -> list[Tensor]:
        """Numbered maps of the encoder, of images (N, in_channels, H, W).

        Args:
            x: The images.
            numbers: Which maps; none after the last of them is computed.
        """
        maps, h = [x], self.stem(x)
        for stage in self.stages[: max(numbers)]:
            h = stage(h)
            maps.append(h)
        return [maps[i] for i in numbers]

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, in_channels, H, W) to images (N, channels, H, W) in [-1, 1]."""
        return self.decoder(self.features(x, [len(self.stages)])[0])
