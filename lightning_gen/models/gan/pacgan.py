"""PacGAN: The power of two samples in generative adversarial networks.

Lin, Khetan, Fanti, Oh. 2018, arXiv:1712.04086.
"""

from typing import Any

from torch import Tensor

from lightning_gen.models.gan.dcgan import DCGAN


class PacGAN(DCGAN):
    r"""A GAN whose discriminator judges m samples of one kind at a time.

    .. math:: \min_G \max_D E_{x_1, \dots, x_m}[\log D(x_1, \dots, x_m)]
              + E_{z_1, \dots, z_m}[\log(1 - D(G(z_1), \dots, G(z_m)))]

    Samples that are all alike give a collapsed generator away. The game is the DCGAN's; D is
    :class:`lightning_gen.networks.packing.Packed` around any discriminator.

    Note:
        A batch of N images is N / m packs. The authors draw the real packs with replacement from
        the whole set; here the images of a pack are neighbours in the shuffled order.

    References:
        Lin et al., PacGAN: The power of two samples in generative adversarial networks, 2018,
        arXiv:1712.04086.
    """

    D: Any  # has .pack

    def discriminate(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits (N,) of images (N, C, H, W): each has that of its pack, the last be repeated."""
        pack = self.D.pack
        whole = x[list(range(len(x))) + [-1] * (-len(x) % pack)]
        return self.D(whole).flatten().repeat_interleave(pack)[: len(x)]
