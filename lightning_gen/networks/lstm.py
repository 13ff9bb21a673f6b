"""A recurrent network of long short-term memory over tokens.

Hochreiter, Schmidhuber. 1997, doi:10.1162/neco.1997.9.8.1735; stacked as by Graves. 2013,
arXiv:1308.0850.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from lightning_gen.types import HalfOpenFraction, PositiveInt


class Memory:
    """What the cells hold after the tokens so far; None before the first."""

    state: tuple[Tensor, Tensor] | None = None


class LSTM(nn.Module):
    """The distribution of each token, given those before it.

    The first token is told from a start token, which is number ``tokens`` of the inputs.

    Args:
        tokens: Size of the vocabulary.
        width: Features of a token.
        hidden: Cells of a layer.
        layers: Layers.
        dropout: Probability to drop a feature between layers and before the last.

    Example:
        >>> network, x = LSTM(tokens=5, width=3, hidden=4, layers=2), torch.ones(3, 7).long()
        >>> logits, memory = network(x), network.begin(3)
        >>> first = network.step(torch.full((3, 1), 5), memory)
        >>> second = network.step(torch.ones(3, 1).long(), memory)
        >>> torch.testing.assert_close(torch.cat([first, second], 1), logits[:, :2])
    """

    length: int | None = None
    """Nothing is forgotten by rule, however many tokens there are."""

    def __init__(
        self,
        *,
        tokens: PositiveInt,
        width: PositiveInt = 128,
        hidden: PositiveInt = 700,
        layers: PositiveInt = 1,
        dropout: HalfOpenFraction = 0.0,
    ) -> None:
        super().__init__()
        self.tokens = tokens
        self.embedding = nn.Embedding(tokens + 1, width)
        between = dropout if layers > 1 else 0.0
        self.cells = nn.LSTM(width, hidden, layers, batch_first=True, dropout=between)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(hidden, tokens))
        with torch.no_grad():  # A gate that forgets nothing at first (Gers et al. 2000).
            for layer in range(layers):
                getattr(self.cells, f"bias_ih_l{layer}")[hidden : 2 * hidden] = 1.0

    def begin(self, n: int) -> Memory:
        """The memory of n sequences, before any token."""
        return Memory()

    def step(self, inputs: Tensor, memory: Memory | None = None) -> Tensor:
        """Logits (N, t, tokens) of what follows each of t inputs (N, t), kept in the memory."""
        state = memory.state if memory is not None else None
        h, state = self.cells(self.embedding(inputs), state)
        if memory is not None:
            memory.state = state
        return self.head(h)

    def full(self, memory: Memory) -> bool:
        """Never: a memory takes any number of inputs."""
        return False

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (N, t) to the logits (N, t, tokens) of each, given those before it."""
        return self.step(pad(x[:, :-1], (1, 0), value=self.tokens))
