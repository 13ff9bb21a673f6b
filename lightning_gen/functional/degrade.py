"""Take something away from images, for models that are to put it back: colour, surfaces, detail."""

import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad

LUMA = (0.299, 0.587, 0.114)


def grey(x: Tensor) -> Tensor:
    r"""The luma of ITU-R BT.601, which Pillow and OpenCV take for the grey of a picture.

    .. math:: y = 0.299 r + 0.587 g + 0.114 b

    Args:
        x: Images (N, 3, H, W) or (N, 1, H, W) in [-1, 1].

    Returns:
        (N, 1, H, W) in [-1, 1]; images of one channel as they are.

    Example:
        >>> red, white = torch.tensor([1.0, -1.0, -1.0]), torch.ones(3)
        >>> grey(torch.stack([red, white]).view(2, 3, 1, 1)).flatten()
        tensor([-0.4020,  1.0000])
    """
    if x.shape[1] == 1:
        return x
    weights = torch.tensor(LUMA, dtype=x.dtype, device=x.device)
    return (x * weights.view(1, 3, 1, 1)).sum(1, keepdim=True)


def edges(x: Tensor, strength: float = 2.0) -> Tensor:
    r"""A sketch: dark lines on white where an image changes, by Sobel's operator.

    .. math:: s = 1 - 2 \tanh(k \max_c |\nabla x_c|)

    The gradient is that of values in [0, 1], in units of a full step; the greatest over the
    channels is taken, so that lines between colours of one luma are drawn too.

    Args:
        x: Images (N, C, H, W) in [-1, 1].
        strength: k; a step of 1 / k of the range is drawn at three quarters of black.

    Returns:
        (N, 1, H, W) in [-1, 1]; 1 where nothing changes.

    Example:
        >>> step = torch.tensor([-1.0, -1.0, -1.0, 1.0, 1.0, 1.0]).expand(1, 1, 3, 6)
        >>> edges(step)[0, 0, 1]
        tensor([ 1.0000,  1.0000, -0.9281, -0.9281,  1.0000,  1.0000])
    """
    n, channels, height, width = x.shape
    across = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8
    sobel = torch.stack([across, across.T])[:, None].to(x)  # / 4, and / 2 for the range
    around = pad(x.reshape(n * channels, 1, height, width), (1, 1, 1, 1), mode="replicate")
    slope = torch.linalg.vector_norm(conv2d(around, sobel), dim=1).view(n, channels, height, width)
    return 1 - 2 * torch.tanh(strength * slope.amax(1, keepdim=True))


def downsample(x: Tensor, factor: int) -> Tensor:
    """Smaller images by the antialiased bicubic of Pillow and of Matlab's ``imresize``.

    The kernel is Keys' cubic (a = -0.5), stretched by the factor. At the borders weights outside
    the image are left out and the others grow to a sum of one, as in Pillow (Matlab mirrors).

    Args:
        x: Images (N, C, H, W) in [-1, 1].
        factor: Of both sides, which must be multiples of it.

    Returns:
        (N, C, H / factor, W / factor) in [-1, 1]: where the cubic overshoots, it is cut off.

    Raises:
        ValueError: A side is not a multiple of the factor.

    Example:
        >>> ramp = (torch.arange(32) / 32).expand(1, 1, 32, 32)
        >>> downsample(ramp, 2)[0, 0, 0, 7:9] * 32  # between 14 and 15, 16 and 17
        tensor([14.5000, 16.5000])
    """
    if any(side % factor for side in x.shape[-2:]):
        raise ValueError(f"sides {tuple(x.shape[-2:])} are no multiples of factor={factor}")
    if factor == 1:
        return x
    size = [side // factor for side in x.shape[-2:]]
    return interpolate(x, size=size, mode="bicubic", antialias=True).clamp(-1, 1)
