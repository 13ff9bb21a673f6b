"""Masked Autoregressive Flow for Density Estimation.

Papamakarios, Pavlakou, Murray. 2017, arXiv:1705.07057.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

from torch import Tensor

from lightning_gen.models.flow.flow import FlowModule
from lightning_gen.networks.bijections import BatchNorm, Bijection, Chain, Reverse, View
from lightning_gen.networks.couplings import Affine, Coupling, DenseConditioner
from lightning_gen.networks.masked import Autoregressive, AutoregressiveMixture
from lightning_gen.types import NonNegativeInt, PositiveInt


class MAF(FlowModule):
    r"""Each pixel is standardised by what a masked network says of those before it.

    .. math:: z_i = (y_i - \mu_i) e^{-\alpha_i}, \qquad
              (\mu_i, \alpha_i) = (f_{\mu_i}(y_{1:i-1}), f_{\alpha_i}(y_{1:i-1}))

    Layer after layer the order is reversed, with batch normalisation in between. What leaves the
    last is normal, or of a mixture of Gaussians that those before it say. The models of table 2
    are

    ==================  ================================================
    MADE                ``layers=1``
    MADE MoG            ``layers=0, components=10``
    MAF (5), (10)       ``layers=5``, ``layers=10``
    MAF MoG (5)         ``layers=5, components=10``
    Real NVP (5)        ``layers=5, layer=coupling``
    ==================  ================================================

    Note:
        Points are drawn feature by feature, each time computing only the units that are new. One
        network makes scale and shift of a coupling, with ReLUs in both.

    References:
        Papamakarios et al., Masked Autoregressive Flow for Density Estimation, 2017,
        arXiv:1705.07057.

    Args:
        layers: How many maps.
        units: Units of each hidden layer of a network.
        components: K of the mixture; 1 for none.
        layer: Autoregressive maps, or couplings of every second feature.
        num_classes: Classes, if the density is conditional on labels; 0 without.
        space: Of images; see :class:`ContinuousDensityModule`.
        family: Arguments of :class:`FlowModule`.

    Raises:
        ValueError: Couplings are to be conditional.
    """

    def __init__(
        self,
        *,
        layers: NonNegativeInt = 5,
        units: Sequence[PositiveInt] = (1024, 1024),
        components: PositiveInt = 1,
        layer: Literal["autoregressive", "coupling"] = "autoregressive",
        num_classes: NonNegativeInt = 0,
        space: Literal["unit", "logit"] = "logit",
        **family: Any,
    ) -> None:
        super().__init__(space=space, **family)
        self.requires_labels = num_classes > 0  # type: ignore[misc]
        if num_classes and layer in {"coupling"}:
            raise ValueError(
                f"couplings are told no classes: num_classes must be 0, not {num_classes}"
            )
        d, self.units, self.num_classes = self.latent_dim, units, num_classes
        make = {"autoregressive": self.autoregressive, "coupling": self.coupling}[layer]
        maps: list[Bijection] = [View(self.shape, (d,))]
        for i in range(layers):
            maps += [make(d, i)] if i == layers - 1 else [make(d, i), BatchNorm(d), Reverse()]
        self.flow = Chain(*maps)
        self.mixture = (
            AutoregressiveMixture(d, components, units, num_classes) if components > 1 else None
        )

    def autoregressive(self, d: int, i: int) -> Bijection:
        """Map i, a masked network."""
        return Autoregressive(d, self.units, self.num_classes)

    def coupling(self, d: int, i: int) -> Bijection:
        """Map i, of every second feature; which they are changes as the order is reversed."""
        return Coupling(d, partial(DenseConditioner, units=self.units), Affine(), d % 2 * i % 2)

    def transform(self, y: Tensor, *of: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (N, d) and log-determinants (N,) of data (N, *shape), and labels (N,) if any."""
        z, log_det = self.flow(y, *of)
        if self.mixture is None:
            return z, log_det
        z, change = self.mixture(z, *of)
        return z, log_det + change

    def invert(self, z: Tensor, *of: Tensor) -> Tensor:
        """Data (N, *shape) of latents (N, d), and of labels (N,) if any."""
        return self.flow.inverse(z if self.mixture is None else self.mixture.inverse(z, *of), *of)

    def log_prob(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Log density (N,) in nats of data (N, *shape), through which gradients flow."""
        if self.mixture is None:
            return super().log_prob(x, labels)
        of = self.given(labels)
        z, log_det = self.flow(x, *of)
        return self.mixture.log_prob(z, *of) + log_det
