"""Derivatives of a network with respect to its input."""

from collections.abc import Callable

import torch
from torch import Tensor

from lightning_gen.functional.precision import at_least_float32


def gradient_norm(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    r"""Norm of a critic's gradient at each input, differentiable a second time.

    .. math:: \| \nabla_{x} f(x) \|_2

    Computed in float32 at least, whatever the autocast: a squared norm in half precision overflows.

    References:
        Gulrajani et al., Improved Training of Wasserstein GANs, 2017, arXiv:1704.00028, equation 3.

    Args:
        f: Maps (N, ...) to (N, 1) or (N,), each output depending on its own input only.
        x: Inputs (N, ...).

    Returns:
        Norms (N,).

    Example:
        >>> gradient_norm(lambda x: x.square().sum(1), torch.tensor([[1.5, 2.0]])).detach()
        tensor([5.])
    """
    with torch.autocast(x.device.type, enabled=False):
        x = at_least_float32(x.detach()).requires_grad_()
        (gradient,) = torch.autograd.grad(f(x).sum(), x, create_graph=True)
        return torch.linalg.vector_norm(gradient.flatten(1), dim=1)
