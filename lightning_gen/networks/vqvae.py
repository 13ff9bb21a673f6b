"""The parts of VQ-VAE: convolutions to a grid of vectors and back, its words, and a prior of them.

van den Oord, Vinyals, Kavukcuoglu. 2017, arXiv:1711.00937, section 4.1; van den Oord, Kalchbrenner,
Kavukcuoglu. 2016, arXiv:1601.06759, for the masked convolutions.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, one_hot

from lightning_gen.networks.pixelcnn import MaskedConv2d
from lightning_gen.types import PositiveInt


class ResidualBlock(nn.Module):
    """ReLU, 3 x 3 convolution, ReLU, 1 x 1 convolution, beside the identity.

    Args:
        width: Channels.

    Example:
        >>> ResidualBlock(4)(torch.zeros(2, 4, 7, 7)).shape
        torch.Size([2, 4, 7, 7])
    """

    def __init__(self, width: PositiveInt) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(), nn.Conv2d(width, width, 3, 1, 1), nn.ReLU(), nn.Conv2d(width, width, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, width, H, W) to the same shape."""
        return x + self.layers(x)


class VQVAEEncoder(nn.Module):
    """Images to a grid of vectors, a quarter of the side.

    Args:
        embedding_dim: Dimension of a vector.
        channels: Image channels.
        resolution: Image side in pixels, a multiple of 4.
        width: Channels of the feature maps.
        blocks: Residual blocks.

    Attributes:
        side: Of the grid.

    Example:
        >>> E = VQVAEEncoder(embedding_dim=8, channels=1, resolution=28, width=4)
        >>> E(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 8, 7, 7])
    """

    def __init__(
        self,
        *,
        embedding_dim: PositiveInt,
        channels: PositiveInt,
        resolution: PositiveInt,
        width: PositiveInt = 256,
        blocks: PositiveInt = 2,
    ) -> None:
        super().__init__()
        if resolution % 4:
            raise ValueError(f"resolution={resolution} must be a multiple of 4")
        self.side = resolution // 4
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(width, width, 4, 2, 1),
            *(ResidualBlock(width) for _ in range(blocks)),
            nn.ReLU(),
            nn.Conv2d(width, embedding_dim, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) in [-1, 1] to vectors (N, embedding_dim, H / 4, W / 4)."""
        return self.layers(x)


class VQVAEDecoder(nn.Module):
    """A grid of vectors to pixels, of which a model says what they mean.

    Args:
        embedding_dim: Dimension of a vector.
        channels: Image channels.
        width: Channels of the feature maps.
        blocks: Residual blocks.

    Example:
        >>> decoder = VQVAEDecoder(embedding_dim=8, channels=1, width=4)
        >>> decoder(torch.zeros(2, 8, 7, 7)).shape
        torch.Size([2, 1, 28, 28])
    """

    def __init__(
        self,
        *,
        embedding_dim: PositiveInt,
        channels: PositiveInt,
        width: PositiveInt = 256,
        blocks: PositiveInt = 2,
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(embedding_dim, width, 3, 1, 1),
            *(ResidualBlock(width) for _ in range(blocks)),
            nn.ReLU(),
            nn.ConvTranspose2d(width, width, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(width, channels, 4, 2, 1),
        )

    def forward(self, z: Tensor) -> Tensor:
        """Map vectors (N, embedding_dim, h, w) to real numbers (N, C, 4 h, 4 w)."""
        return self.layers(z)


class Codebook(nn.Module):
    """Words that vectors are replaced by.

    Args:
        embeddings: How many words.
        embedding_dim: Their dimension.

    Example:
        >>> words, z = Codebook(2, 3), torch.ones(1, 3, 4, 4)
        >>> _ = words.weight.data.copy_(torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 1.0]]))
        >>> words(words.nearest(z)).mean((0, 2, 3)).tolist()
        [1.0, 2.0, 1.0]
    """

    def __init__(self, embeddings: PositiveInt, embedding_dim: PositiveInt) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(embeddings, embedding_dim))

    @torch.no_grad()
    def start(self, z: Tensor, generator: torch.Generator) -> None:
        """Set the words to some of the vectors (N, embedding_dim, h, w), chosen at random."""
        vectors = z.permute(0, 2, 3, 1).flatten(0, 2)
        chosen = torch.randint(len(vectors), (len(self.weight),), generator=generator)
        self.weight.copy_(vectors[chosen.to(vectors.device)])

    @torch.no_grad()
    def nearest(self, z: Tensor) -> Tensor:
        """Which words (N, h, w) are nearest to vectors (N, embedding_dim, h, w)."""
        return (self.weight.square().sum(1) - 2 * z.permute(0, 2, 3, 1) @ self.weight.T).argmin(-1)

    def forward(self, k: Tensor) -> Tensor:
        """Vectors (N, embedding_dim, h, w) of words (N, h, w)."""
        return embedding(k, self.weight).permute(0, 3, 1, 2)


class GridPrior(nn.Module):
    """A PixelCNN over a grid of codes: each one's logits, given those before it, row by row.

    Args:
        codes: How many codes there are.
        width: Channels of the feature maps.
        blocks: Residual blocks.

    Example:
        >>> GridPrior(codes=16, width=4)(torch.zeros(2, 7, 7, dtype=torch.long)).shape
        torch.Size([2, 16, 7, 7])
    """

    def __init__(
        self, *, codes: PositiveInt, width: PositiveInt = 64, blocks: PositiveInt = 4
    ) -> None:
        super().__init__()
        self.codes = codes
        self.first = MaskedConv2d(codes, width, 5, own=False)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.ReLU(),
                MaskedConv2d(width, width, 3, own=True),
                nn.ReLU(),
                nn.Conv2d(width, width, 1),
            )
            for _ in range(blocks)
        )
        self.last = nn.Sequential(nn.ReLU(), nn.Conv2d(width, codes, 1))

    def forward(self, k: Tensor) -> Tensor:
        """Map codes (N, h, w) to logits (N, codes, h, w)."""
        weight = self.first.weight
        h = self.first(one_hot(k, self.codes).permute(0, 3, 1, 2).to(weight.dtype))
        for block in self.blocks:
            h = h + block(h)
        return self.last(h)
