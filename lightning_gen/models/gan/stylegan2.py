"""Analyzing and Improving the Image Quality of StyleGAN: StyleGAN2.

Karras, Laine, Aittala, Hellsten, Lehtinen, Aila. 2019, arXiv:1912.04958.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_gen.core import ImageBatch
from lightning_gen.functional.adversarial import discriminator_loss, non_saturating_loss
from lightning_gen.functional.gradients import squared_gradient_norm
from lightning_gen.functional.lazy import path_lengths, slowed
from lightning_gen.models.gan.adversarial import AdversarialModule
from lightning_gen.types import Fraction, NonNegativeFloat, PositiveInt


class StyleGAN2(AdversarialModule):
    r"""A GAN whose G maps z to styles w, with two regularisers that are taken lazily (section 3).

    .. math:: R_1 = \tfrac{\gamma}{2} E_{x}[\| \nabla_x D(x) \|^2], \quad
              R_{pl} = \gamma_{pl} E_{w, y}[(\| J_w^T y \|_2 - a)^2], \quad y \sim N(0, I)

    J_w is the Jacobian of G at w, and a the running mean of the lengths (equation 4). Every k
    rounds a regulariser, k times as heavy, has a step of its own; Adam is slowed to make up for it.

    Note:
        As in the authors' code path lengths come every 4 rounds (8 in appendix B), scaled so that
        path_weight 2 is the paper's gamma_pl. Unlike there regularisers step before the round, and
        a is that of the steps before. Means are over all devices; schedules count every step.

    References:
        Karras et al., Analyzing and Improving the Image Quality of StyleGAN, 2019,
        arXiv:1912.04958; of StyleGAN, 2018, arXiv:1812.04948 (mapping, mixing and truncation).

    Args:
        gamma: Weight of R1; 0 leaves it out.
        R1_interval: Rounds between two steps of R1.
        path_weight: Weight of path lengths; 0 leaves them out.
        path_interval: Rounds between two steps of path lengths.
        path_shrink: How many times smaller than a batch theirs is.
        path_decay: Share of the new lengths in a.
        w_decay: Share of the old w in their running mean.
        latent_dim: Dimension of z.
        family: Arguments of :class:`AdversarialModule`.
    """

    per_sample_critic: ClassVar[bool] = True
    G: Any  # has .mapping, .styles, .synthesis, .num_styles and .w_mean
    path_mean: Tensor  # a

    def __init__(
        self,
        *,
        gamma: NonNegativeFloat = 10.0,
        R1_interval: PositiveInt = 16,
        path_weight: NonNegativeFloat = 2.0,
        path_interval: PositiveInt = 4,
        path_shrink: PositiveInt = 2,
        path_decay: Fraction = 0.01,
        w_decay: Fraction = 0.995,
        latent_dim: PositiveInt = 512,
        **family: Any,
    ) -> None:
        super().__init__(latent_dim=latent_dim, **family)
        self.weight = {"D": gamma / 2 * R1_interval, "G": path_weight * path_interval}
        self.interval = {"D": R1_interval, "G": path_interval}
        for p in filter(self.weight.get, self.players):
            slower = partial(slowed, self.optimizer_factories[p], self.interval[p])
            self.optimizer_factories[p] = slower
        self.path_shrink, self.path_decay, self.w_decay = path_shrink, path_decay, w_decay
        self.register_buffer("path_mean", torch.zeros(()))

    def training_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Regularise the players whose turn it is, then update D, and G through the new D."""
        if self.due("G"):
            self.regularise_paths(len(batch.image) // self.n_critic // self.path_shrink)
        for x in batch.image.chunk(self.n_critic):
            if self.due("D"):
                with self.regularising("D") as descend:
                    for (x_i,) in self.micro(x):
                        descend(R1 := squared_gradient_norm(self.D, x_i))
                self.record(R1=R1)
            z = self.z(len(x))
            with self.descending("D") as descend:
                for x_i, z_i in self.micro(x, z):
                    x_tilde = self.fake(z_i).detach()
                    descend(discriminator_loss(self.D(x_i), self.D(x_tilde)))
        with self.descending("G") as descend:
            for (z_i,) in self.micro(z):
                descend(non_saturating_loss(self.D(self.fake(z_i))))
            self.follow(self.G.w_mean, self.G.mapping(z), 1 - self.w_decay)

    def regularise_paths(self, n: int) -> None:
        """Step G towards n paths of length a, and move a towards theirs."""
        lengths = []
        with self.regularising("G") as descend:
            for (z_i,) in self.micro(self.z(max(1, n))):
                w = self.G.styles(z_i)
                lengths.append(path_lengths(self.G.synthesis, w, self.randn))
                descend((lengths[-1] - self.path_mean).square().mean())
        self.follow(self.path_mean, torch.cat(lengths), self.path_decay)
        self.record(path_length=torch.cat(lengths).mean())

    def due(self, player: str) -> bool:
        """Whether a player is regularised in this round."""
        return self.weight[player] > 0 and self.iteration % self.interval[player] == 0

    @contextmanager
    def regularising(self, player: str) -> Iterator[Callable[[Tensor], None]]:
        """As :meth:`descending`, on a regulariser; the average of G sees no images meanwhile."""
        images, self.images_per_iteration = self.images_per_iteration, 0
        try:
            with self.descending(player) as descend:
                yield lambda loss: descend(self.weight[player] * loss)
        finally:
            self.images_per_iteration = images

    @torch.no_grad()
    def follow(self, mean: Tensor, values: Tensor, share: float) -> None:
        """Move a running mean by a share of the way to the mean of values (N, ...)."""
        new = values.to(mean.dtype).mean(0)
        mean.lerp_(self.trainer.strategy.reduce(new, reduce_op="mean"), share)

    @property
    def latent_layers(self) -> int:
        """Number of layers that take a style."""
        return self.G.num_styles

    def generate(self, *inputs: Any) -> Tensor:
        """Apply the sampling generator in evaluation mode; its images are clamped to [-1, 1]."""
        return super().generate(*inputs).clamp(-1, 1)

    def sample(
        self, n: int, *, labels: Tensor | None = None, generator: Any = None, psi: float = 1.0
    ) -> Tensor:
        """As the family's, truncated: each w is moved to the mean + psi (w - mean)."""
        if labels is not None:
            return super().sample(n, labels=labels)
        return self.generate(self.latents(n, generator), None, None, psi)

    def mix(self, coarse_z: Tensor, fine_z: Tensor, crossover: int, *, psi: float = 1.0) -> Tensor:
        """Images with the first styles, as many as crossover, of coarse_z and others of fine_z."""
        layers = torch.full((len(fine_z),), crossover, device=fine_z.device)
        return self.generate(coarse_z, fine_z, layers, psi)
