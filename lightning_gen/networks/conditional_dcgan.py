"""DCGAN's convolutions for labels: a generator that takes them, a discriminator that names them.

After Odena, Olah, Shlens. 2016, arXiv:1610.09585, and Radford et al. 2015, arXiv:1511.06434.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from lightning_gen.networks.dcgan import DCGANDiscriminator, DCGANGenerator, normal_init
from lightning_gen.types import HalfOpenFraction, NonNegativeFloat, PositiveInt


class ConditionalDCGANGenerator(nn.Module):
    """A DCGAN generator on the latent vector and the label's one-hot code.

    Args:
        latent_dim: Dimension of z.
        num_classes: Labels.
        channels: Image channels.
        resolution: Image side in pixels.
        width: Channels of the last hidden feature map.
        init_std: Standard deviation of the initial weights.

    Example:
        >>> G = ConditionalDCGANGenerator(num_classes=10, channels=1, resolution=28, width=4)
        >>> G(torch.zeros(2, 100), torch.tensor([0, 9])).shape
        torch.Size([2, 1, 28, 28])
    """

    def __init__(
        self,
        *,
        latent_dim: PositiveInt = 100,
        num_classes: PositiveInt,
        channels: PositiveInt,
        resolution: PositiveInt,
        width: PositiveInt = 64,
        init_std: NonNegativeFloat = 0.02,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.net = DCGANGenerator(
            latent_dim=latent_dim + num_classes,
            channels=channels,
            resolution=resolution,
            width=width,
            init_std=init_std,
        )

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        """Map latents (N, latent_dim) and labels (N,) to images (N, C, H, W) in [-1, 1]."""
        return self.net(torch.cat([z, one_hot(y, self.num_classes).to(z.dtype)], 1))


class ClassifyingDCGANDiscriminator(nn.Module):
    """A DCGAN discriminator with a second head, which names the class.

    Args:
        num_classes: Labels.
        channels: Image channels.
        resolution: Image side in pixels.
        width: Channels of the first feature map.
        dropout: Probability to drop a feature in training.
        init_std: Standard deviation of the initial weights.

    Example:
        >>> D = ClassifyingDCGANDiscriminator(num_classes=10, channels=1, resolution=28, width=4)
        >>> [h.shape for h in D.heads(torch.zeros(2, 1, 28, 28))]
        [torch.Size([2, 1]), torch.Size([2, 10])]
    """

    def __init__(
        self,
        *,
        num_classes: PositiveInt,
        channels: PositiveInt,
        resolution: PositiveInt,
        width: PositiveInt = 64,
        dropout: HalfOpenFraction = 0.5,
        init_std: NonNegativeFloat = 0.02,
    ) -> None:
        super().__init__()
        net = DCGANDiscriminator(
            channels=channels, resolution=resolution, width=width, init_std=init_std
        )
        self.body, self.dropout = net.body, nn.Dropout(dropout)
        features = net.head.in_channels * net.head.kernel_size[0] ** 2
        self.source, self.label = nn.Linear(features, 1), nn.Linear(features, num_classes)
        for head in (self.source, self.label):
            normal_init(head, init_std)

    def features(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to the last feature map, flattened."""
        return self.body(x).flatten(1)

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (N, C, H, W) to logits (N, 1) of real or not and (N, num_classes)."""
        h = self.dropout(self.features(x))
        return self.source(h), self.label(h)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to logits (N, 1) of being real."""
        return self.heads(x)[0]
