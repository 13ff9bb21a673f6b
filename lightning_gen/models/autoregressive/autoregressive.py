"""Models of images pixel by pixel: plumbing, whatever a conditional is made by."""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from lightning_gen.densities import DensityModule
from lightning_gen.functional.conditionals import CONDITIONALS, Conditional
from lightning_gen.functional.draws import drawn
from lightning_gen.networks.modes import evaluating
from lightning_gen.types import PositiveFloat, PositiveInt


class AutoregressiveModule(DensityModule):
    r"""Base of models whose density is a product over pixels; a paper's file says of what.

    .. math:: p(x) = \prod_i p(x_i | x_{o_1}, \ldots, x_{o_{k - 1}}), \quad o_k = i

    A paper's file has :meth:`logits`, all conditionals of an image at once. Samples are made of
    uniform numbers, one a pixel: each pixel is that quantile of its conditional. Here that takes a
    whole :meth:`logits` a pixel; :meth:`draw_pixels` is overridden where it can be had for less.

    Args:
        channels: Channels of an image.
        resolution: Its side in pixels.
        likelihood: Of a pixel: "bernoulli" (binary ones) or "categorical" (bytes).
        temperature: Samples come from conditionals whose logits are divided by it.
        family: Arguments of :class:`AlternatingModule`.

    Attributes:
        shape: Of an image, (C, H, W).
        order: Places (C H W,) of an image's pixels as they are drawn: row by row, and each pixel's
            channels one after the other, if a paper's file has no other.
        conditional: What :meth:`logits` mean.
    """

    sampling: ClassVar[tuple[str, ...]] = ("temperature",)
    order: Tensor

    def __init__(
        self,
        *,
        channels: PositiveInt,
        resolution: PositiveInt,
        likelihood: Literal["bernoulli", "categorical"] = "bernoulli",
        temperature: PositiveFloat = 1.0,
        **family: Any,
    ) -> None:
        super().__init__(**family)
        self.shape = (channels, resolution, resolution)
        self.temperature = temperature
        self.conditional: Conditional = CONDITIONALS[likelihood]
        self.likelihood_space = self.conditional.space
        places = torch.arange(channels * resolution**2).view(self.shape)
        self.register_buffer("order", places.permute(1, 2, 0).flatten())

    def logits(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Parameters of every pixel's conditional, given the pixels before it.

        Args:
            x: Images (N, C, H, W) in [-1, 1].
            labels: Classes (N,), of a model that learns from them.

        Returns:
            (N, P, C, H, W), with P numbers a pixel as :attr:`conditional` has them.
        """
        raise NotImplementedError

    def log_prob(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Log probability (N,) of images (N, C, H, W) in [-1, 1]."""
        return self.conditional.log_prob(x, self.logits(x, labels)).flatten(1).sum(1)

    @torch.no_grad()
    def log_likelihood(
        self,
        x: Tensor,
        labels: Tensor | None = None,
        *,
        samples: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Log probability (N,) of images (N, C, H, W), of classes (N,) if the model asks for them.

        ``samples`` and the generator mean nothing here, as the probability is exact.
        """
        with evaluating(self):
            return self.log_prob(x, self.checked(labels) if self.requires_labels else None)

    @torch.no_grad()
    def sample(
        self, n: int, *, labels: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw n images (n, C, H, W) in [-1, 1], pixel by pixel."""
        labels = self.checked(labels)
        u = drawn("rand", (n, *self.shape), self.device, generator)
        with evaluating(self):
            return self.draw_pixels(u, labels)

    def in_order(self, x: Tensor) -> Tensor:
        """Pixels (N, C H W) of images (N, C, H, W), as they are drawn."""
        return x.flatten(1)[:, self.order]

    def in_place(self, parameters: Tensor) -> Tensor:
        """Numbers (N, P, C, H, W) of images, of those (N, P, C H W) of pixels as they are drawn."""
        return parameters[:, :, self.order.argsort()].unflatten(2, self.shape)

    def draw_pixels(self, u: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images whose pixels are quantiles u (N, C, H, W) of their conditionals."""
        x, quantiles = torch.zeros_like(u), u.flatten(1)
        pixels = x.flatten(1)  # a view
        for i in self.order.tolist():
            parameters = self.logits(x, labels).flatten(2)[:, :, i]
            pixels[:, i] = self.conditional.draw(parameters, quantiles[:, i], self.temperature)
        return x
