"""Losses of two players from the discriminator's logits, in numerically stable form.

With D = sigmoid(logit): -log D = softplus(-logit) and -log(1 - D) = softplus(logit).
"""

from torch import Tensor
from torch.nn.functional import relu, softplus

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


def hinge_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    r"""The discriminator's hinge loss: logits beyond the margin of one count no more.

    .. math:: E[\max(0, 1 - D(x))] + E[\max(0, 1 + D(\tilde x))]

    References:
        Lim and Ye, Geometric GAN, 2017, arXiv:1705.02894; Miyato et al., Spectral Normalization
        for Generative Adversarial Networks, 2018, arXiv:1802.05957, equation 16.

    Args:
        real: Logits of real images, any shape.
        fake: Logits of generated images, any shape.

    Example:
        >>> import torch
        >>> hinge_discriminator_loss(torch.tensor([0.5, 2.0]), torch.tensor([-0.5, -2.0]))
        tensor(0.5000)
    """
    return relu(1 - at_least_float32(real)).mean() + relu(1 + at_least_float32(fake)).mean()


def least_squares(logits: Tensor, target: float) -> Tensor:
    r"""How far the discriminator's outputs are from what one of the players wants them to be.

    .. math:: E[(D(x) - c)^2]

    References:
        Mao et al., Least Squares Generative Adversarial Networks, 2016, arXiv:1611.04076; without
        its factor of a half in Zhu et al., Unpaired Image-to-Image Translation using
        Cycle-Consistent Adversarial Networks, 2017, arXiv:1703.10593, section 4.

    Args:
        logits: Outputs of the discriminator, any shape.
        target: The paper's a, b or c: 0 for generated images, 1 for real ones.

    Example:
        >>> import torch
        >>> least_squares(torch.tensor([0.0, 1.0]), 1.0)
        tensor(0.5000)
    """
    return (at_least_float32(logits) - target).square().mean()


def relativistic_loss(winner: Tensor, loser: Tensor) -> Tensor:
    r"""How much of a pair's logits the one side is behind, by the logistic function.

    .. math:: E[\log(1 + e^{-(D(x) - D(\tilde x))})]

    D descends it with the real images as winners, G with the generated ones.

    References:
        Jolicoeur-Martineau, The relativistic discriminator, 2018, arXiv:1807.00734; Huang et al.,
        The GAN is dead; long live the GAN!, 2025, arXiv:2501.05441, equation 2.

    Args:
        winner: Logits (N, ...) of the images that are to look more real.
        loser: Logits (N, ...) of those they are paired with.
    """
    return softplus(at_least_float32(loser) - at_least_float32(winner)).mean()
