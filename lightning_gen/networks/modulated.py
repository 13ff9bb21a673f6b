"""Modulated convolutions, and resampling without aliasing, of StyleGAN2.

Karras, Laine, Aittala, Hellsten, Lehtinen, Aila. 2019, arXiv:1912.04958, section 2.2.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, conv2d, conv_transpose1d, conv_transpose2d, leaky_relu

from lightning_gen.functional.precision import at_least_float32
from lightning_gen.networks.equalized import EqualizedConv2d, EqualizedLinear
from lightning_gen.types import NonNegativeInt, PositiveFloat, PositiveInt


def lrelu(h: Tensor) -> Tensor:
    """Leaky rectifier of slope 0.2, times sqrt(2): about the second moment that went in."""
    return leaky_relu(h, 0.2) * math.sqrt(2)


class Resample(nn.Module):
    r"""Filters with the binomial [1, 3, 3, 1] along both axes; may double or halve the side.

    .. math:: x' = A x A^T

    The taps sum to one (to two along each axis when doubling, for the zeros put in between), so
    constants stay, but for the border: beyond it are zeros. Each row of A holds the taps; at the
    sides used here these products are faster than convolutions of single channels.

    Args:
        side: Side of the input.
        up: Double the side first; padding is then what is cut off.
        down: Keep every second pixel after.
        padding: Zeros on each side; 1 makes the side exactly double or half.
        gain: Factor of the filtered image.

    Example:
        >>> Resample(6, down=True)(torch.ones(1, 1, 6, 6))[0, 0, 1]
        tensor([0.8750, 1.0000, 0.8750])
    """

    A: Tensor

    def __init__(
        self,
        side: PositiveInt,
        *,
        up: bool = False,
        down: bool = False,
        padding: NonNegativeInt = 1,
        gain: PositiveFloat = 1.0,
    ) -> None:
        super().__init__()
        taps = torch.tensor([[[1.0, 3.0, 3.0, 1.0]]]) / 8 * (2 if up else 1) * math.sqrt(gain)
        convolve = conv_transpose1d if up else conv1d
        columns = convolve(
            torch.eye(side)[:, None], taps, stride=2 if up or down else 1, padding=padding
        )
        self.register_buffer("A", columns[:, 0].T.contiguous(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, side, side) to (N, C, H', H'), in the precision of x."""
        with torch.autocast(x.device.type, enabled=False):
            A = self.A.to(x.dtype)
            return A @ x @ A.T


class ModulatedConv2d(nn.Module):
    r"""A convolution whose weights every image scales by its own style (equations 1 to 3).

    .. math:: w'_{ijk} = s_i w_{ijk}, \quad
              w''_{ijk} = w'_{ijk} / \sqrt{\textstyle\sum_{i,k} {w'_{ijk}}^2 + \epsilon}

    for input channel i, output channel j and place k. A convolution is linear in its weights, so
    the input is scaled by s_i and the output by the square root, which is the same and needs no
    weights of each image's own (the authors' two implementations are these).

    Args:
        inputs: Channels in.
        outputs: Channels out.
        kernel: Side of the kernel, odd.
        style_dim: Dimension of w.
        demodulate: Whether to divide by the square root.
        up: Side of an input whose side is to be doubled, by a transposed convolution and then the
            binomial filter; None keeps the side.

    Example:
        >>> conv = ModulatedConv2d(3, 8, 3, style_dim=5, up=7)
        >>> conv(torch.zeros(2, 3, 7, 7), torch.zeros(2, 5)).shape
        torch.Size([2, 8, 14, 14])
    """

    def __init__(
        self,
        inputs: PositiveInt,
        outputs: PositiveInt,
        kernel: PositiveInt,
        *,
        style_dim: PositiveInt,
        demodulate: bool = True,
        up: PositiveInt | None = None,
    ) -> None:
        super().__init__()
        self.style = EqualizedLinear(style_dim, inputs, gain=1.0, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.scale = 1 / math.sqrt(inputs * kernel**2)
        self.demodulates, self.padding = demodulate, kernel // 2
        self.filter = Resample(2 * up + 1, gain=4.0) if up else None

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Map (N, inputs, H, W) and the layer's w (N, style_dim) to (N, outputs, H', W')."""
        s, weight = self.style(w), self.weight * self.scale
        x = x * s[:, :, None, None].to(x.dtype)
        if self.filter is None:
            x = conv2d(x, weight, padding=self.padding)
        else:
            x = self.filter(conv_transpose2d(x, weight.transpose(0, 1), stride=2))
        if self.demodulates:
            x = x * demodulation(weight, s)[:, :, None, None].to(x.dtype)
        return x


def demodulation(weight: Tensor, s: Tensor) -> Tensor:
    """What brings each image's output channels (N, outputs) to unit variance (equation 3).

    Args:
        weight: (outputs, inputs, k, k).
        s: Styles (N, inputs).

    Example:
        >>> demodulation(torch.full((1, 4, 1, 1), 0.5), torch.full((1, 4), 3.0))
        tensor([[0.3333]])
    """
    with torch.autocast(s.device.type, enabled=False):
        squares = at_least_float32(weight).square().sum((2, 3))
        return (at_least_float32(s).square() @ squares.T + 1e-8).rsqrt()


class DownConv2d(EqualizedConv2d):
    """The binomial filter, then a convolution 3 x 3 of every second pixel.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        side: Side of the input.

    Example:
        >>> DownConv2d(3, 8, 14)(torch.zeros(2, 3, 14, 14)).shape
        torch.Size([2, 8, 7, 7])
    """

    def __init__(self, inputs: PositiveInt, outputs: PositiveInt, side: PositiveInt) -> None:
        super().__init__(inputs, outputs, 3, gain=1.0)
        self.filter = Resample(side, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / 2, W / 2)."""
        return conv2d(self.filter(x), self.weight * self.scale, self.bias, stride=2)
