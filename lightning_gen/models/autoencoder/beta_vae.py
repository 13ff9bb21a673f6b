"""beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework.

Higgins, Matthey, Pal, Burgess, Glorot, Botvinick, Mohamed, Lerchner. ICLR 2017,
https://openreview.net/forum?id=Sy2fzU9gl; Burgess et al. 2018, arXiv:1804.03599.
"""

from typing import Any

import torch
from torch import Tensor

from lightning_gen.models.autoencoder.vae import VAE
from lightning_gen.types import NonNegativeFloat, PositiveInt


class BetaVAE(VAE):
    r"""A VAE whose divergence from the prior costs more, so that codes keep what tells most.

    .. math:: E_{q(z|x)}[\log p(x|z)] - \beta KL(q(z|x) \| p(z))

    With a capacity C the divergence is held at a value that grows instead of being kept small:

    .. math:: E_{q(z|x)}[\log p(x|z)] - \gamma |KL(q(z|x) \| p(z)) - C|

    Note:
        The likelihood is bounded as a VAE's; what is ascended is no bound of it for
        :math:`\beta < 1`. The distance from the capacity is that of each image.

    References:
        Higgins et al., beta-VAE, ICLR 2017, equation 4; Burgess et al., Understanding Disentangling
        in beta-VAE, 2018, arXiv:1804.03599, equation 8.

    Args:
        beta: What a nat of divergence costs, without a capacity.
        capacity: The last C in nats; None is the objective of Higgins et al.
        capacity_images: Images until it is reached, along a line from 0.
        gamma: What a nat beside the capacity costs.
        family: Arguments of :class:`VAE`.
    """

    def __init__(
        self,
        *,
        beta: NonNegativeFloat = 4.0,
        capacity: NonNegativeFloat | None = None,
        capacity_images: PositiveInt = 6_400_000,
        gamma: NonNegativeFloat = 1000.0,
        **family: Any,
    ) -> None:
        super().__init__(**family)
        self.beta, self.gamma = beta, gamma
        self.capacity, self.capacity_images = capacity, capacity_images

    def price(self, kl: Tensor) -> Tensor:
        """What is to be paid for divergences (N,): beta times as much, or what is not at C."""
        if self.capacity is None:
            return self.beta * kl
        C = self.capacity * min(1.0, self.images_before / self.capacity_images)
        return self.gamma * (kl - C).abs()

    def traverse(self, z: Tensor, steps: int = 10, limit: float = 3.0) -> dict[str, Tensor]:
        """Codes that differ from others in one unit alone.

        Args:
            z: Codes (N, latent_dim).
            steps: Values of a unit.
            limit: They run from -limit to limit.

        Returns:
            By unit, ``unit 1``, ``unit 2``, ..., codes (N, steps, latent_dim).
        """
        ways = z[:, None].repeat(1, steps, 1)
        along, units = torch.linspace(-limit, limit, steps).to(z)[:, None], torch.eye(z.shape[1])
        return {
            f"unit {i + 1}": torch.where(unit.to(z) > 0, along, ways)
            for i, unit in enumerate(units)
        }
