"""Hidden layers of all pixels, each of the pixels before it, at the cost of one weight a unit."""

from typing import Any, cast

import torch
from torch import Tensor


class Recursion(torch.autograd.Function):
    """Forwards and backwards over pixels, as algorithm 1 of the paper; see :func:`nade_logits`.

    Backwards, hidden units are made again by taking pixels away.
    """

    @staticmethod
    def forward(ctx: Any, v: Tensor, W: Tensor, c: Tensor, V: Tensor) -> Tensor:
        """Logits (N, D) without their biases."""
        v_T = v.T.contiguous()
        a, l_T = c.repeat(len(v), 1), torch.empty_like(v_T)
        h = torch.empty_like(a)
        for i in range(len(W)):
            torch.mv(torch.sigmoid(a, out=h), V[i], out=l_T[i])
            a.addr_(v_T[i], W[i])
        ctx.save_for_backward(v_T, W, V, a)
        return l_T.T

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of pixels (N, D), W, c and V."""
        v_T, W, V, a = ctx.saved_tensors
        g, a = gradients[0].T.contiguous(), a.clone()
        d_v = torch.zeros_like(v_T) if ctx.needs_input_grad[0] else None
        d_a, d_W, d_V = torch.zeros_like(a), torch.empty_like(W), torch.empty_like(V)
        for i in reversed(range(len(W))):
            if d_v is not None:
                torch.mv(d_a, W[i], out=d_v[i])
            torch.mm(v_T[i : i + 1], d_a, out=d_W[i : i + 1])
            h = a.addr_(v_T[i], W[i], alpha=-1).sigmoid()
            torch.mm(g[i : i + 1], h, out=d_V[i : i + 1])
            d_a += torch.ops.aten.sigmoid_backward(torch.outer(g[i], V[i]), h)
        return None if d_v is None else d_v.T, d_W, d_a.sum(0), d_V


def nade_logits(v: Tensor, W: Tensor, c: Tensor, V: Tensor, b: Tensor) -> Tensor:
    r"""Logits of pixels, each with a hidden layer of the pixels before it.

    .. math:: l_i = b_i + V_i \cdot \sigma(c + W_{<i} v_{<i})

    References:
        Larochelle, Murray, The Neural Autoregressive Distribution Estimator, 2011,
        https://proceedings.mlr.press/v15/larochelle11a.html, algorithm 1.

    Args:
        v: Pixels (N, D), in order.
        W: Weights (D, H) that pixels add to hidden units.
        c: Biases (H,) of hidden units.
        V: Weights (D, H) of hidden units for pixels.
        b: Biases (D,) of pixels.

    Returns:
        (N, D), in the precision of the weights.

    Example:
        >>> W, V, b = torch.ones(3, 2), torch.ones(3, 2), torch.zeros(3)
        >>> l = nade_logits(torch.tensor([[1.0, 0.0, 1.0]]), W, torch.zeros(2), V, b)
        >>> torch.equal(l, 2 * torch.tensor([[0.0, 1.0, 1.0]]).sigmoid())
        True
    """
    with torch.autocast(v.device.type, enabled=False):
        return cast(Tensor, Recursion.apply(v.to(W), W, c, V)) + b
