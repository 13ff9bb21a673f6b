"""The restricted Boltzmann machine itself: its energy and its two conditional distributions."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, softplus

from lightning_gen.functional.pixels import unit_range
from lightning_gen.types import PositiveFloat, PositiveInt

MOST_ENUMERATED = 20  # hidden units: their 2^20 states take seconds


class BoltzmannMachine(nn.Module):
    r"""Binary visible and hidden units, connected between the layers only.

    .. math:: E(v, h) = -h^T W v - b^T v - c^T h, \qquad
              F(v) = -\log \sum_h e^{-E} = -b^T v - \sum_j \log(1 + e^{(W v + c)_j})

    Args:
        channels: Channels of an image, whose values are the visible units.
        resolution: Its side in pixels.
        hidden: Hidden units.
        init_std: Standard deviation of the initial weights.

    Example:
        >>> machine = BoltzmannMachine(channels=1, resolution=2, hidden=3)
        >>> v = torch.tensor([[0.0, 1.0, 1.0, 0.0]])
        >>> machine.hidden(v).shape, machine.visible(machine.hidden(v)).shape
        (torch.Size([1, 3]), torch.Size([1, 4]))
    """

    base_rate: Tensor

    def __init__(
        self,
        *,
        channels: PositiveInt,
        resolution: PositiveInt,
        hidden: PositiveInt = 500,
        init_std: PositiveFloat = 0.01,
    ) -> None:
        super().__init__()
        self.shape = (channels, resolution, resolution)
        pixels = channels * resolution**2
        self.weight = nn.Parameter(torch.randn(hidden, pixels) * init_std)
        self.visible_bias = nn.Parameter(torch.zeros(pixels))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))
        self.register_buffer("base_rate", torch.zeros(pixels))

    def start_at(self, mean: Tensor) -> None:
        """Give independent pixels the rates of the data; annealing begins there, too."""
        rates = unit_range(mean.double()).clamp(1e-4, 1 - 1e-4).flatten()
        for odds in (self.visible_bias, self.base_rate):
            odds.data.copy_(rates.logit())

    def hidden(self, v: Tensor) -> Tensor:
        """Logits (N, H) of the hidden units, given visible ones (N, V)."""
        return linear(v, self.weight, self.hidden_bias).float()

    def visible(self, h: Tensor) -> Tensor:
        """Logits (N, V) of the visible units, given hidden ones (N, H)."""
        return linear(h, self.weight.T, self.visible_bias).float()

    def free_energy(self, v: Tensor) -> Tensor:
        """F(v) (N,) of visible units (N, V), in full precision whatever samples are drawn in."""
        with torch.autocast(v.device.type, enabled=False):
            given = linear(v, self.weight, self.hidden_bias)
            return -(v @ self.visible_bias) - softplus(given).sum(1)

    @torch.no_grad()
    def gibbs(
        self, v: Tensor, betas: Sequence[float], rand: Callable[[int, int], Tensor]
    ) -> Tensor:
        r"""Sweeps of block Gibbs sampling: all hidden units, then all visible ones.

        At the inverse temperature :math:`\beta` between 0, independent pixels at the rates of the
        data, and 1, the machine itself.

        Args:
            v: Visible units (N, V) to start at.
            betas: The inverse temperature of each sweep.
            rand: Draws (n, units) of U[0, 1).
        """
        n, pixels = v.shape
        for beta in betas:
            h = (rand(n, len(self.hidden_bias)) < (beta * self.hidden(v)).sigmoid()).to(v)
            logits = (1 - beta) * self.base_rate + beta * self.visible(h)
            v = (rand(n, pixels) < logits.sigmoid()).to(v)
        return v

    def log_partition(self) -> Tensor:
        r"""Exact log Z, by going through all states of the hidden units.

        .. math:: Z = \sum_h e^{c^T h} \prod_i (1 + e^{(W^T h + b)_i})

        Raises:
            ValueError: There are more than 20 of them.
        """
        hidden = len(self.hidden_bias)
        if hidden > MOST_ENUMERATED:
            raise ValueError(f"exact log Z needs at most {MOST_ENUMERATED} hidden units: {hidden}")
        units = torch.arange(hidden, device=self.weight.device)
        parts = []
        for states in torch.arange(2**hidden, device=units.device).split(4096):
            h = ((states[:, None] >> units) & 1).to(self.weight)
            parts.append(h @ self.hidden_bias + softplus(self.visible(h)).sum(1))
        return torch.cat(parts).logsumexp(0)
