"""The heads of CUT, which make feature vectors of places in the encoder's maps.

Park, Efros, Zhang, Zhu. 2020, arXiv:2007.15651, section 3 and appendix C.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import normalize

from lightning_gen.functional.precision import at_least_float32
from lightning_gen.networks.dcgan import normal_init
from lightning_gen.types import NonNegativeFloat, PositiveInt


class PatchHeads(nn.Module):
    """A network of two layers for each of several feature maps; its outputs have length one.

    Args:
        widths: Channels of the maps.
        units: Units of the hidden layer, and of the output.
        init_std: Standard deviation of the initial weights.

    Example:
        >>> import torch
        >>> F = PatchHeads([3, 8], units=4)
        >>> maps = [torch.rand(2, 3, 6, 6), torch.rand(2, 8, 3, 3)]
        >>> [tuple(v.shape) for v in F(maps, [torch.arange(5), torch.arange(9)])]
        [(2, 5, 4), (2, 9, 4)]
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        units: PositiveInt = 256,
        init_std: NonNegativeFloat = 0.02,
    ) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(width, units), nn.ReLU(), nn.Linear(units, units))
            for width in widths
        )
        normal_init(self, init_std)

    def forward(self, maps: Sequence[Tensor], places: Sequence[Tensor]) -> list[Tensor]:
        """Map feature maps (N, C, H, W) to vectors (N, P, units) of some of their places.

        Args:
            maps: A map for each head.
            places: For each map, which of its H x W places (P,).
        """
        chosen = (h.flatten(2)[..., p].mT for h, p in zip(maps, places, strict=True))
        vectors = [head(v) for head, v in zip(self.heads, chosen, strict=True)]
        return [normalize(at_least_float32(v), dim=-1) for v in vectors]
