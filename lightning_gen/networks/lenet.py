"""The LeNet of domain adaptation on digits.

LeCun, Bottou, Bengio, Haffner. 1998; the variant of Hoffman et al. 2017, arXiv:1711.03213.
"""

from torch import Tensor, nn

from lightning_gen.types import HalfOpenFraction, PositiveInt


class LeNet(nn.Module):
    """Two 5 x 5 convolutions and two dense layers from an image to the logits of its class.

    Args:
        channels: Image channels.
        resolution: Image side in pixels, 16 at least.
        num_classes: Number of classes.
        width: Channels of the first feature map; the second has 2.5 times as many.
        units: Of the hidden dense layer.
        dropout: Rate of whole maps of the second convolution, and of hidden units.

    Example:
        >>> import torch
        >>> LeNet(channels=1, resolution=28, num_classes=10)(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        *,
        channels: PositiveInt,
        resolution: PositiveInt,
        num_classes: PositiveInt,
        width: PositiveInt = 20,
        units: PositiveInt = 500,
        dropout: HalfOpenFraction = 0.5,
    ) -> None:
        super().__init__()
        outer, side = 5 * width // 2, ((resolution - 4) // 2 - 4) // 2
        if side < 1:
            raise ValueError(f"resolution must be at least 16, got {resolution}")
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 5),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(width, outer, 5),
            nn.Dropout2d(dropout),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(outer * side**2, units),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(units, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to logits (N, num_classes)."""
        return self.layers(x)
