"""Learning-rate schedules that papers use and torch has not."""

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lightning_gen.types import (
    HalfOpenFraction,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)


class MomentumGrowth(LRScheduler):
    r"""A learning rate that decays to a floor while the momentum grows, as in the nets of 2014.

    .. math:: \epsilon_t = \max(\epsilon_0 d^{-t}, \epsilon_{\min}), \qquad
              m_t = m_0 + (m_1 - m_0) \min(t / T, 1)

    Note:
        Of Pylearn2, which sets the momentum once an epoch; here it moves with every step.

    References:
        Goodfellow et al., Maxout Networks, 2013, arXiv:1302.4389, and the configuration of
        Goodfellow et al., Generative Adversarial Networks, 2014, arXiv:1406.2661.

    Args:
        optimizer: Momentum descent, at the first learning rate and the first momentum.
        decay: The learning rate is divided by it at every step.
        min_lr: Floor of the learning rate.
        momentum: The last momentum.
        steps: Steps until it is reached.
        last_epoch: Steps done; -1 before the first.

    Example:
        >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1, momentum=0.5)
        >>> schedule = MomentumGrowth(optimizer, decay=2.0, momentum=0.7, steps=4)
        >>> for _ in range(2):
        ...     optimizer.step()
        ...     schedule.step()
        >>> [round(optimizer.param_groups[0][name], 3) for name in ("lr", "momentum")]
        [0.025, 0.6]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        decay: PositiveFloat = 1.000004,
        min_lr: NonNegativeFloat = 1e-6,
        momentum: HalfOpenFraction = 0.7,
        steps: PositiveInt = 125_000,
        last_epoch: int = -1,
    ) -> None:
        self.decay, self.min_lr, self.momentum, self.steps = decay, min_lr, momentum, steps
        for group in optimizer.param_groups:
            group.setdefault("initial_momentum", group["momentum"])
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float | torch.Tensor]:
        """Set the momentum of this step, and give its learning rates."""
        t = self.last_epoch
        for group in self.optimizer.param_groups:
            start = group["initial_momentum"]
            group["momentum"] = start + (self.momentum - start) * min(t / self.steps, 1.0)
        return [max(lr / self.decay**t, self.min_lr) for lr in self.base_lrs]


class LinearDecay(LRScheduler):
    r"""A learning rate that is held and then falls to zero along a line.

    .. math:: \epsilon_t = \epsilon_0 \min\left(1, \frac{T - t}{T - T_0}\right)

    References:
        Zhu et al., Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial
        Networks, 2017, arXiv:1703.10593, section 4: 100 epochs of each.

    Args:
        optimizer: At the learning rate that is held.
        hold: The paper's 100 epochs in steps: how long it is held.
        steps: Steps until it is zero.
        last_epoch: Steps done; -1 before the first.

    Example:
        >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> schedule, rates = LinearDecay(optimizer, hold=2, steps=4), []
        >>> for _ in range(5):
        ...     rates.append(schedule.get_last_lr()[0])
        ...     optimizer.step()
        ...     schedule.step()
        >>> rates
        [1.0, 1.0, 1.0, 0.5, 0.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        hold: NonNegativeInt = 100_000,
        steps: PositiveInt = 200_000,
        last_epoch: int = -1,
    ) -> None:
        if hold >= steps:
            raise ValueError(f"hold must be less than steps={steps}, got {hold}")
        self.hold, self.steps = hold, steps
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float | torch.Tensor]:
        """The learning rates of this step."""
        left = (self.steps - self.last_epoch) / (self.steps - self.hold)
        return [lr * min(1.0, max(0.0, left)) for lr in self.base_lrs]
