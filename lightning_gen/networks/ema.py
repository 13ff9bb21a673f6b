"""A moving average of a network's weights, beside the network."""

import copy

import torch
from torch import Tensor, nn


class ExponentialMovingAverage(nn.Module):
    r"""Average of a network's parameters with a half-life in images.

    .. math:: \theta' \leftarrow \theta + \beta (\theta' - \theta),
              \quad \beta = 2^{-n / \min(h, r t)}

    after n more images, at t images seen, with half-life h and ramp-up r. Buffers (running
    statistics) are copied. It is a submodule, so it is saved, moved and resumed with its owner,
    and it is never swapped with the network it follows.

    References:
        Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, 2022,
        arXiv:2206.00364 (half-life in images, ramp-up).

    Args:
        network: The network to follow.
        halflife: Images after which a weight's influence halves.
        rampup: The half-life is at most this share of the images seen; 0 switches the ramp off.

    Example:
        >>> net = nn.Linear(1, 1)
        >>> ema = ExponentialMovingAverage(net, halflife=100, rampup=0)
        >>> with torch.no_grad():
        ...     _ = net.weight.copy_(ema.network.weight + 1)
        >>> before = ema.network.weight.item()
        >>> ema.update(net, images=100, images_seen=100)
        >>> round(ema.network.weight.item() - before, 4)
        0.5
    """

    def __init__(self, network: nn.Module, halflife: float, rampup: float = 0.05) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.halflife, self.rampup = halflife, rampup

    def train(self, mode: bool = True) -> "ExponentialMovingAverage":
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, *args: Tensor | None) -> Tensor:
        """Apply the averaged network."""
        return self.network(*args)

    @torch.no_grad()
    def update(self, network: nn.Module, *, images: int, images_seen: int) -> None:
        """Move towards the network's present weights.

        Args:
            network: The network followed.
            images: Images since the last update.
            images_seen: Images since the start, for the ramp-up.
        """
        halflife = min(self.halflife, self.rampup * images_seen) if self.rampup else self.halflife
        beta = 0.5 ** (images / max(halflife, 1e-8))
        averages = [p.detach() for p in self.network.parameters()]
        present = [p.detach() for p in network.parameters()]
        torch._foreach_lerp_(averages, present, 1 - beta)
        for average, buffer in zip(self.network.buffers(), network.buffers(), strict=True):
            average.copy_(buffer)
