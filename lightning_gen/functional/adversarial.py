"""Losses of two players from the discriminator's logits, in numerically stable form.

With D = sigmoid(logit): -log D = softplus(-logit) and -log(1 - D) = softplus(logit).
"""

from torch import Tensor
from torch.nn.functional import softplus

from lightning_gen.functional.precision import at_least_float32


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    r"""Negative of the value the discriminator ascends.

    .. math:: -E[\log D(x)] - E[\log(1 - D(\tilde x))]

    References:
        Goodfellow et al., Generative Adversarial Networks, 2014, arXiv:1406.2661, equation 1.

    Args:
        real: Logits of real images, any shape.
        fake: Logits of generated images, any shape.

    Example:
        >>> import torch
        >>> discriminator_loss(torch.zeros(4, 1), torch.zeros(4, 1))  # 2 log 2
        tensor(1.3863)
    """
    return softplus(-at_least_float32(real)).mean() + softplus(at_least_float32(fake)).mean()


def non_saturating_loss(fake: Tensor) -> Tensor:
    r"""The generator's loss that keeps its gradient when the discriminator wins.

    .. math:: -E[\log D(\tilde x)]

    References:
        Goodfellow et al., Generative Adversarial Networks, 2014, arXiv:1406.2661, section 3.

    Args:
        fake: Logits of generated images, any shape.
    """
    return softplus(-at_least_float32(fake)).mean()


def minimax_loss(fake: Tensor) -> Tensor:
    r"""The generator's side of the minimax game.

    .. math:: E[\log(1 - D(\tilde x))]

    References:
        Goodfellow et al., Generative Adversarial Networks, 2014, arXiv:1406.2661, equation 1.

    Args:
        fake: Logits of generated images, any shape.
    """
    return -softplus(at_least_float32(fake)).mean()
