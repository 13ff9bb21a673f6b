"""The family of models that turn noise into data: plumbing around a denoiser."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lightning_gen.core import ImageBatch
from lightning_gen.functional.draws import drawn
from lightning_gen.functional.noise_schedules import Levels
from lightning_gen.functional.precision import at_least_float32
from lightning_gen.networks.ema import ExponentialMovingAverage
from lightning_gen.networks.modes import evaluating
from lightning_gen.players import DescendingModule
from lightning_gen.types import NonNegativeFloat, PositiveFloat, PositiveInt


class DiffusionModule(DescendingModule):
    r"""Base of every model of a Gaussian path between data and noise.

    .. math:: x_t = \alpha_t x_0 + \sigma_t \epsilon, \quad \epsilon \sim N(0, I)

    A paper's file says what a network makes of :math:`x_t` and t, what it is trained on
    (:meth:`loss`) and how samples are drawn (:meth:`draw`). All of them have the common view
    :meth:`denoise`, so that any sampler of :mod:`lightning_gen.functional.samplers` serves them.

    Args:
        denoiser: Network of :math:`x_t` (N, ...), numbers (N,) that tell the time, and classes
            (N,) if it is conditional; what comes out is of the shape of :math:`x_t`.
        channels: Channels of an image; None for points (2,).
        resolution: Its side in pixels; None for points.
        steps: Steps a sample is drawn in.
        ema_halflife: Half-life of the moving average of the network in images; None keeps none.
        ema_rampup: The half-life is at most this share of the images seen.
        family: Arguments of :class:`AlternatingModule`.

    Attributes:
        shape: Of an image, (C, H, W), or of a point, (2,).
    """

    sampling: ClassVar[tuple[str, ...]] = ("steps", "sampler")

    def __init__(
        self,
        *,
        denoiser: nn.Module,
        channels: PositiveInt | None = None,
        resolution: PositiveInt | None = None,
        steps: PositiveInt = 50,
        ema_halflife: PositiveFloat | None = 500_000,
        ema_rampup: NonNegativeFloat = 0.05,
        **family: Any,
    ) -> None:
        super().__init__(**family)
        self.denoiser = denoiser
        self.average = (
            ExponentialMovingAverage(denoiser, ema_halflife, ema_rampup) if ema_halflife else None
        )
        side = resolution or 1
        self.shape: tuple[int, ...] = (channels, side, side) if channels else (2,)
        self.steps = steps

    def after_turn(self, player: str) -> None:
        """Move the average of the denoiser after its step."""
        super().after_turn(player)
        if player in {"model"} and self.average is not None:
            images = self.images_per_iteration
            self.average.update(self.denoiser, images=images, images_seen=self.images_seen)

    def compile_networks(self) -> None:
        """Compile the denoiser in place."""
        self.denoiser.compile()

    @property
    def has_ema(self) -> bool:
        """Whether samples come from averaged weights."""
        return self.average is not None

    @property
    def network(self) -> nn.Module:
        """What samples are drawn from: the average, or the denoiser under raw_weights."""
        return self.denoiser if self._raw or self.average is None else self.average

    @property
    def of_images(self) -> bool:
        """Whether data are images, whose pixels are in [-1, 1], and not points."""
        return len(self.shape) > 1

    @property
    def nfe(self) -> int | None:
        """How often the network is evaluated for a sample; None if its solver decides that."""
        return self.steps

    def levels(self, t: Tensor) -> Levels:
        """Factors of the path at times (N,)."""
        raise NotImplementedError

    def denoise(
        self, network: nn.Module, x: Tensor, t: Tensor, labels: Tensor | None = None
    ) -> Tensor:
        """What a network expects the data to be, :math:`E[x_0 | x_t]`.

        Args:
            network: The denoiser, or its average.
            x: :math:`x_t` (N, ...).
            t: Times (N,).
            labels: Classes (N,) of a conditional model.
        """
        raise NotImplementedError

    def expected(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        """What samples are drawn by: the data that the network of the moment expects."""
        return self.denoise(self.network, x, t, labels)

    def loss(self, x: Tensor, t: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """The paper's loss of data (N, ...) at times (N,), with the noise that is put on them."""
        raise NotImplementedError

    def times(self, n: int) -> Tensor:
        """Draw this rank's times (n,) of a step."""
        return self.rand(n)

    def pairs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Data (N, ...) of a batch of images or points, and the noise for them."""
        return x, self.randn(*x.shape)

    def classes(self, labels: Tensor) -> Tensor:
        """Classes (N,) that a conditional network is told in training, of the labels."""
        return labels

    def at(self, x: Tensor, t: Tensor, noise: Tensor) -> tuple[Tensor, Levels]:
        """Data with noise on them at times (N,), and their levels, shaped to multiply."""
        levels = self.levels(t).like(x)
        return levels.alpha * x + levels.sigma * noise, levels

    def training_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Put noise on data at random times, and descend on the loss."""
        x, noise = self.pairs(batch.image)
        drawn = [x, self.times(len(x)), noise]
        if self.requires_labels and batch.label is not None:
            drawn.append(self.classes(batch.label))
        with self.descending("model") as descend:
            for parts in self.micro(*drawn):
                descend(self.loss(*parts))

    def draw(
        self, noise: Tensor, labels: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """Lead standard normal noise (N, ...) to data, by the network of the moment."""
        raise NotImplementedError

    def picture(self, x: Tensor) -> Tensor:
        """Images in [-1, 1] of what was drawn; points as they are."""
        return x.clamp(-1, 1) if self.of_images else x

    @torch.no_grad()
    def sample(
        self, n: int, *, labels: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw n samples, from the averaged weights where there are any.

        Args:
            n: How many.
            labels: Classes (n,), of a conditional model; refused by others.
            generator: Source of randomness; a CPU generator gives the same samples everywhere.

        Returns:
            Images (n, C, H, W) in [-1, 1], or points (n, 2).
        """
        labels = self.checked(labels)
        noise = drawn("randn", (n, *self.shape), self.device, generator)
        with evaluating(self):
            return self.picture(at_least_float32(self.draw(noise, labels, generator)))
