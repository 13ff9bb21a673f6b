"""Generative Pretraining From Pixels.

Chen, Radford, Child, Wu, Jun, Luan, Sutskever. ICML 2020, PMLR 119:1691-1703; the transformer is
that of arXiv:1706.03762.
"""

from typing import Any

import torch
from torch import Tensor

from lightning_gen.functional.decoding import continued
from lightning_gen.functional.pixels import grey_levels
from lightning_gen.functional.precision import at_least_float32
from lightning_gen.models.autoregressive.autoregressive import AutoregressiveModule
from lightning_gen.networks.modes import evaluating


class ImageGPT(AutoregressiveModule):
    r"""A causal transformer over pixels, row by row (equation 1).

    .. math:: L_{AR} = E[-\log p(x)], \quad
              p(x) = \prod_{i = 1}^n p(x_{\pi_i} | x_{\pi_1}, \ldots, x_{\pi_{i - 1}}, \theta)

    Note:
        The paper's tokens are 512 clusters of colours, so that a pixel in colour is one token. Here
        tokens are binary pixels or the bytes of each channel, so that likelihoods are of the data.

    References:
        Chen et al., Generative Pretraining From Pixels, ICML 2020.
        Vaswani et al., Attention Is All You Need, 2017, arXiv:1706.03762.

    Args:
        network: Logits (N, C H W, tokens) of tokens (N, C H W), each given those before it: a
            :class:`lightning_gen.networks.transformer.PixelTransformer`.
        family: Arguments of :class:`AutoregressiveModule`.
    """

    def __init__(self, *, network: Any, **family: Any) -> None:
        super().__init__(**family)
        self.network = network

    def tokens(self, x: Tensor) -> Tensor:
        """Tokens (N, C H W), in their order, of images (N, C, H, W) in [-1, 1]."""
        levels = grey_levels(x).long()
        levels = levels // 128 if self.network.tokens == 2 else levels
        return levels.flatten(1)[:, self.order]

    def parameters_of(self, logits: Tensor) -> Tensor:
        """What :attr:`conditional` takes (N, P, ...), of logits (N, ..., tokens)."""
        of_one = logits[..., 1:] - logits[..., :1]
        return (of_one if self.network.tokens == 2 else logits).movedim(-1, 1)

    def logits(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Parameters (N, P, C, H, W) of every pixel's conditional, given the pixels before it."""
        parameters = self.parameters_of(at_least_float32(self.network(self.tokens(x))))
        return parameters[:, :, self.order.argsort()].unflatten(2, self.shape)

    def draw_pixels(self, u: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images whose pixels are quantiles u (N, C, H, W) of their conditionals."""

        def choosing(logits: Tensor, u: Tensor) -> Tensor:
            pixel = self.conditional.draw(self.parameters_of(logits), u, self.temperature)
            return grey_levels(pixel).long() // (128 if self.network.tokens == 2 else 1)

        nothing = torch.empty(len(u), 0, dtype=torch.long, device=u.device)
        k = continued(self.network, nothing, u.flatten(1)[:, self.order], choosing)
        pixels = k * 2.0 - 1 if self.network.tokens == 2 else k / 127.5 - 1
        return pixels[:, self.order.argsort()].view(u.shape)

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """Features (N, width) of images in the middle of the network, for linear probes."""
        with evaluating(self):
            middle = -(-len(self.network.blocks) // 2)
            return self.network.features(self.tokens(x), depth=middle).float().mean(1)
