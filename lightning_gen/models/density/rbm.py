"""Restricted Boltzmann machine by contrastive divergence, or with persistent chains.

Hinton, Training Products of Experts by Minimizing Contrastive Divergence, 2002,
doi:10.1162/089976602760128018; Tieleman, Training Restricted Boltzmann Machines using
Approximations to the Likelihood Gradient, 2008, doi:10.1145/1390156.1390290.
"""

from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector

from lightning_gen.core import ImageBatch
from lightning_gen.densities import DensityModule
from lightning_gen.functional.ais import LogPartition, ais_log_partition, ais_temperatures
from lightning_gen.functional.pixels import unit_range
from lightning_gen.networks.boltzmann import BoltzmannMachine
from lightning_gen.types import NonNegativeInt, PositiveInt


class RBM(DensityModule):
    r"""Images are the visible units of a machine whose hidden units tell which pixels go together.

    .. math:: p(v) = e^{-F(v)} / Z, \qquad
        -\nabla \log p(v) = \nabla F(v) - \mathbb{E}_{p(v')} \nabla F(v')

    The second term is of k sweeps of Gibbs sampling that begin at the images (contrastive
    divergence), or where they ended in the step before (persistent).

    Note:
        Hidden units are summed over, by the gradient of F, where the papers draw them for the
        statistics of the data. With ``k_images`` it is the growing CD of the paper of 2008.

    References:
        Hinton, 2002; Tieleman, 2008; and, for log Z, Salakhutdinov & Murray, On the quantitative
        analysis of deep belief networks, 2008, doi:10.1145/1390156.1390266.

    Args:
        machine: The units, their energy and conditionals.
        k: Sweeps of Gibbs sampling a step.
        k_from: Sweeps in the first step.
        k_images: Images until it is k.
        persistent: Go on with the chains of the step before.
        chains: How many there are of these, over all devices.
        sweeps: Sweeps from independent random bits to a sample, half of them annealing.
        draw: Samples have black and white pixels; else their last conditional mean.
        importance_samples: Annealing runs for log Z.
        temperatures: Steps of one run.
        family: Arguments of :class:`AlternatingModule`.
    """

    likelihood_kind = "estimate"
    chain: Tensor

    def __init__(
        self,
        *,
        machine: BoltzmannMachine,
        k: PositiveInt = 1,
        k_from: PositiveInt = 1,
        k_images: NonNegativeInt = 0,
        persistent: bool = False,
        chains: PositiveInt = 100,
        sweeps: PositiveInt = 500,
        draw: bool = False,
        importance_samples: PositiveInt = 100,
        temperatures: PositiveInt = 14_500,
        **family: Any,
    ) -> None:
        super().__init__(**family)
        self.machine, self.k, self.k_from, self.k_images = machine, k, k_from, k_images
        self.persistent, self.sweeps, self.draw = persistent, sweeps, draw
        self.importance_samples, self.temperatures = importance_samples, temperatures
        bits = torch.rand(chains if persistent else 0, len(machine.visible_bias)) < 0.5
        self.register_buffer("chain", bits.float())
        self._log_z: tuple[tuple[int, int], Tensor, LogPartition] | None = None

    def training_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Lower the free energy of the data and raise that of the chains."""
        v, F = unit_range(batch.image).flatten(1), self.machine.free_energy
        grown = min(self.images_before / self.k_images, 1.0) if self.k_images else 1.0
        k = round(self.k_from + (self.k - self.k_from) * grown)
        own = self.chain.chunk(self.trainer.world_size)[self.global_rank] if self.persistent else v
        v_k = self.machine.gibbs(own, [1.0] * k, self.rand)
        if self.persistent:
            self.chain.copy_(cast(Tensor, self.all_gather(v_k)).reshape_as(self.chain))
        with self.descending("model") as descend:
            for v_0, v_model in self.micro(v, v_k):
                descend(F(v_0).mean() - F(v_model).mean())
        self.record(k=k)

    def log_prob(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Exact log probability (N,), of a machine small enough for it."""
        return -self.machine.free_energy(unit_range(x).flatten(1)) - self.machine.log_partition()

    @torch.no_grad()
    def log_likelihood(
        self, x: Tensor, *, samples: int | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Log probability (N,) by the estimate of log Z that annealing ``samples`` runs gives.

        The estimate serves all images for which the generator began at the same seed.
        """
        log_z = self.log_partition(samples, generator).value
        return -self.machine.free_energy(unit_range(x).flatten(1)) - log_z

    def log_partition(
        self, runs: int | None = None, generator: torch.Generator | None = None
    ) -> LogPartition:
        """Estimate log Z; anew only when weights or draws are others."""
        machine, runs = self.machine, runs or self.importance_samples
        draws = generator or torch.Generator().manual_seed(0)
        key, weights = (runs, draws.initial_seed()), parameters_to_vector(machine.parameters())
        if self._log_z is None or self._log_z[0] != key or not self._log_z[1].equal(weights):
            given = machine.weight, machine.visible_bias, machine.hidden_bias, machine.base_rate
            betas = ais_temperatures(self.temperatures)
            found = ais_log_partition(*given, betas=betas, runs=runs, generator=draws)
            self._log_z = key, weights.detach(), found
        return self._log_z[2]

    @torch.no_grad()
    def sample(
        self, n: int, *, labels: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Images (n, C, H, W) of chains that begin at independent bits of the data's rates."""
        self.checked(labels)
        device = generator.device if generator is not None else self.device

        def rand(*size: int) -> Tensor:
            return torch.rand(*size, generator=generator, device=device).to(self.device)

        v = self.machine.base_rate.sigmoid().expand(n, -1)
        warming = torch.linspace(0, 1, self.sweeps // 2 + 1).tolist()
        v = self.machine.gibbs(v, warming + [1.0] * (self.sweeps - len(warming)), rand)
        h = (rand(n, len(self.machine.hidden_bias)) < self.machine.hidden(v).sigmoid()).float()
        mean = self.machine.visible(h).sigmoid()
        v = (rand(*mean.shape) < mean).float() if self.draw else mean
        return v.view(n, *self.machine.shape) * 2 - 1

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """Probabilities (N, H) of the hidden units of images (N, C, H, W)."""
        return self.machine.hidden(unit_range(x).flatten(1)).sigmoid()

    @torch.no_grad()
    def reconstruct(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) of one mean-field pass up and down."""
        return self.machine.visible(self.encode(x)).sigmoid().view_as(x) * 2 - 1
