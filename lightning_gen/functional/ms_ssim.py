"""Multi-scale structural similarity, as GAN papers measure it."""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, from the finest


def ms_ssim(x: Tensor, y: Tensor) -> Tensor:
    r"""Similarity of pairs of images over five scales, each half the side of the one before.

    .. math:: \prod_{j=1}^{4} [cs_j(x, y)]_+^{w_j} \; [l_5(x, y) \, cs_5(x, y)]_+^{w_5}

    with l and cs the luminance and the contrast-structure term of SSIM, averaged over the image.

    Note:
        As in the code of TensorFlow and ProGAN, and unlike torchmetrics', the window is the
        Gaussian of 11 pixels and deviation 1.5 without padding, and shrinks with an image smaller
        than that; so there are five scales from 16 pixels on.

    References:
        Wang et al., Multiscale structural similarity for image quality assessment, 2003; Odena
        et al., Conditional Image Synthesis with Auxiliary Classifier GANs, 2016, arXiv:1610.09585,
        section 4.2; Karras et al., Progressive Growing of GANs, 2017, arXiv:1710.10196.

    Args:
        x: Images (N, C, H, W) in [0, 1], H and W at least 16.
        y: The same.

    Returns:
        Similarities (N,); 1 for equal images.

    Example:
        >>> x = torch.rand(1, 1, 64, 64)
        >>> ms_ssim(x, x).round(decimals=4), ms_ssim(x, 1 - x)
        (tensor([1.]), tensor([0.]))
    """
    *finer, coarsest = WEIGHTS
    product = torch.ones(len(x), device=x.device)
    for weight in finer:
        product = product * similarity(x, y)[1].clamp(min=0) ** weight
        x, y = avg_pool2d(x, 2), avg_pool2d(y, 2)
    return product * similarity(x, y)[0].clamp(min=0) ** coarsest


def similarity(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """SSIM and its contrast-structure term (N,) of pairs of images (N, C, H, W) in [0, 1].

    References:
        Wang et al., Image quality assessment: from error visibility to structural similarity, 2004.

    Args:
        x: Images.
        y: The same.
    """
    c1, c2 = 0.01**2, 0.03**2
    mean_x, mean_y, xx, yy, xy = blur(torch.stack([x, y, x * x, y * y, x * y]))
    covariance = xy - mean_x * mean_y
    variances = xx - mean_x.square() + yy - mean_y.square()
    contrast = (2 * covariance + c2) / (variances + c2)
    luminance = (2 * mean_x * mean_y + c1) / (mean_x.square() + mean_y.square() + c1)
    return (luminance * contrast).mean((1, 2, 3)), contrast.mean((1, 2, 3))


def blur(x: Tensor) -> Tensor:
    """Weighted means (..., H - s + 1, W - s + 1) over all windows of maps (..., H, W)."""
    height, width = x.shape[-2:]
    size = min(11, height, width)
    return window(height, size).to(x) @ x @ window(width, size).to(x).T


def window(side: int, size: int) -> Tensor:
    """Every position of a Gaussian window along a side, as a matrix (side - size + 1, side)."""
    place = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    gauss = torch.exp(-(place**2) / (2 * (1.5 * size / 11) ** 2))
    matrix = torch.zeros(side - size + 1, side, dtype=torch.float64)
    for row in range(len(matrix)):
        matrix[row, row : row + size] = gauss / gauss.sum()
    return matrix
