"""Learning-rate schedules that papers use and torch has not."""

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lightning_gen.types import HalfOpenFraction, NonNegativeFloat, PositiveFloat, PositiveInt


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
