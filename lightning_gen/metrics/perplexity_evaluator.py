r"""How well a model of text tells each token of a held-out text from those before it.

References:
    Jelinek et al., *Perplexity - a measure of the difficulty of speech recognition tasks*, 1977
    (doi:10.1121/1.2016299).
    Radford et al., *Language Models are Unsupervised Multitask Learners*, 2019: figures of a whole
    text, from windows that overlap.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from lightning_gen.core import ImageBatch
from lightning_gen.data.text import SCALARS
from lightning_gen.errors import MetricError
from lightning_gen.metrics.feature_measure import Measured
from lightning_gen.metrics.feature_pass import BLOCK, Team
from lightning_gen.metrics.method_evaluator import MethodEvaluator, Read
from lightning_gen.metrics.protocol import Protocol
from lightning_gen.types import PositiveInt


def windows(tokens: int, context: int, stride: int) -> tuple[Tensor, Tensor]:
    """Windows over a text that score each of its tokens once, with what came before it.

    The first scores all its tokens; each that follows begins a stride later, and scores those that
    were not scored before. So every token but the first ones has at least ``context - stride``
    before it.

    Args:
        tokens: Of the text, at least those of a window.
        context: Tokens of a window.
        stride: From one window to the next.

    Returns:
        The first token (K,) of each window, and which place (K,) in it is the first to be scored.

    Example:
        >>> windows(9, context=4, stride=2)
        (tensor([0, 2, 4, 5]), tensor([0, 2, 2, 3]))
    """
    last = tokens - context
    first = (torch.arange(-(-last // stride) + 1) * stride).clamp(max=last)
    return first, torch.cat([torch.zeros(1, dtype=torch.long), context - first.diff()])


def ratio(values: Tensor, counts: Tensor) -> tuple[float, float]:
    """Sum of values (K,) over the sum of counts (K,), and its standard error over the rows.

    Example:
        >>> ratio(torch.tensor([2.0, 4.0]), torch.tensor([1.0, 1.0]))
        (3.0, 1.0)
    """
    values, counts = values.double(), counts.double()
    mean = values.sum() / counts.sum()
    rows = len(values)
    error = (values - mean * counts).square().sum() * rows / max(rows - 1, 1)
    return float(mean), float(error.sqrt() / counts.sum())


class PerplexityEvaluator(MethodEvaluator):
    r"""Nats a token, perplexity a token and bits a byte of a held-out text.

    .. math::
        NLL = -\frac{1}{T} \sum_t \log p(x_t | x_{<t}), \qquad PPL = e^{NLL}, \qquad
        BPB = \frac{T \cdot NLL}{B \ln 2}

    for T tokens that have B bytes in UTF-8. Bits a byte compare models of unlike tokens, and with
    programs that compress: each character that is not in the vocabulary costs, beside its token,
    the :math:`\log_2 1112064 = 20.1` bits that tell which one it is.

    Args:
        context: Tokens of a window; None takes those of the data.
        stride: From one window to the next; None is half of them.
        n_real: Tokens that are scored, the first; None takes all.
        split: Split that is scored.
    """

    needs: ClassVar[str] = "log_probs"

    def __init__(
        self,
        context: PositiveInt | None = None,
        stride: PositiveInt | None = None,
        n_real: PositiveInt | None = None,
        split: str = "test",
    ) -> None:
        super().__init__(split, None, seed=0)
        self.context, self.stride, self.tokens = context, stride, n_real

    def plan(self, data: Any, split: str) -> tuple[int, int, int]:
        """Tokens that are scored, those of a window, and the stride."""
        there = len(data.stream_of(split)[0])
        n = min(self.tokens or there, there)
        context = min(self.context or data.length, n)
        return n, context, min(self.stride or max(1, context // 2), context)

    def protocols(self, model: Any, data: Any, how: Protocol) -> Mapping[str, Protocol]:
        """Context and stride; bits a byte are of the text, whatever its tokens are."""
        if "text" not in data.gives:
            return {"tokens": replace(how, extractor="tokens"), "text": how}
        n, context, stride = self.plan(data, how.split)
        options = {"context": context, "stride": stride, "ci": "standard error over windows"}
        tokens = replace(how, extractor=data.tokens, n_real=n, options=options)
        of_text = {"data_fingerprint": data.text_fingerprint(how.split), "extractor": "text"}
        return {"tokens": tokens, "text": replace(tokens, **of_text)}

    def check(self, model: Any, data: Any) -> None:
        """There has to be a text, and a network that sees so much of it at once."""
        super().check(model, data)
        if "text" not in data.gives:
            raise MetricError(f"{data.name} is no text", fix="metrics=likelihood")
        longest = getattr(model.network, "length", None)
        if longest is not None and longest < (self.context or data.length):
            what = f"the model sees {longest} tokens at once, not {self.context or data.length}"
            raise MetricError(what, where="metrics.context", fix=f"metrics.context={longest}")

    def read(self, model: Any, data: Any, split: str, n: int, team: Team, shown: bool) -> Read:
        """Read every window, each rank a share of them."""
        n, context, stride = self.plan(data, split)
        tokens, widths = data.stream_of(split)
        first, fresh = windows(n, context, stride)
        names = ("nats", "tokens", "bytes", "unknown")

        def make(j: int) -> tuple[Tensor, ...]:
            k = (torch.arange(BLOCK) + j * BLOCK).clamp(max=len(first) - 1)
            places = (first[k, None] + torch.arange(context)).numpy()
            x = torch.from_numpy(tokens[places].astype(np.int64)).to(model.device)
            scored = (torch.arange(context) >= fresh[k, None]).to(model.device)
            size = torch.ones_like(x) if widths is None else torch.from_numpy(widths[places]).to(x)
            unknown = torch.zeros_like(x) if data.unknown is None else x == data.unknown
            nats = -model.log_probs(x).double()
            parts = (nats, torch.ones_like(x), size, unknown)
            return tuple((part.double() * scored).sum(1) for part in parts)

        columns = team.collect(len(first), make, f"{split} windows" if shown else None)
        values = dict(zip(names, columns, strict=True))
        if not values["nats"].isfinite().all():
            raise MetricError(f"nats of {split} tokens are not finite")
        return Read(values, None, data)

    def rows(self, model: Any, batch: ImageBatch, j: int) -> dict[str, Tensor]:
        """Nats (N,) of windows (N, T), all their tokens."""
        return {"nats": -model.log_probs(batch.image).sum(1)}

    def values(self, metric: str, read: Read) -> Measured:
        """Means over all tokens or bytes, with standard errors."""
        nats, tokens = read.values["nats"], read.values["tokens"]
        if metric in {"tokens"}:
            mean, error = ratio(nats, tokens)
            perplexity = math.exp(min(mean, 700.0))
            return {
                **{"nats_per_token": mean, "nats_per_token_ci": error},
                **{"perplexity": perplexity, "perplexity_ci": perplexity * error},
            }
        unknown = read.values["unknown"]
        bits = nats / math.log(2) + unknown * math.log2(SCALARS)
        mean, error = ratio(bits, read.values["bytes"])
        many = int(unknown.sum())
        notes = {"bits_per_byte": f"{many} of {int(tokens.sum())} characters are unknown"}
        found: Measured = {"bits_per_byte": mean, "bits_per_byte_ci": error}
        return found | ({"notes": notes} if many else {})
