"""Tokens one by one: which is chosen, and what has to be computed for it."""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from lightning_gen.functional.precision import at_least_float32


def choose(
    logits: Tensor, u: Tensor, *, temperature: float = 1.0, top_k: int | None = None
) -> Tensor:
    """Tokens by the inverse of their cumulative distribution.

    Args:
        logits: (N, V).
        u: Uniform numbers (N,) in [0, 1).
        temperature: What logits are divided by; 0 takes the most probable token.
        top_k: So many of the most probable tokens alone may be drawn; None is all of them.

    Returns:
        (N,) in 0, ..., V - 1.

    Example:
        >>> logits = torch.tensor([[0.5, 0.3, 0.2]]).log().expand(4, 3)
        >>> u = torch.tensor([0.0, 0.49, 0.6, 0.9])
        >>> choose(logits, u), choose(logits, u, top_k=1), choose(logits, u, temperature=0)
        (tensor([0, 0, 1, 2]), tensor([0, 0, 0, 0]), tensor([0, 0, 0, 0]))
    """
    if temperature in {0}:
        return logits.argmax(-1)
    scaled = logits.double() / temperature
    if top_k is not None and top_k < scaled.shape[-1]:
        best = scaled.topk(top_k, dim=-1)
        scaled = torch.full_like(scaled, -torch.inf).scatter(-1, best.indices, best.values)
    below = scaled.softmax(-1).cumsum(-1)
    below = below / below[:, -1:]  # the last is 1 exactly, and u is less
    return (below <= u[:, None]).sum(-1)


class Stepping(Protocol):
    """A network of tokens that may be computed token by token."""

    tokens: int
    length: int | None

    def __call__(self, x: Tensor) -> Tensor:
        """Logits (N, t, V) of tokens (N, t), each given those before it."""

    def begin(self, n: int) -> Any:
        """What is kept of n sequences, before any token."""

    def step(self, inputs: Tensor, cache: Any = None) -> Tensor:
        """Logits (N, t, V) of what follows each of t inputs (N, t)."""

    def full(self, cache: Any) -> bool:
        """Whether no other input has room."""


def window(t: int, length: int | None) -> int:
    """The first token that token t is told from, where a network sees so many inputs at once.

    As the window is full it moves on by half its length, so that not every token has to be
    computed anew for each that follows.

    Example:
        >>> [window(t, 4) for t in range(9)]
        [0, 0, 0, 0, 2, 2, 4, 4, 6]
    """
    if length is None or t < length:
        return 0
    half = max(1, length // 2)
    return -(-(t - length + 1) // half) * half


def continued(
    network: Stepping,
    prompt: Tensor,
    u: Tensor,
    choosing: Callable[[Tensor, Tensor], Tensor],
    *,
    cached: bool = True,
) -> Tensor:
    """Draw tokens after those of a prompt.

    Args:
        network: Gives logits.
        prompt: Tokens (N, p) that come first; p may be 0.
        u: Uniform numbers (N, t).
        choosing: Gives tokens (N,) of logits (N, V) and uniform numbers (N,).
        cached: Keep what was computed of the tokens before, or compute it anew for each.

    Returns:
        Tokens (N, p + t), the prompt first.
    """
    n, p = prompt.shape
    x = torch.cat([prompt, prompt.new_empty(u.shape)], 1)
    start = prompt.new_full((n, 1), network.tokens)
    cache = None
    for t in range(p, x.shape[1]):
        if cached and cache is not None and not network.full(cache):
            logits = network.step(x[:, t - 1 : t], cache)
        else:
            cache = network.begin(n) if cached else None
            first = window(t, network.length)
            logits = network.step(torch.cat([start, x[:, first:t]], 1), cache)
        x[:, t] = choosing(at_least_float32(logits[:, -1]), u[:, t - p])
    return x
