"""The mode of networks: training, where dropout and batch statistics work, or evaluation."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from torch import nn

Network = TypeVar("Network", bound=nn.Module)


@contextmanager
def evaluating(network: Network) -> Iterator[Network]:
    """A network and all inside it in evaluation mode; the mode of each comes back.

    Args:
        network: The network, or a whole model.

    Example:
        >>> network = nn.Sequential(nn.Dropout(), nn.Dropout().eval())
        >>> with evaluating(network) as same:
        ...     print([part.training for part in same])
        [False, False]
        >>> [part.training for part in network]
        [True, False]
    """
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield network
    finally:
        for module, training in modes.items():
            module.training = training
