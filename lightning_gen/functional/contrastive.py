"""Losses that tell the pair that belongs together from those that do not."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lightning_gen.functional.precision import at_least_float32
from lightning_gen.types import PositiveFloat


def patch_nce(query: Tensor, key: Tensor, temperature: PositiveFloat = 0.07) -> Tensor:
    r"""Cross-entropy of finding a patch of the output among the patches of its input.

    .. math:: -E\left[\log \frac{\exp(v \cdot v^+ / \tau)}
              {\exp(v \cdot v^+ / \tau) + \sum_n \exp(v \cdot v^-_n / \tau)}\right]

    The negatives of a patch are the other patches of the same image.

    References:
        Park et al., Contrastive Learning for Unpaired Image-to-Image Translation, 2020,
        arXiv:2007.15651, equations 2 and 3.

    Args:
        query: Vectors (N, P, d) of length one, of P patches of each output.
        key: Vectors (N, P, d) of the same patches of the inputs; no gradient goes to them.
        temperature: The paper's tau.

    Example:
        >>> v = torch.eye(3)[None]
        >>> patch_nce(v, v, temperature=1.0)  # log(e + 2) - 1
        tensor(0.5514)
    """
    logits = at_least_float32(query) @ at_least_float32(key).detach().mT / temperature
    N, P, _ = logits.shape
    return cross_entropy(logits.flatten(0, 1), torch.arange(P, device=logits.device).repeat(N))
