"""Tiles and edges: what a network of local operations gives must not depend on either."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from lightning_gen.functional.tiling import padded, starts, tiled


@pytest.mark.parametrize("size", [(64, 64), (50, 71), (17, 90), (9, 12)])
@pytest.mark.parametrize(("tile", "overlap"), [(32, 8), (20, 0), (24, 23)])
def test_tiles_of_a_pointwise_function(size, tile, overlap):
    x = torch.rand(2, 3, *size)
    assert torch.allclose(tiled(torch.exp, x, tile, overlap), x.exp(), atol=1e-6)
    shuffled = nn.Sequential(nn.Conv2d(3, 12, 1), nn.PixelShuffle(2))
    with torch.no_grad():
        assert torch.allclose(tiled(shuffled, x, tile, overlap), shuffled(x), atol=1e-6)


def test_tiles_of_a_local_function_agree_inside():
    torch.manual_seed(0)
    conv = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    x = torch.rand(1, 1, 100, 100)
    with torch.no_grad():
        whole, tiles = conv(x), tiled(conv, x, 40, 20)
    assert (whole - tiles).abs().mean() < 0.1 * (whole - whole.mean()).abs().mean()
    assert torch.equal(tiled(conv, x, 100, 20), whole)


@pytest.mark.parametrize("size", [(100, 32, 8), (33, 32, 8), (32, 32, 0), (97, 10, 9)])
def test_tiles_cover_everything(size):
    length, tile, overlap = size
    begin = list(starts(length, tile, overlap))
    assert begin[0] == 0 and max(begin) + tile == length
    assert all(b - a <= tile - overlap for a, b in pairwise(begin))


@pytest.mark.parametrize("size", [(28, 28), (30, 45), (2, 3)])
def test_padding_is_cut_off_again(size):
    seen = []

    def halved(x):
        seen.append(x.shape[2:])
        return x

    x = torch.rand(1, 1, *size)
    assert torch.equal(padded(halved, x, 8), x)
    assert all(side % 8 == 0 for side in seen[0])
