"""Small networks of VEEGAN's experiments on two-dimensional mixtures.

Srivastava, Valkov, Russell, Gutmann, Sutton. 2017, arXiv:1705.07761.
"""

from torch import nn

from lightning_gen.networks.mlp import MLP
from lightning_gen.types import PositiveInt


class VEEGANMLP(MLP):
    """Layers of rectifiers whose weights are drawn as Glorot and Bengio do.

    G has two hidden layers of 128 units on 254 latents, D one; that D sees so little is what makes
    the plain GAN drop modes under these settings.

    References:
        Srivastava et al., VEEGAN: Reducing mode collapse in GANs using implicit variational
        learning, 2017, arXiv:1705.07761; the settings are those of the authors' notebook.

    Args:
        inputs: Input features.
        outputs: Output features.
        units: Units of each hidden layer.
        depth: Hidden layers.

    Example:
        >>> import torch
        >>> VEEGANMLP(inputs=2, units=8, depth=1)(torch.zeros(5, 2)).shape
        torch.Size([5, 1])
    """

    def __init__(
        self,
        *,
        inputs: PositiveInt,
        outputs: PositiveInt = 1,
        units: PositiveInt = 128,
        depth: PositiveInt = 2,
    ) -> None:
        super().__init__(inputs=inputs, outputs=outputs, units=units, depth=depth)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
