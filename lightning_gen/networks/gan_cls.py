"""Text encoder, generator and discriminator of GAN-CLS, for any channels and resolution.

Reed, Akata, Yan, Logeswaran, Schiele, Lee. 2016, arXiv:1605.05396, section 4.1 and figure 2.
"""

import torch
from torch import Tensor, nn

from lightning_gen.networks.dcgan import DCGANDiscriminator, DCGANGenerator, normal_init
from lightning_gen.types import NonNegativeFloat, PositiveInt


class TextEncoder(nn.Module):
    """Convolutions over a caption's words, and the largest value of each feature.

    An encoding does not depend on how far a caption is filled up.

    Note:
        The paper's is a convolutional and recurrent network of characters, of 1024 features.

    Args:
        words: Size of the vocabulary; word 0 fills captions up.
        features: Features of a word, and of a caption.

    Example:
        >>> phi = TextEncoder(words=9, features=4)
        >>> phi(torch.tensor([[3, 7, 0], [1, 2, 3]])).shape
        torch.Size([2, 4])
    """

    def __init__(self, *, words: PositiveInt, features: PositiveInt = 128) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, features, padding_idx=0)
        self.conv = nn.Conv1d(features, features, 3, padding=1)
        self.linear = nn.Linear(features, features)

    def forward(self, t: Tensor) -> Tensor:
        """Map captions (N, L) of word ids to (N, features)."""
        h = torch.relu(self.conv(self.embedding(t).mT))  # (N, features, L)
        h = h.masked_fill((t == 0)[:, None], 0.0)
        return self.linear(h.amax(2))


class Compression(nn.Sequential):
    """What each player makes of an encoded caption: (N, features) to (N, projected)."""

    def __init__(self, features: int, projected: int) -> None:
        super().__init__(nn.Linear(features, projected), nn.LeakyReLU(0.2))


class GANCLSGenerator(nn.Module):
    """A DCGAN generator of a latent vector and a caption; the text encoder phi lies in it.

    Args:
        latent_dim: Dimension of z.
        words: Size of the vocabulary.
        features: Features of an encoded caption.
        projected: Features that are left of it beside z; 128 in the paper.
        channels: Image channels.
        resolution: Image side in pixels.
        width: Channels of the last hidden feature map.
        init_std: Standard deviation of the initial weights, the encoder's apart.

    Example:
        >>> G = GANCLSGenerator(words=9, channels=3, resolution=32, width=4)
        >>> G(torch.zeros(2, 100), torch.tensor([[3, 7, 0], [1, 2, 3]])).shape
        torch.Size([2, 3, 32, 32])
    """

    def __init__(
        self,
        *,
        latent_dim: PositiveInt = 100,
        words: PositiveInt,
        features: PositiveInt = 128,
        projected: PositiveInt = 128,
        channels: PositiveInt,
        resolution: PositiveInt,
        width: PositiveInt = 64,
        init_std: NonNegativeFloat = 0.02,
    ) -> None:
        super().__init__()
        self.compression = Compression(features, projected)
        self.net = DCGANGenerator(
            latent_dim=latent_dim + projected,
            channels=channels,
            resolution=resolution,
            width=width,
            init_std=init_std,
        )
        normal_init(self.compression, init_std)
        self.phi = TextEncoder(words=words, features=features)

    def forward(self, z: Tensor, t: Tensor, other: Tensor | None = None) -> Tensor:
        """Map latents (N, latent_dim) and captions (N, L) to images (N, C, H, W) in [-1, 1].

        Other captions (N, L), if given, are met half-way.
        """
        h = self.phi(t) if other is None else (self.phi(t) + self.phi(other)) / 2
        return self.net(torch.cat([z, self.compression(h)], 1))


class GANCLSDiscriminator(nn.Module):
    """A DCGAN discriminator that sees an encoded caption beside each place of the last feature map.

    Args:
        features: Features of an encoded caption.
        projected: Features that are left of it; 128 in the paper.
        channels: Image channels.
        resolution: Image side in pixels.
        width: Channels of the first feature map.
        init_std: Standard deviation of the initial weights.

    Example:
        >>> D = GANCLSDiscriminator(channels=3, resolution=32, width=4)
        >>> D(torch.zeros(2, 3, 32, 32), torch.zeros(2, 128)).shape
        torch.Size([2, 1])
    """

    def __init__(
        self,
        *,
        features: PositiveInt = 128,
        projected: PositiveInt = 128,
        channels: PositiveInt,
        resolution: PositiveInt,
        width: PositiveInt = 64,
        init_std: NonNegativeFloat = 0.02,
    ) -> None:
        super().__init__()
        net = DCGANDiscriminator(
            channels=channels, resolution=resolution, width=width, init_std=init_std
        )
        self.body, self.compression = net.body, Compression(features, projected)
        inner = net.head.in_channels
        self.joint = nn.Sequential(
            nn.Conv2d(inner + projected, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.LeakyReLU(0.2),
            nn.Conv2d(inner, 1, net.head.kernel_size[0]),
        )
        normal_init(self.compression, init_std)
        normal_init(self.joint, init_std)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """Map images (N, C, H, W) and encoded captions (N, features) to logits (N, 1)."""
        image = self.body(x)
        text = self.compression(h)[:, :, None, None].expand(-1, -1, *image.shape[2:])
        return self.joint(torch.cat([image, text], 1)).flatten(1)
