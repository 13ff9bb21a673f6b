"""Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow.

Liu, Gong, Liu. 2022, arXiv:2209.03003.
"""

import copy
from typing import Any

import torch
from torch import Tensor

from lightning_gen.models.diffusion.flow_matching import FlowMatching
from lightning_gen.networks.modes import evaluating
from lightning_gen.types import NonNegativeInt, PositiveInt


class RectifiedFlow(FlowMatching):
    r"""A flow, and then one of its own pairs of noise and data, whose paths are straighter.

    .. math:: L = E_{t, (x_0, x_1)} \|v_\theta(t x_1 + (1 - t) x_0, t) - (x_1 - x_0)\|^2

    First :math:`x_0` is noise drawn for each datum :math:`x_1`; after ``reflow_images`` the network
    stands still as a teacher, and goes on learning from noise :math:`x_0` and what the teacher
    leads it to. Straight paths are followed in one step of Euler's method.

    Note:
        Pairs are drawn anew in every step, the authors store as many as they need.

    References:
        Liu, Gong, Liu, Flow Straight and Fast, 2022, arXiv:2209.03003, algorithm 1.

    Args:
        reflow_images: Images after which the flow is rectified once more.
        pair_steps: Steps in which the teacher leads noise to data, by the ``sampler``.
        family: Arguments of :class:`FlowMatching`.
    """

    reflowing: Tensor

    def __init__(
        self,
        *,
        reflow_images: NonNegativeInt = 600_000,
        pair_steps: PositiveInt = 10,
        **family: Any,
    ) -> None:
        super().__init__(**family)
        self.reflow_images, self.pair_steps = reflow_images, pair_steps
        self.teacher = copy.deepcopy(self.denoiser).requires_grad_(False)
        self.register_buffer("reflowing", torch.tensor(False))

    def pairs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Data and noise: of the data set, later those that the teacher leads to one another."""
        if self.images_before < self.reflow_images:
            return super().pairs(x)
        if not self.reflowing:
            source = self.denoiser if self.average is None else self.average.network
            self.teacher.load_state_dict(source.state_dict())
            self.reflowing.fill_(True)
        noise = self.randn(*x.shape)
        with torch.no_grad(), evaluating(self.teacher) as teacher:
            return self.flow(teacher, noise, self.pair_steps), noise
