"""A discriminator of patches: a logit for each of many overlapping squares of an image.

Isola, Zhu, Zhou, Efros. 2016, arXiv:1611.07004, section 3.2.2 and appendix 6.1.2.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from lightning_gen.networks.dcgan import normal_init
from lightning_gen.types import NonNegativeFloat, NonNegativeInt, PositiveInt


class PatchGAN(nn.Module):
    """Strided convolutions from an image to a map of logits.

    A logit sees a square of 16, 34, 70, 142 or 286 pixels for 1, 2, 3, 4 or 5 strided layers: three
    are the papers', C64-C128-C256-C512, and small pictures want fewer.

    Args:
        channels: Image channels.
        condition_channels: Channels of images that are judged together with it, none by default.
        width: Channels of the first feature map; they double with each layer, to 8 times as many.
        layers: Convolutions of stride two; one without stride and the logit's follow.
        norm: Normalisation of the hidden layers but the first: over each image (CycleGAN's), over
            the batch, or none.
        init_std: Standard deviation of the initial weights.

    Example:
        >>> PatchGAN(channels=3, width=4)(torch.zeros(2, 3, 256, 256)).shape
        torch.Size([2, 1, 30, 30])
        >>> PatchGAN(channels=1, width=4, layers=1)(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 1, 12, 12])
    """

    def __init__(
        self,
        *,
        channels: PositiveInt,
        condition_channels: NonNegativeInt = 0,
        width: PositiveInt = 64,
        layers: PositiveInt = 3,
        norm: Literal["instance", "batch", "none"] = "instance",
        init_std: NonNegativeFloat = 0.02,
    ) -> None:
        super().__init__()
        norms: dict[str, Callable[[int], nn.Module]] = {
            "instance": nn.InstanceNorm2d,
            "batch": nn.BatchNorm2d,
            "none": lambda c: nn.Identity(),
        }
        widths = [channels + condition_channels, *(width * min(2**i, 8) for i in range(layers + 1))]
        conv = partial(nn.Conv2d, kernel_size=4, padding=1)
        modules: list[nn.Module] = []
        for i, (inner, outer) in enumerate(pairwise(widths)):
            modules += [
                conv(inner, outer, stride=2 if i < layers else 1, bias=i == 0 or norm == "none"),
                nn.Identity() if i == 0 else norms[norm](outer),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        self.layers = nn.Sequential(*modules, conv(widths[-1], 1))
        normal_init(self, init_std)

    def forward(self, x: Tensor, *others: Tensor) -> Tensor:
        """Map images (N, C, H, W), and those judged with them, to logits (N, 1, h, w)."""
        return self.layers(torch.cat([x, *others], 1))
