"""Pixel Recurrent Neural Networks: the PixelCNN.

van den Oord, Kalchbrenner, Kavukcuoglu. 2016, arXiv:1601.06759.
"""

from typing import Any

import torch
from torch import Tensor

from lightning_gen.models.autoregressive.autoregressive import AutoregressiveModule
from lightning_gen.networks.pixelcnn import stepping


class PixelCNN(AutoregressiveModule):
    r"""Masked convolutions predict each pixel from those above it and left of it.

    .. math:: p(x) = \prod_i p(x_i | x_1, \ldots, x_{i - 1})

    Pixels come row by row, and the colours of a pixel one after the other.

    Note:
        A pixel sees nothing of the triangle to the right above that its receptive field does not
        reach: the blind spot that the Gated PixelCNN has not.

    References:
        van den Oord et al., Pixel Recurrent Neural Networks, 2016, arXiv:1601.06759.

    Args:
        network: Images (N, C, H, W) to parameters (N, C P, H, W), by its ``above``, of the rows
            above each row, and ``given`` these.
        family: Arguments of :class:`AutoregressiveModule`.
    """

    def __init__(self, *, network: Any, **family: Any) -> None:
        super().__init__(**family)
        self.network = network

    def logits(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Parameters (N, P, C, H, W) of the pixels of images (N, C, H, W)."""
        return self.of_pixels(x, self.network(x, labels))

    def of_pixels(self, x: Tensor, made: Tensor) -> Tensor:
        """Parameters (N, P, C, h, w) of pixels (N, C, h, w), of what the network made of them."""
        return made.unflatten(1, (x.shape[1], -1)).transpose(1, 2)

    def draw_pixels(self, u: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images of quantiles u (N, C, H, W); a pixel costs what is at its place alone."""
        x, (colours, height, width) = torch.zeros_like(u), self.shape
        with stepping(self.network, height, width) as at:
            for r in range(height):
                at(r, slice(0, width))
                above = self.network.above(x, labels)
                for c in range(width):
                    at(r, slice(c, c + 1))
                    columns = (c * a.shape[3] // width for a in above)  # some have fewer
                    here = [a[..., i : i + 1] for a, i in zip(above, columns, strict=True)]
                    for k in range(colours):
                        x_i = x[:, :, r : r + 1, c : c + 1]
                        of = self.of_pixels(x_i, self.network.given(x, here, labels))
                        u_i = u[:, k, r, c]
                        x[:, k, r, c] = self.conditional.draw(
                            of[:, :, k, 0, 0], u_i, self.temperature
                        )
        return x
