"""The family of models whose density is a simple one, carried by a one to one map."""

import math
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

from lightning_gen.densities import ContinuousDensityModule
from lightning_gen.functional.draws import drawn
from lightning_gen.functional.latent import lerp, slerp
from lightning_gen.functional.likelihoods import log_normal
from lightning_gen.networks.bijections import Bijection
from lightning_gen.networks.modes import evaluating
from lightning_gen.randomness import fold

STARTING = 256  # images that data-dependent layers start from


def log_logistic(z: Tensor) -> Tensor:
    r"""Log density (...) of independent standard logistic variables (..., d).

    Example:
        >>> log_logistic(torch.zeros(1)).exp()
        tensor(0.2500)
    """
    return -(softplus(z) + softplus(-z)).sum(-1)


BASES = {"normal": log_normal, "logistic": log_logistic}


class FlowModule(ContinuousDensityModule):
    r"""Base of normalising flows; a paper's file says what the map f is.

    .. math:: \log p(y) = \log p_z(f(y)) + \log |\det \partial f / \partial y|, \qquad
              y = f^{-1}(z), \quad z \sim p_z

    A paper's file sets ``flow``, the map from data (N, *shape) to latents (N, d), or has its own
    :meth:`transform` and :meth:`invert`.

    Args:
        base: What latents are: standard "normal" or "logistic".
        family: Arguments of :class:`ContinuousDensityModule`.

    Attributes:
        latent_dim: d, which is the number of pixels.
    """

    flow: Bijection

    def __init__(self, *, base: Literal["normal", "logistic"] = "normal", **family: Any) -> None:
        super().__init__(**family)
        self.base, self.log_base = base, BASES[base]
        self.latent_dim = math.prod(self.shape)

    def transform(self, y: Tensor, *of: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (N, d) and log-determinants (N,) of data (N, *shape), and labels (N,) if any."""
        return self.flow(y, *of)

    def invert(self, z: Tensor, *of: Tensor) -> Tensor:
        """Data (N, *shape) of latents (N, d), and of labels (N,) if any."""
        return self.flow.inverse(z, *of)

    def log_prob(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Log density (N,) in nats of data (N, *shape), through which gradients flow."""
        z, log_det = self.transform(x, *self.given(labels))
        return self.log_base(z) + log_det

    def given(self, labels: Tensor | None) -> tuple[Tensor, ...]:
        """Labels (N,) of a model that is conditional on them."""
        return () if labels is None else (labels.to(self.device),)

    def on_fit_start(self) -> None:
        """Show the first images to layers that start from data."""
        super().on_fit_start()
        starting: list[Any] = [m for m in self.modules() if hasattr(m, "starting")]
        x = self.first_images(STARTING) if starting else None
        if x is not None:
            draws = torch.Generator().manual_seed(fold(self.seed, "noise"))
            with evaluating(self), torch.no_grad():
                for layer in starting:
                    layer.starting = True
                self.transform(self.continuous(x, drawn("rand", x.shape, x.device, draws)))
                for layer in starting:
                    layer.starting = False

    @torch.no_grad()
    def encode(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Latents (N, d) of images in [-1, 1] (or points), whose noise is one half."""
        with evaluating(self):
            y = self.continuous(x, torch.full_like(x, 0.5))
            return self.transform(y, *self.given(labels))[0].float()

    def latents(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Latents (n, d) of the base; a CPU generator gives the same everywhere."""
        size = (n, self.latent_dim)
        if self.base in {"normal"}:
            return drawn("randn", size, self.device, generator)
        return drawn("rand", size, self.device, generator).clamp(1e-6, 1 - 1e-6).logit()

    def path(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        """Latents on the way from a to b (..., d), at shares t (...): an arc of normal ones."""
        return {"normal": slerp, "logistic": lerp}[self.base](a, b, t)

    @torch.no_grad()
    def generate(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images in [-1, 1] whose pixels are bytes, or points, of latents (N, d)."""
        with evaluating(self):
            y = self.invert(z.to(self.dtype), *self.given(labels))
            return self.discrete(y.float())

    def sample(
        self, n: int, *, labels: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw n images (n, C, H, W) in [-1, 1] whose pixels are bytes, or points (n, 2)."""
        return self.generate(self.latents(n, generator), self.checked(labels))
