"""A history of generated images, for discriminators not to forget.

Shrivastava, Pfister, Tuzel, Susskind, Wang, Webb. 2016, arXiv:1612.07828, section 2.3, in the form
of Zhu, Park, Isola, Efros. 2017, arXiv:1703.10593, section 4.
"""

import torch
from torch import Tensor, nn

from lightning_gen.core import GenerativeModule
from lightning_gen.types import NonNegativeInt, PositiveInt


class ImagePool(nn.Module):
    """Some images generated before, of which D sees one instead of a new one half of the time.

    The first images fill the pool and are shown as they are. Of each one after, a fair coin says
    whether it is shown itself, or a random one of the pool that it takes the place of.

    Images and their number are buffers, so a checkpoint holds them. The pool is that of the
    *global* batch: every rank gathers the images of all, with random numbers that are a function of
    the step, so all ranks hold the same pool, rank 0 saves it for all, and a run shows its D the
    same images on any number of devices, killed and resumed or not.

    Args:
        size: How many images it keeps, 50 in the paper; with 0 every image is shown as it is.
        channels: Image channels.
        resolution: Image side in pixels.

    Example:
        >>> pool = ImagePool(size=2, channels=1, resolution=1)
        >>> coin, slot = torch.tensor([0.9, 0.9, 0.1, 0.9]), torch.tensor([0, 0, 0, 1])
        >>> pool.exchange(torch.arange(4.0).view(4, 1, 1, 1), coin, slot).flatten()
        tensor([0., 1., 2., 1.])
        >>> pool.images.flatten()
        tensor([0., 3.])
    """

    images: Tensor
    count: Tensor

    def __init__(
        self, size: NonNegativeInt = 50, *, channels: PositiveInt, resolution: PositiveInt
    ) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("images", torch.zeros(size, channels, resolution, resolution))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor, model: GenerativeModule) -> Tensor:
        """What D is to see in place of newly generated images.

        Args:
            x: This rank's generated images (n, C, H, W), of a whole batch.
            model: Whose random numbers are used, inside of a step.

        Returns:
            Images (n, C, H, W), new or from the pool, without gradient.
        """
        x, n = x.detach(), len(x)
        if not self.size:
            return x
        drawn = x.to(self.images.dtype), model.rand(n), model.randint(self.size, n)
        if model.trainer.world_size > 1:
            drawn = tuple(t.flatten(0, 1) for t in model.all_gather(drawn))
        shown = self.exchange(*drawn)
        return shown[model.global_rank * n : (model.global_rank + 1) * n]

    @torch.no_grad()
    def exchange(self, x: Tensor, coin: Tensor, slot: Tensor) -> Tensor:
        """Show images or others of the pool, one after the other; nothing waits for the device.

        Args:
            x: New images (n, C, H, W).
            coin: Numbers (n,) from U[0, 1): above a half means one of the pool, once it is full.
            slot: Integers (n,): which one.

        Returns:
            Images (n, C, H, W).
        """
        shown = []
        for new, heads, random in zip(
            x.split(1), (coin > 0.5).split(1), slot.split(1), strict=True
        ):
            full = self.count == self.size
            place = torch.where(full, random, self.count)
            old = self.images[place]
            swapped, kept = full & heads, heads | ~full
            shown.append(torch.where(swapped.view(-1, 1, 1, 1), old, new))
            self.images[place] = torch.where(kept.view(-1, 1, 1, 1), new, old)
            self.count += ~full
        return torch.cat(shown)
