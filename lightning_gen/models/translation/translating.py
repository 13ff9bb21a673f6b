"""The family of models that make an image of one domain into one of another."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_gen.networks.modes import evaluating
from lightning_gen.players import AlternatingModule


class TranslationModule(AlternatingModule):
    """Base of every model that translates; a paper's file says by which network.

    Networks are convolutional, so pictures of other sizes than those of training may be translated
    where they are a multiple of :attr:`multiple`.

    Attributes:
        targets: Domains that images can be translated to.
        multiple: Height and width of an input have to be multiples of it.
    """

    takes: ClassVar[str] = "pairs"
    targets: ClassVar[tuple[str, ...]] = ("b",)
    multiple: ClassVar[int] = 1

    def translator(self, to: str) -> Callable[[Tensor], Tensor]:
        """What makes images (N, C, H, W) into those of a domain.

        Args:
            to: One of :attr:`targets`.
        """
        raise NotImplementedError

    @torch.no_grad()
    def translate(self, x: Tensor, to: str = "b") -> Tensor:
        """Translate images with every network in evaluation mode.

        Args:
            x: Images (N, C, H, W) in [-1, 1].
            to: One of :attr:`targets`.

        Returns:
            Images (N, C', H', W') in [-1, 1].

        Raises:
            ValueError: The model does not translate to that domain.
        """
        if to not in self.targets:
            raise ValueError(f"{type(self).__name__} translates to {self.targets}, not to {to!r}")
        with evaluating(self):
            return self.translator(to)(x).float().clamp(-1, 1)

    def compile_networks(self) -> None:
        """Compile every player's network in place."""
        for player in self.players:
            network: Any = getattr(self, player, None)
            if network is not None:
                network.compile()
