"""Mixtures of Gaussians in the plane, whose modes can be counted exactly.

Srivastava, Valkov, Russell, Gutmann, Sutton. VEEGAN. 2017, arXiv:1705.07761; with the centres and
widths of Lin, Khetan, Fanti, Oh. PacGAN. 2018, arXiv:1712.04086.
"""

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_gen.data.arrays import Prepared, Writer
from lightning_gen.data.module import DataModule, ImageSet, check_facts
from lightning_gen.types import NonNegativeInt, PositiveInt


class GaussianMixture(DataModule):
    """Equally likely Gaussians around given centres; a point's label is its component.

    Points lie on disk as they were drawn. With ``standardise`` the batches, the real points and
    the mixture are all divided by the same number, the standard deviation of the centres, so a
    point is within three standard deviations of a mode before exactly when it is after.

    Args:
        root: Folder of all data sets.
        cache: Folder for downloads; unused.
        centres: (K, 2).
        std: Standard deviation of each Gaussian.
        batch_size: Points of a minibatch over all devices.
        name: Name of the data set and of its folder.
        num_classes: K.
        n_train: Number of training points.
        n_test: Number of test points.
        draw_seed: Seed of the points; not the seed of a run.
        standardise: Divide by the standard deviation of the centres.
        resident: Keep the training points on the device.
    """

    def __init__(
        self,
        root: str,
        cache: str,
        *,
        centres: NDArray[np.float64],
        std: float,
        batch_size: int,
        name: str,
        num_classes: int,
        n_train: int,
        n_test: int,
        draw_seed: int,
        standardise: bool,
        resident: bool,
    ) -> None:
        check_facts(num_classes=(num_classes, len(centres)))
        super().__init__(
            root,
            cache,
            batch_size=batch_size,
            name=name,
            shape=(2,),
            num_classes=num_classes,
            resident=resident,
        )
        self.centres, self.std = centres, std
        self.n_train, self.n_test, self.draw_seed = n_train, n_test, draw_seed
        self.scale = float(np.sqrt(np.square(centres).mean())) if standardise else 1.0

    def recipe(self) -> dict[str, Any]:
        """The mixture, sizes and seed."""
        mixture = {"centres": (np.round(self.centres, 12) + 0.0).tolist(), "std": self.std}
        sizes = {"n_train": self.n_train, "n_test": self.n_test, "draw_seed": self.draw_seed}
        return {**mixture, **sizes}

    def write(self, writer: Writer) -> str:
        """Draw the points."""
        draw = np.random.RandomState(self.draw_seed)
        for split, n in (("train", self.n_train), ("test", self.n_test)):
            label = draw.randint(len(self.centres), size=n, dtype=np.int64)
            point = self.centres[label] + self.std * draw.standard_normal((n, 2))
            writer.save(f"{split}_point", point.astype(np.float32))
            writer.save(f"{split}_label", label)
        return "drawn"

    def open(self, prepared: Prepared) -> dict[str, ImageSet]:
        """Name the splits train and test."""
        return {
            split: ImageSet(prepared.array(f"{split}_point"), prepared.array(f"{split}_label"))
            for split in ("train", "test")
        }

    def decode(self, image: Tensor) -> Tensor:
        """Points in the space of :attr:`mixture`."""
        return image / self.scale

    @property
    def mixture(self) -> tuple[Tensor, float]:
        """Centres (K, 2) and standard deviation of the components, in the space of batches."""
        centres = torch.from_numpy(self.centres).to(torch.float32)
        return centres / self.scale, self.std / self.scale


class Ring(GaussianMixture):
    r"""Eight Gaussians of standard deviation 0.01 at :math:`(\cos, \sin)(2 \pi k / 8)`.

    References:
        Srivastava et al., VEEGAN, 2017, arXiv:1705.07761.
        Lin et al., PacGAN: The power of two samples in GANs, 2018, arXiv:1712.04086.

    Args:
        root: Folder of all data sets.
        cache: Folder for downloads; unused.
        batch_size: Points of a minibatch over all devices.
        name: Name of the data set and of its folder.
        channels: None: points, not images.
        resolution: None: points, not images.
        num_classes: 8.
        n_train: Number of training points.
        n_test: Number of test points.
        draw_seed: Seed of the points; not the seed of a run.
        standardise: Divide by the standard deviation of the centres, :math:`1 / \sqrt 2`, as the
            experiments of WGAN-GP do (their ring has radius :math:`\sqrt 2`).
        resident: Keep the training points on the device.
    """

    def __init__(
        self,
        root: str,
        cache: str,
        *,
        batch_size: PositiveInt,
        name: str = "ring",
        channels: None = None,
        resolution: None = None,
        num_classes: Literal[8] = 8,
        n_train: PositiveInt = 100_000,
        n_test: PositiveInt = 10_000,
        draw_seed: NonNegativeInt = 0,
        standardise: bool = False,
        resident: bool = False,
    ) -> None:
        check_facts(channels=(channels, None), resolution=(resolution, None))
        angle = 2 * np.pi * np.arange(8) / 8
        super().__init__(
            root,
            cache,
            centres=np.stack([np.cos(angle), np.sin(angle)], axis=1),
            std=0.01,
            batch_size=batch_size,
            name=name,
            num_classes=num_classes,
            n_train=n_train,
            n_test=n_test,
            draw_seed=draw_seed,
            standardise=standardise,
            resident=resident,
        )


class Grid(GaussianMixture):
    r"""Twenty-five Gaussians of standard deviation 0.05 at :math:`\{-4, -2, 0, 2, 4\}^2`.

    References:
        Srivastava et al., VEEGAN, 2017, arXiv:1705.07761.
        Lin et al., PacGAN: The power of two samples in GANs, 2018, arXiv:1712.04086.

    Args:
        root: Folder of all data sets.
        cache: Folder for downloads; unused.
        batch_size: Points of a minibatch over all devices.
        name: Name of the data set and of its folder.
        channels: None: points, not images.
        resolution: None: points, not images.
        num_classes: 25.
        n_train: Number of training points.
        n_test: Number of test points.
        draw_seed: Seed of the points; not the seed of a run.
        standardise: Divide by the standard deviation of the centres, :math:`\sqrt 8`, as the
            experiments of WGAN-GP do.
        resident: Keep the training points on the device.
    """

    def __init__(
        self,
        root: str,
        cache: str,
        *,
        batch_size: PositiveInt,
        name: str = "grid",
        channels: None = None,
        resolution: None = None,
        num_classes: Literal[25] = 25,
        n_train: PositiveInt = 100_000,
        n_test: PositiveInt = 10_000,
        draw_seed: NonNegativeInt = 0,
        standardise: bool = False,
        resident: bool = False,
    ) -> None:
        check_facts(channels=(channels, None), resolution=(resolution, None))
        ticks = 2.0 * np.arange(-2, 3)
        super().__init__(
            root,
            cache,
            centres=np.stack(np.meshgrid(ticks, ticks, indexing="ij"), axis=-1).reshape(-1, 2),
            std=0.05,
            batch_size=batch_size,
            name=name,
            num_classes=num_classes,
            n_train=n_train,
            n_test=n_test,
            draw_seed=draw_seed,
            standardise=standardise,
            resident=resident,
        )
