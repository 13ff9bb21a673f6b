"""Two stacks of gated convolutions, of the rows above a place and of its own row.

van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves, Kavukcuoglu. 2016, arXiv:1606.05328.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import pairwise
from typing import cast

from torch import Tensor, nn

from lightning_gen.functional.conditionals import CONDITIONALS
from lightning_gen.networks.pixelcnn import MaskedConv2d, ShiftedConv2d, head
from lightning_gen.types import PositiveInt


def gated(x: Tensor) -> Tensor:
    """Tanh of every second channel times the logistic function of the one after it."""
    a, b = x.unflatten(1, (-1, 2)).unbind(2)
    return a.tanh() * b.sigmoid()


class GatedLayer(nn.Module):
    """A layer of both stacks (figure 2).

    Args:
        inputs: Channels in.
        width: Channels out.
        kernel: Side of the kernel, odd.
        own: Whether it sees its own row (vertical) and place (horizontal).
        num_classes: Classes that shift its channels.
        groups: Colours that channels are for.

    Example:
        >>> layer = GatedLayer(1, 4, 3, own=False, num_classes=10)
        >>> layer.vertical(torch.zeros(2, 1, 7, 7)).shape
        torch.Size([2, 8, 7, 7])
    """

    def __init__(
        self,
        inputs: PositiveInt,
        width: PositiveInt,
        kernel: PositiveInt,
        *,
        own: bool,
        num_classes: PositiveInt,
        groups: PositiveInt = 1,
    ) -> None:
        super().__init__()
        half = kernel // 2
        row = partial(MaskedConv2d, groups=groups, above=False)
        self.vertical = ShiftedConv2d(inputs, 2 * width, (half + own, kernel), (half, half))
        self.link = nn.Conv2d(2 * width, 2 * width, 1)
        self.horizontal = row(inputs, 2 * width, kernel, own=own)
        self.out = row(width, width, 1, own=True)
        self.classes = nn.Embedding(num_classes, 4 * width)
        self.residual = own

    def shifts(self, labels: Tensor) -> tuple[Tensor, ...]:
        """What classes (N,) add to both stacks, (N, 2 width, 1, 1) each."""
        return self.classes(labels)[:, :, None, None].chunk(2, 1)

    def forward(self, h: Tensor, link: Tensor, labels: Tensor) -> Tensor:
        """Map a row's own features (N, inputs, H, W), with those above, to (N, width, H, W)."""
        y = self.out(gated(self.horizontal(h) + link + self.shifts(labels)[1]))
        return h + y if self.residual else y


class GatedPixelCNNNetwork(nn.Module):
    """Gated layers, each of a vertical and a horizontal stack, without a blind spot.

    Args:
        channels: Image channels.
        likelihood: Of a pixel, as of the model.
        num_classes: Classes of the images.
        width: Channels of each stack, a multiple of those of the image.
        layers: Gated layers.
        kernel: Side of their kernels, odd; that of the first layer is 7.
        hidden: Channels of the last layer but one.

    Example:
        >>> options = {"likelihood": "bernoulli", "num_classes": 10, "width": 4, "layers": 3}
        >>> network = GatedPixelCNNNetwork(channels=1, **options)
        >>> network(torch.zeros(2, 1, 7, 7), torch.tensor([3, 4])).shape
        torch.Size([2, 1, 7, 7])
    """

    def __init__(
        self,
        *,
        channels: PositiveInt,
        likelihood: str,
        num_classes: PositiveInt,
        width: PositiveInt = 128,
        layers: PositiveInt = 20,
        kernel: PositiveInt = 5,
        hidden: PositiveInt = 128,
    ) -> None:
        super().__init__()
        if width % channels:
            raise ValueError(f"width={width} must be a multiple of channels={channels}")
        of = {"num_classes": num_classes, "groups": channels}
        self.layers = nn.ModuleList(
            GatedLayer(a, b, kernel if i else 7, own=i > 0, **of)
            for i, (a, b) in enumerate(pairwise([channels, *[width] * layers]))
        )
        outputs = channels * CONDITIONALS[likelihood].parameters
        self.head = head(width, hidden, outputs, channels)

    def above(self, x: Tensor, labels: Tensor) -> list[Tensor]:
        """What rows above tell each layer's row, (N, 2 width, H, W)."""
        links, layers = [], cast(Iterable[GatedLayer], self.layers)
        for layer in layers:
            x = layer.vertical(x) + layer.shifts(labels)[0]
            links.append(layer.link(x))
            x = gated(x)
        return links

    def given(self, x: Tensor, above: Sequence[Tensor], labels: Tensor) -> Tensor:
        """Map images (N, C, H, W) in [-1, 1], and what is above, to parameters (N, C P, H, W)."""
        for layer, link in zip(self.layers, above, strict=True):
            x = layer(x, link, labels)
        return self.head(x)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Map images (N, C, H, W) of classes (N,) to parameters (N, C P, H, W)."""
        return self.given(x, self.above(x, labels), labels)
