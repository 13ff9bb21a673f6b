"""The networks of InfoGAN's MNIST experiment, for any channels and resolution.

Chen, Duan, Houthooft, Schulman, Sutskever, Abbeel. 2016, arXiv:1606.03657, table 1.
"""

from torch import Tensor, nn

from lightning_gen.networks.dcgan import normal_init
from lightning_gen.types import NonNegativeFloat, PositiveInt


class InfoGANGenerator(nn.Module):
    """Two dense layers and two transposed convolutions from noise and codes to an image.

    Args:
        latent_dim: Dimension of z with its codes.
        channels: Image channels.
        resolution: Image side in pixels, a multiple of four.
        width: Channels of the last hidden feature map; twice as many before it.
        units: Units of the first layer.
        init_std: Standard deviation of the initial weights.

    Raises:
        ValueError: If the resolution is not a multiple of four.

    Example:
        >>> import torch
        >>> G = InfoGANGenerator(latent_dim=74, channels=1, resolution=28, width=4, units=8)
        >>> G(torch.zeros(2, 74)).shape
        torch.Size([2, 1, 28, 28])
    """

    def __init__(
        self,
        *,
        latent_dim: PositiveInt = 74,
        channels: PositiveInt,
        resolution: PositiveInt,
        width: PositiveInt = 64,
        units: PositiveInt = 1024,
        init_std: NonNegativeFloat = 0.02,
    ) -> None:
        super().__init__()
        if resolution % 4:
            raise ValueError(f"resolution={resolution} must be a multiple of 4")
        side = resolution // 4
        self.dense = nn.Sequential(
            nn.Linear(latent_dim, units, bias=False),
            nn.BatchNorm1d(units),
            nn.ReLU(),
            nn.Linear(units, 2 * width * side**2, bias=False),
            nn.BatchNorm1d(2 * width * side**2),
            nn.ReLU(),
            nn.Unflatten(1, (2 * width, side, side)),
        )
        self.deconvolutions = nn.Sequential(
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.ConvTranspose2d(width, channels, 4, 2, 1),
            nn.Tanh(),
        )
        normal_init(self, init_std, scales=False)

    def forward(self, z: Tensor) -> Tensor:
        """Map latents (N, latent_dim) to images (N, C, H, W) in [-1, 1]."""
        return self.deconvolutions(self.dense(z))


class InfoGANDiscriminator(nn.Module):
    """A trunk that the discriminator D and the recognition network Q share, and their heads.

    Args:
        categories: Values of the categorical code.
        continuous: Number of continuous codes.
        channels: Image channels.
        resolution: Image side in pixels, a multiple of four.
        width: Channels of the first feature map; twice as many in the second.
        units: Units of the last shared layer.
        q_units: Units of Q's own layer.
        init_std: Standard deviation of the initial weights.

    Raises:
        ValueError: If the resolution is not a multiple of four.

    Example:
        >>> import torch
        >>> D = InfoGANDiscriminator(channels=1, resolution=28, width=4, units=8)
        >>> [h.shape for h in D.heads(torch.zeros(2, 1, 28, 28))]
        [torch.Size([2, 1]), torch.Size([2, 10]), torch.Size([2, 2])]
    """

    def __init__(
        self,
        *,
        categories: PositiveInt = 10,
        continuous: PositiveInt = 2,
        channels: PositiveInt,
        resolution: PositiveInt,
        width: PositiveInt = 64,
        units: PositiveInt = 1024,
        q_units: PositiveInt = 128,
        init_std: NonNegativeFloat = 0.02,
    ) -> None:
        super().__init__()
        if resolution % 4:
            raise ValueError(f"resolution={resolution} must be a multiple of 4")
        self.sizes = (categories, continuous)
        self.trunk = nn.Sequential(
            nn.Conv2d(channels, width, 4, 2, 1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.LeakyReLU(0.1),
            nn.Flatten(),
            nn.Linear(2 * width * (resolution // 4) ** 2, units, bias=False),
            nn.BatchNorm1d(units),
            nn.LeakyReLU(0.1),
        )
        self.source = nn.Linear(units, 1)
        self.Q = nn.Sequential(
            nn.Linear(units, q_units, bias=False),
            nn.BatchNorm1d(q_units),
            nn.LeakyReLU(0.1),
            nn.Linear(q_units, sum(self.sizes)),
        )
        normal_init(self, init_std, scales=False)

    def features(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to the shared features (N, units)."""
        return self.trunk(x)

    def heads(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map images to D's logits (N, 1), Q's category logits and Q's means of the codes."""
        h = self.trunk(x)
        return self.source(h), *self.Q(h).split(self.sizes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to logits (N, 1) of being real."""
        return self.source(self.trunk(x))
