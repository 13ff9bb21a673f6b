"""Fully connected networks for two-dimensional mixtures."""

from itertools import pairwise

from torch import Tensor, nn

from lightning_gen.networks.maxout import Maxout
from lightning_gen.types import NonNegativeFloat, PositiveInt


def normal_linear_init(network: nn.Module, std: float | None) -> None:
    """Draw the weights of linear layers from N(0, std^2); biases are zero; None leaves torch's."""
    if std is None:
        return
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, std)
            nn.init.zeros_(module.bias)


class MLP(nn.Module):
    """Rectifier layers, with batch normalisation between them on request.

    References:
        Lin et al., PacGAN, 2017, arXiv:1712.04086 (generator: 4 x 400 with batch norm); Gulrajani
        et al., Improved Training of Wasserstein GANs, 2017, arXiv:1704.00028 (3 x 512).

    Args:
        inputs: Input features.
        outputs: Output features.
        units: Units of each hidden layer.
        depth: Hidden layers.
        batch_norm: Normalise each hidden layer over the batch.
        init_std: Standard deviation of the initial weights; None keeps torch's initialisation.

    Example:
        >>> MLP(inputs=2, outputs=1, units=8, depth=3)(torch.zeros(5, 2)).shape
        torch.Size([5, 1])
    """

    def __init__(
        self,
        *,
        inputs: PositiveInt,
        outputs: PositiveInt,
        units: PositiveInt = 400,
        depth: PositiveInt = 4,
        batch_norm: bool = False,
        init_std: NonNegativeFloat | None = None,
    ) -> None:
        super().__init__()
        widths = [inputs] + [units] * depth
        layers: list[nn.Module] = []
        for inner, outer in pairwise(widths):
            layers.append(nn.Linear(inner, outer))
            layers += [nn.BatchNorm1d(outer)] if batch_norm else []
            layers.append(nn.ReLU())
        self.layers = nn.Sequential(*layers, nn.Linear(units, outputs))
        normal_linear_init(self, init_std)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs) to (N, outputs)."""
        return self.layers(x)


class MaxoutMLP(nn.Module):
    """Maxout layers and a linear output.

    References:
        Lin et al., PacGAN, 2017, arXiv:1712.04086 (discriminator: 3 x 200 of 5 pieces).

    Args:
        inputs: Input features.
        outputs: Output features.
        units: Units of each hidden layer.
        pieces: Affine pieces of each unit.
        depth: Hidden layers.
        init_std: Standard deviation of the initial weights; None keeps torch's initialisation.

    Example:
        >>> MaxoutMLP(inputs=2, outputs=1, units=8)(torch.zeros(5, 2)).shape
        torch.Size([5, 1])
    """

    def __init__(
        self,
        *,
        inputs: PositiveInt,
        outputs: PositiveInt = 1,
        units: PositiveInt = 200,
        pieces: PositiveInt = 5,
        depth: PositiveInt = 3,
        init_std: NonNegativeFloat | None = 0.02,
    ) -> None:
        super().__init__()
        widths = [inputs] + [units] * depth
        self.layers = nn.Sequential(
            *(Maxout(a, b, pieces) for a, b in pairwise(widths)),
            nn.Linear(units, outputs),
        )
        normal_linear_init(self, init_std)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs) to (N, outputs)."""
        return self.layers(x)
