"""Latent Dirichlet allocation of binary patches.

Blei, Ng, Jordan, Latent Dirichlet Allocation, 2003, doi:10.1162/jmlr.2003.3.4-5.993.
"""

from typing import Any

import torch
from torch import Tensor, nn

from lightning_gen.densities import DensityModule
from lightning_gen.functional.pixels import unit_range
from lightning_gen.types import PositiveFloat, PositiveInt


class LDA(DensityModule):
    r"""An image mixes topics in shares of its own; each patch is a word of one of the topics.

    .. math::
        \theta \sim \text{Dir}(\alpha), \qquad z_p \sim \theta, \qquad w_p \sim \beta_{z_p}

    Descends on the variational bound, with :math:`q(\theta) = \text{Dir}(\gamma)` and the best
    :math:`q(z_p = k) \propto \beta_{k w_p} e^{\psi(\gamma_k) - \psi(\sum \gamma)}` summed out,

    .. math::
        \log p(w) \ge \sum_p \log \sum_k \beta_{k w_p} e^{\mathbb{E} \log \theta_k}
                      - KL(\text{Dir}(\gamma) \| \text{Dir}(\alpha))

    Note:
        Words are the patterns of patches that do not overlap, so the bound is of all pixels of an
        image; grey ones are split at one half. With ``places`` a topic has a distribution at each
        place, which words of text have not. :math:`\gamma` is found by fixed-point steps as in the
        paper; the topics, by gradients instead of the M-step.

    References:
        Blei, Ng, Jordan, 2003, doi:10.1162/jmlr.2003.3.4-5.993.

    Args:
        channels: Channels of an image: one.
        resolution: Its side in pixels, a multiple of the patch's.
        topics: K.
        patch: Side of a patch; there are 2^(patch^2) words.
        places: Whether topics know where a patch lies.
        alpha: Concentration of the topics' shares.
        steps: Fixed-point steps of an image.
        family: Arguments of :class:`AlternatingModule`.
    """

    likelihood_kind = "lower bound"

    def __init__(
        self,
        *,
        channels: PositiveInt,
        resolution: PositiveInt,
        topics: PositiveInt = 50,
        patch: PositiveInt = 2,
        places: bool = True,
        alpha: PositiveFloat = 0.1,
        steps: PositiveInt = 20,
        **family: Any,
    ) -> None:
        super().__init__(**family)
        if channels != 1 or resolution % patch or patch > 4:
            what = f"{channels} x {resolution} x {resolution} into patches of {patch}"
            raise ValueError(f"one channel is cut into whole patches of 1 to 4 pixels; got {what}")
        self.side, self.patch, self.concentration, self.steps = resolution, patch, alpha, steps
        self.patches = (resolution // patch) ** 2
        self.logits = nn.Parameter(torch.randn(topics, self.patches if places else 1, 2**patch**2))

    def start_at(self, mean: Tensor) -> None:
        """Let all topics begin near independent pixels at the rates of the data."""
        rates = unit_range(mean).clamp(1e-3, 1 - 1e-3)[None]
        rates = nn.functional.unfold(rates, self.patch, stride=self.patch)[0]  # (pixels, P)
        words = torch.arange(self.logits.shape[2], device=rates.device)[:, None]
        bits = ((words >> torch.arange(len(rates), device=rates.device)) & 1).float()
        log_p = (bits @ rates.logit()).T.log_softmax(1)  # (P, words)
        if self.logits.shape[1] == 1:
            log_p = log_p.exp().mean(0, keepdim=True).log()
        self.logits.data.add_(log_p)

    def words(self, x: Tensor) -> Tensor:
        """Words (N, P) of images: the patterns of their patches, as binary numbers."""
        patches = nn.functional.unfold((x > 0).float(), self.patch, stride=self.patch)
        powers = 2 ** torch.arange(self.patch**2, device=x.device)
        return (patches.long() * powers[:, None]).sum(1)

    def topics_of(self, x: Tensor) -> Tensor:
        r"""Probabilities :math:`\beta_{k w_p}` (N, P, K) of the words of images."""
        beta = self.logits.softmax(2).permute(1, 2, 0).expand(self.patches, -1, -1)
        return beta[torch.arange(self.patches, device=x.device), self.words(x)]

    @torch.no_grad()
    def posterior(self, beta: Tensor) -> Tensor:
        r"""The parameters :math:`\gamma` (N, K) of the posterior of shares."""
        gamma = beta.mean(1) * self.patches + self.concentration
        for _ in range(self.steps):
            shares = torch.digamma(gamma).exp()
            total = torch.einsum("npk,nk->np", beta, shares).clamp(min=1e-30)
            gamma = self.concentration + shares * torch.einsum("npk,np->nk", beta, 1 / total)
        return gamma

    def log_prob(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """The bound (N,), whose gradient is that of the topics at the best posteriors."""
        beta, alpha = self.topics_of(x), self.concentration
        gamma = self.posterior(beta)
        log_shares = torch.digamma(gamma) - torch.digamma(gamma.sum(1, keepdim=True))
        words = torch.einsum("npk,nk->np", beta, log_shares.exp()).clamp(min=1e-30).log().sum(1)
        prior = torch.full_like(gamma, alpha)
        kl = (torch.lgamma(prior) - torch.lgamma(gamma) + (gamma - alpha) * log_shares).sum(1)
        return words - kl - torch.lgamma(gamma.sum(1)) + torch.lgamma(prior.sum(1))

    @torch.no_grad()
    def sample(
        self, n: int, *, labels: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw n images (n, 1, H, W), patch by patch."""
        self.checked(labels)
        device = generator.device if generator is not None else self.device
        topics = len(self.logits)
        alpha = torch.full((n, topics), self.concentration, dtype=torch.float64, device=device)
        shares = torch._standard_gamma(alpha, generator=generator).clamp(min=1e-300)
        z = shares.multinomial(self.patches, replacement=True, generator=generator)  # (n, P)
        beta = self.logits.softmax(2).expand(-1, self.patches, -1).to(device)
        of = beta[z, torch.arange(self.patches, device=device)].flatten(0, 1)  # (n P, words)
        w = of.multinomial(1, generator=generator).view(n, 1, self.patches)
        bits = (w >> torch.arange(self.patch**2, device=device)[:, None]) & 1
        x = nn.functional.fold(bits.float(), self.side, self.patch, stride=self.patch)
        return (x * 2 - 1).to(self.device)

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """Mean shares (N, K) of the topics in images."""
        gamma = self.posterior(self.topics_of(x))
        return gamma / gamma.sum(1, keepdim=True)
