"""Models of text token by token: plumbing, whatever a conditional is made by."""

from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lightning_gen.core import ImageBatch
from lightning_gen.functional.decoding import Stepping, choose, continued
from lightning_gen.functional.draws import drawn
from lightning_gen.functional.precision import at_least_float32
from lightning_gen.networks.modes import evaluating
from lightning_gen.players import DescendingModule
from lightning_gen.types import NonNegativeFloat, PositiveInt


class LanguageModule(DescendingModule):
    r"""Base of models of text; a paper's file says which network gives a token's distribution.

    .. math:: \log p(x) = \sum_t \log p(x_t | x_1, \ldots, x_{t - 1})

    Training descends on nats a token, the mean of :math:`-\log p(x_t | x_{<t})` over all tokens of
    a batch. Every window of text is told from its beginning, by a start token.

    Args:
        network: Gives logits of tokens, see :class:`lightning_gen.functional.decoding.Stepping`.
        temperature: Of samples: logits are divided by it; 0 takes the most probable token.
        top_k: Of samples: so many of the most probable tokens may be drawn; None is all of them.
        length: Tokens of a sample, those of its prompt not counted.
        family: Arguments of :class:`AlternatingModule`.
    """

    takes: ClassVar[str] = "text"
    sampling: ClassVar[tuple[str, ...]] = ("temperature", "top_k", "length")
    likelihood_space: str = "tokens"

    def __init__(
        self,
        *,
        network: Stepping,
        temperature: NonNegativeFloat = 1.0,
        top_k: PositiveInt | None = None,
        length: PositiveInt = 128,
        **family: Any,
    ) -> None:
        super().__init__(**family)
        self.network = network
        self.temperature, self.top_k, self.length = temperature, top_k, length

    def log_probs(self, x: Tensor) -> Tensor:
        """Log probability (N, T) of each of tokens (N, T), given those before it in its row."""
        logits = at_least_float32(self.network(x))
        return -cross_entropy(logits.flatten(0, 1), x.flatten(), reduction="none").view(x.shape)

    def training_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Descend on nats a token."""
        with self.descending("model") as descend:
            for (x,) in self.micro(batch.image):
                descend(-self.log_probs(x).mean())

    @torch.no_grad()
    def log_likelihood(
        self, x: Tensor, *, samples: int | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Log probability (N,) of tokens (N, T), in nats; exact, so nothing is sampled."""
        with evaluating(self):
            return self.log_probs(x).sum(1)

    def sample(
        self, n: int, *, labels: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw n texts, tokens (n, length).

        Args:
            n: How many.
            labels: Refused: no text has any.
            generator: Source of randomness; a CPU generator gives the same numbers everywhere.
        """
        self.checked(labels)
        return self.continue_from(torch.empty(0, dtype=torch.long), n, generator=generator)

    @torch.no_grad()
    def continue_from(
        self,
        prompt: Tensor,
        n: int,
        *,
        generator: torch.Generator | None = None,
        cached: bool = True,
    ) -> Tensor:
        """Draw n texts that begin with a prompt.

        Args:
            prompt: Tokens (p,).
            n: How many.
            generator: Source of randomness.
            cached: Keep what was computed of the tokens before; False is slower, and the same.

        Returns:
            Tokens (n, p + length), the prompt among them.
        """
        u = drawn("rand", (n, self.length), self.device, generator)
        choosing = partial(choose, temperature=self.temperature, top_k=self.top_k)
        with evaluating(self):
            rows = prompt.to(self.device).expand(n, -1)
            return continued(self.network, rows, u, choosing, cached=cached)
