"""The U-Net of pix2pix, for any resolution.

Isola, Zhu, Zhou, Efros. 2016, arXiv:1611.07004, section 3.2.1 and appendix 6.1.1.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from lightning_gen.networks.dcgan import normal_init
from lightning_gen.types import HalfOpenFraction, NonNegativeFloat, PositiveInt


class UNet(nn.Module):
    """An encoder to a single pixel and a decoder that sees each of the encoder's maps beside it.

    There are as many halvings as lead from the resolution to one pixel, eight for 256. An odd side
    is padded by one before it is halved, and what the decoder makes of it is cropped, so images of
    any size work whose sides exceed half of the next power of two of the resolution.

    Note:
        The innermost map is not normalised, as in the authors' erratum (over a single pixel it
        would be zero). The paper drops out in the inner three layers of its eight, and so is done
        here in the inner depth - 5, in one at least. ``norm="instance"`` is the paper's batch norm
        at its batch size, one: the same in training and at test.

    Args:
        in_channels: Channels of the images that come in.
        channels: Channels of those that come out.
        resolution: Side of the training images.
        width: Channels of the first feature map; they double with each halving, to 8 times as many.
        dropout: Rate in the inner layers of the decoder.
        norm: Normalisation over each image or over the batch.
        init_std: Standard deviation of the initial weights.

    Example:
        >>> G = UNet(in_channels=1, channels=3, resolution=28, width=4)
        >>> G(torch.zeros(2, 1, 28, 28)).shape, len(G.down)
        (torch.Size([2, 3, 28, 28]), 5)
    """

    def __init__(
        self,
        *,
        in_channels: PositiveInt,
        channels: PositiveInt,
        resolution: PositiveInt,
        width: PositiveInt = 64,
        dropout: HalfOpenFraction = 0.5,
        norm: Literal["instance", "batch"] = "instance",
        init_std: NonNegativeFloat = 0.02,
    ) -> None:
        super().__init__()

        def normalised(c: int) -> nn.Module:
            return nn.BatchNorm2d(c) if norm in {"batch"} else nn.InstanceNorm2d(c, affine=True)

        depth = (resolution - 1).bit_length()
        widths = [width * min(2**i, 8) for i in range(depth)]
        noisy = range(depth)[-max(1, depth - 5) :]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for i, outer in enumerate(widths):
            plain = i in (0, depth - 1)
            self.down.append(
                nn.Sequential(
                    nn.LeakyReLU(0.2) if i else nn.Identity(),
                    nn.Conv2d(widths[i - 1] if i else in_channels, outer, 4, 2, 1, bias=plain),
                    nn.Identity() if plain else normalised(outer),
                )
            )
        for i in reversed(range(depth)):
            inner, outer = (
                widths[i] * (1 if i == depth - 1 else 2),
                widths[i - 1] if i else channels,
            )
            self.up.append(
                nn.Sequential(
                    nn.ReLU(),
                    nn.ConvTranspose2d(inner, outer, 4, 2, 1, bias=not i),
                    normalised(outer) if i else nn.Tanh(),
                    nn.Dropout(dropout if i in noisy and i else 0.0),
                )
            )
        normal_init(self, init_std)

    def keep_noise(self) -> None:
        """Put dropout, and nothing else, into training mode."""
        for module in self.modules():
            if isinstance(module, nn.Dropout):
                module.train()

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, in_channels, H, W) to images (N, channels, H, W) in [-1, 1]."""
        h, sides, maps = x, [], []
        for layer in self.down:
            sides.append(h.shape[-2:])
            h = layer(pad(h, (0, h.shape[-1] % 2, 0, h.shape[-2] % 2)))
            maps.append(h)
        for i, layer in enumerate(self.up, start=1):
            H, W = sides[-i]
            h = layer(h if i == 1 else torch.cat([h, maps[-i]], 1))[..., :H, :W]
        return h
