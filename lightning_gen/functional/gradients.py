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
    return torch.linalg.vector_norm(_gradient(f, x), dim=1)


def squared_gradient_norm(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    r"""Mean squared norm of a discriminator's gradient at its inputs, differentiable once more.

    .. math:: E[\| \nabla_{x} f(x) \|_2^2]

    At real images this is R1, at generated ones R2. Computed in float32 at least.

    References:
        Mescheder et al., Which Training Methods for GANs do actually Converge?, 2018,
        arXiv:1801.04406, equations 9 and 10.

    Args:
        f: Maps (N, ...) to (N, 1) or (N,), each output depending on its own input only.
        x: Inputs (N, ...).

    Returns:
        A scalar.

    Example:
        >>> x = torch.tensor([[1.5, 2.0], [0.0, 0.0]])
        >>> squared_gradient_norm(lambda x: x.square().sum(1), x).detach()
        tensor(12.5000)
    """
    return _gradient(f, x).square().sum(1).mean()


def _gradient(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Gradients (N, d) at each input, flattened."""
    with torch.autocast(x.device.type, enabled=False):
        x = at_least_float32(x.detach()).requires_grad_()
        (gradient,) = torch.autograd.grad(f(x).sum(), x, create_graph=True)
        return gradient.flatten(1)
