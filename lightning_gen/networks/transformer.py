"""A causal transformer over tokens.

Vaswani et al. 2017, arXiv:1706.03762, in the form of Radford et al. 2018 and 2019: a decoder alone,
norms first, learned positions, GELU. Chen et al. 2020 have the same for pixels.
"""

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad, scaled_dot_product_attention

from lightning_gen.types import HalfOpenFraction, PositiveInt


class Cache:
    """Keys and values of the tokens so far, of every block.

    Args:
        layers: Blocks.
        shape: (N, heads, length, width / heads), length being the most tokens there may be.
        like: A tensor of their type and device.
    """

    def __init__(self, layers: int, shape: tuple[int, ...], like: Tensor) -> None:
        self.position = 0
        self.pairs = [(like.new_empty(shape), like.new_empty(shape)) for _ in range(layers)]

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Put the keys and values (N, heads, t, d) of t more tokens behind those of a block."""
        stop = self.position + k.shape[2]
        for kept, new in zip(self.pairs[layer], (k, v), strict=True):
            kept[:, :, self.position : stop] = new
        keys, values = self.pairs[layer]
        return keys[:, :, :stop], values[:, :, :stop]


class Block(nn.Module):
    """Attention to tokens up to one's own, then a perceptron, each beside the identity.

    Args:
        width: Features of a token.
        heads: Of the attention, a divisor of the width.
        dropout: Probability to drop a feature of either part, or a weight of the attention.

    Example:
        >>> Block(8, 2)(torch.zeros(3, 5, 8)).shape
        torch.Size([3, 5, 8])
    """

    def __init__(
        self, width: PositiveInt, heads: PositiveInt, dropout: HalfOpenFraction = 0.0
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width={width} must be a multiple of heads={heads}")
        self.heads, self.p = heads, dropout
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.attended = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width), nn.Dropout(dropout)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, h: Tensor, cache: Cache | None = None, layer: int = 0) -> Tensor:
        """Map features (N, t, width) of t tokens, which may follow those of a cache."""
        n, t, width = h.shape
        qkv = self.qkv(self.norm_1(h)).view(n, t, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mask = None
        if cache is not None:
            if cache.position and t > 1:
                whole = torch.ones(t, cache.position + t, dtype=torch.bool, device=h.device)
                mask = whole.tril(cache.position)
            k, v = cache.extend(layer, k, v)
        a = scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=mask,
            dropout_p=self.p if self.training else 0.0,
            is_causal=mask is None and t > 1,
        )
        h = h + self.dropout(self.attended(a.transpose(1, 2).reshape(n, t, width)))
        return h + self.mlp(self.norm_2(h))


class Transformer(nn.Module):
    """The distribution of each token, given those before it.

    The first token is told from a start token, which is number ``tokens`` of the inputs.

    Args:
        tokens: Size of the vocabulary.
        length: Most tokens that are seen at once, the start token among them.
        width: Features of a token.
        layers: Blocks.
        heads: Of each attention.
        dropout: Probability to drop a feature.
        tied: Whether logits are products with the tokens' own embeddings.

    Example:
        >>> network = Transformer(tokens=5, length=7, width=8, layers=2, heads=2, dropout=0.0)
        >>> logits = network(torch.ones(3, 7).long())
        >>> logits.shape
        torch.Size([3, 7, 5])
        >>> cache = network.begin(3)
        >>> first = network.step(torch.full((3, 1), 5), cache)
        >>> second = network.step(torch.ones(3, 1).long(), cache)
        >>> torch.testing.assert_close(torch.cat([first, second], 1), logits[:, :2])
    """

    def __init__(
        self,
        *,
        tokens: PositiveInt,
        length: PositiveInt,
        width: PositiveInt = 768,
        layers: PositiveInt = 12,
        heads: PositiveInt = 12,
        dropout: HalfOpenFraction = 0.1,
        tied: bool = True,
    ) -> None:
        super().__init__()
        self.tokens, self.length, self.heads = tokens, length, heads
        self.embedding = nn.Embedding(tokens + 1, width)
        self.positions = nn.Parameter(torch.zeros(length, width))
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = None if tied else nn.Linear(width, tokens, bias=False)
        self._start(layers)

    def _start(self, layers: int) -> None:
        """GPT-2's initial weights: N(0, 0.02), smaller where blocks add to the identity."""
        for name, parameter in self.named_parameters():
            if parameter.ndim > 1:
                adds = name.endswith(("attended.weight", "mlp.2.weight"))
                nn.init.normal_(parameter, std=0.02 / (math.sqrt(2 * layers) if adds else 1))
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def begin(self, n: int) -> Cache:
        """An empty cache of n sequences."""
        width = self.positions.shape[1]
        shape = (n, self.heads, self.length, width // self.heads)
        return Cache(len(self.blocks), shape, self.positions.detach())

    def features(
        self, inputs: Tensor, cache: Cache | None = None, depth: int | None = None
    ) -> Tensor:
        """Features (N, t, width) of inputs (N, t) behind so many blocks; None is all of them."""
        position = cache.position if cache is not None else 0
        here = self.positions[position : position + inputs.shape[1]]
        h = self.dropout(self.embedding(inputs) + here)
        for layer, block in enumerate(self.blocks[:depth]):
            h = block(h, cache, layer)
        if cache is not None:
            cache.position += inputs.shape[1]
        return h

    def step(self, inputs: Tensor, cache: Cache | None = None) -> Tensor:
        """Logits (N, t, tokens) of what follows each of t inputs (N, t), kept in the cache."""
        h = self.norm(self.features(inputs, cache))
        if self.head is not None:
            return self.head(h)
        return linear(h, self.embedding.weight[: self.tokens])

    def full(self, cache: Cache) -> bool:
        """Whether no other input has room in a cache."""
        return cache.position == self.length

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (N, t) to the logits (N, t, tokens) of each, given those before it."""
        return self.step(pad(x[:, :-1], (1, 0), value=self.tokens))


class PixelTransformer(Transformer):
    """A transformer over the pixels of an image, each a token.

    Args:
        channels: Channels of an image.
        resolution: Its side in pixels.
        likelihood: Of a pixel: "bernoulli" (2 tokens) or "categorical" (256).
        network: Arguments of :class:`Transformer`.

    Example:
        >>> network = PixelTransformer(channels=1, resolution=4, width=8, layers=1, heads=2)
        >>> network(torch.zeros(3, 16).long()).shape
        torch.Size([3, 16, 2])
    """

    def __init__(
        self,
        *,
        channels: PositiveInt,
        resolution: PositiveInt,
        likelihood: Literal["bernoulli", "categorical"] = "bernoulli",
        **network: Any,
    ) -> None:
        tokens = {"bernoulli": 2, "categorical": 256}[likelihood]
        super().__init__(tokens=tokens, length=channels * resolution**2, **network)
