"""A transformer over patches that is told the time, for denoising.

Peebles, Xie. Scalable Diffusion Models with Transformers, 2022, arXiv:2212.09748.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from lightning_gen.networks.diffusion_unet import zeroed
from lightning_gen.networks.time import Condition, sinusoids
from lightning_gen.types import PositiveInt


class DiTBlock(nn.Module):
    """Attention and a hidden layer, whose inputs and outputs the condition scales (adaLN-Zero).

    Args:
        width: Features of a token.
        heads: Heads of the attention.

    Example:
        >>> DiTBlock(8, heads=2)(torch.zeros(2, 49, 8), torch.zeros(2, 8)).shape
        torch.Size([2, 49, 8])
    """

    def __init__(self, width: PositiveInt, heads: PositiveInt) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width={width} must be a multiple of heads={heads}")
        self.heads = heads
        self.modulation = zeroed(nn.Linear(width, 6 * width))
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False)
        self.hidden = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width)
        )

    def attention(self, x: Tensor) -> Tensor:
        """Every token (N, L, width) looks at all others."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        # Written out: of so few tokens it is faster on a CPU than the fused kernel's backward.
        weights = (q @ k.mT * q.shape[-1] ** -0.5).softmax(-1)
        return self.out((weights.to(v.dtype) @ v).transpose(1, 2).flatten(2))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Map tokens (N, L, width) to the same shape."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(condition)[:, None].chunk(
            6, -1
        )
        x = x + gate1 * self.attention(self.norm1(x) * (1 + scale1) + shift1)
        return x + gate2 * self.hidden(self.norm2(x) * (1 + scale2) + shift2)


class DiT(nn.Module):
    """Patches as tokens with fixed places, blocks of adaLN-Zero, and patches again.

    Args:
        channels: Image channels.
        resolution: Image side in pixels, a multiple of the patch.
        patch: Side of a patch.
        width: Features of a token.
        layers: Blocks.
        heads: Heads of the attention.
        num_classes: Classes of a conditional network, None for none.

    Example:
        >>> net = DiT(channels=1, resolution=28, width=16, layers=2)
        >>> net(torch.zeros(2, 1, 28, 28), torch.rand(2)).shape
        torch.Size([2, 1, 28, 28])
    """

    places: Tensor

    def __init__(
        self,
        *,
        channels: PositiveInt,
        resolution: PositiveInt,
        patch: PositiveInt = 4,
        width: PositiveInt = 128,
        layers: PositiveInt = 6,
        heads: PositiveInt = 4,
        num_classes: PositiveInt | None = None,
    ) -> None:
        super().__init__()
        if resolution % patch:
            raise ValueError(f"resolution={resolution} must be a multiple of patch={patch}")
        self.side = resolution // patch
        self.fold, self.unfold = nn.PixelUnshuffle(patch), nn.PixelShuffle(patch)
        self.first = nn.Linear(channels * patch**2, width)
        self.condition = Condition(width, num_classes)
        self.blocks = nn.ModuleList(DiTBlock(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = zeroed(nn.Linear(width, 2 * width))
        self.last = zeroed(nn.Linear(width, channels * patch**2))
        line = sinusoids(torch.arange(self.side) / self.side * 3, 2 * ((width + 3) // 4), 10.0)
        rows, columns = line[:, None].expand(-1, self.side, -1), line.expand(self.side, -1, -1)
        places = torch.cat([rows, columns], -1).flatten(0, 1)[:, :width]
        self.register_buffer("places", places, persistent=False)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map images (N, C, H, W), times (N,) and classes (N,) to the images' shape."""
        condition = silu(self.condition(t, labels))
        h = self.first(self.fold(x).flatten(2).mT) + self.places
        for block in self.blocks:
            h = block(h, condition)
        shift, scale = self.modulation(condition)[:, None].chunk(2, -1)
        h = self.last(self.norm(h) * (1 + scale) + shift)
        return self.unfold(h.mT.unflatten(2, (self.side, self.side)))
