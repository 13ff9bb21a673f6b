"""Path lengths, and the optimiser of a player that is regularised every few rounds.

Karras, Laine, Aittala, Hellsten, Lehtinen, Aila. 2019, arXiv:1912.04958, section 3.
"""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_gen.functional.precision import at_least_float32


def path_lengths(
    synthesis: Callable[[Tensor], Tensor], w: Tensor, randn: Callable[..., Tensor]
) -> Tensor:
    r"""How far a random change of the image reaches back into its styles, differentiable once more.

    .. math:: \sqrt{\tfrac1L \textstyle\sum_l \| J_{w_l}^T y \|_2^2}, \quad
              J_{w_l}^T y = \nabla_{w_l} (g(w) \cdot y), \quad y \sim N(0, \tfrac{1}{HW} I)

    Computed in float32 at least.

    Note:
        The paper's y has variance one and its lengths are over all layers together; this scaling
        is the authors' code's. The square is 1 / (H W L) of the paper's.

    References:
        Karras et al., Analyzing and Improving the Image Quality of StyleGAN, 2019,
        arXiv:1912.04958, equation 4.

    Args:
        synthesis: The paper's g, from styles (N, L, d) to images (N, C, H, W).
        w: Styles (N, L, d) of L layers.
        randn: Draws a normal tensor of the given shape.

    Returns:
        Lengths (N,).

    Example:
        >>> w = torch.zeros(1, 1, 2, requires_grad=True)
        >>> lengths = path_lengths(lambda w: 5 * w[..., None], w, torch.ones)
        >>> round(lengths.item(), 4)  # of the gradient (5, 5), over the root of two pixels
        5.0
    """
    with torch.autocast(w.device.type, enabled=False):
        w = at_least_float32(w)
        x = synthesis(w)
        y = randn(*x.shape) / math.sqrt(x[0, 0].numel())
        (J_T_y,) = torch.autograd.grad((x * y).sum(), w, create_graph=True)
        return J_T_y.square().sum(2).mean(1).sqrt()


def slowed(
    factory: Callable[[Iterable[nn.Parameter]], Optimizer],
    k: int,
    parameters: Iterable[nn.Parameter],
) -> Optimizer:
    r"""An optimiser that goes in k + 1 steps as far as the factory's goes in k.

    .. math:: \lambda' = c \lambda, \quad \beta' = \beta^c, \quad c = \tfrac{k}{k + 1}

    References:
        Karras et al., Analyzing and Improving the Image Quality of StyleGAN, 2019,
        arXiv:1912.04958, appendix B.

    Args:
        factory: Makes the optimiser.
        k: Rounds between two steps of the regulariser, which is the further step.
        parameters: What it moves.

    Example:
        >>> from functools import partial
        >>> adam = partial(torch.optim.Adam, lr=0.002, betas=(0.0, 0.99))
        >>> group = slowed(adam, 4, [nn.Parameter(torch.zeros(1))]).param_groups[0]
        >>> round(group["lr"], 6), round(group["betas"][1], 6)
        (0.0016, 0.991992)
    """
    optimizer, c = factory(parameters), k / (k + 1)
    for group in optimizer.param_groups:
        group["lr"] *= c
        if "betas" in group:
            group["betas"] = tuple(beta**c for beta in group["betas"])
    return optimizer
