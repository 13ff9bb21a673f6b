"""StarGAN: Unified Generative Adversarial Networks for Multi-Domain Image-to-Image Translation.

Choi, Choi, Kim, Ha, Kim, Choo. 2017, arXiv:1711.09020.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

from lightning_gen.core import ImageBatch
from lightning_gen.functional.gradients import gradient_norm
from lightning_gen.functional.precision import at_least_float32 as full
from lightning_gen.models.translation.translating import TranslationModule
from lightning_gen.types import NonNegativeFloat, PositiveInt

ABSENT = "not "


class StarGAN(TranslationModule):
    r"""One generator for all domains, and a critic that also tells which domain an image is of.

    .. math:: L_D = -L_{adv} + \lambda_{cls} L_{cls}^r, \quad
              L_G = L_{adv} + \lambda_{cls} L_{cls}^f + \lambda_{rec} L_{rec}
    .. math:: L_{adv} = E[D(x)] - E[D(G(x, c))] - \lambda_{gp} E[(\|\nabla D(\hat x)\|_2 - 1)^2]
    .. math:: L_{cls}^r = E[-\log D(c'|x)], \quad L_{cls}^f = E[-\log D(c|G(x, c))], \quad
              L_{rec} = E[\|x - G(G(x, c), c')\|_1]

    Domains are classes, or attributes of which each image has any number. Target codes c are the
    codes c' of the batch in random order, so they are as frequent as those of the data.

    Note:
        As in the authors' code, the penalty is on the gradient of the sum over the patches, the
        loss of attributes is summed over them, and G plays on the last minibatch of D. On several
        devices codes are permuted on each of them.

    References:
        Choi et al., StarGAN: Unified Generative Adversarial Networks for Multi-Domain
        Image-to-Image Translation, 2017, arXiv:1711.09020.

    Args:
        G: Generator, images (N, C, H, W) and codes (N, K) to images.
        D: Critic with ``heads``, images to values of patches and logits (N, K), and ``classify``.
        num_classes: K, if domains are classes: labels (N,), targets "0" to "K - 1".
        domains: Names of K attributes, if domains are those: labels (N, K) of zeros and ones,
            targets are the names and "not" each of them.
        exclusive: Sets of attributes of which an image has one: setting it takes the others away.
        class_weight: The paper's lambda_cls.
        rec_weight: The paper's lambda_rec.
        gp_weight: The paper's lambda_gp.
        n_critic: Turns of D for one of G, each on a minibatch of its own.
        family: Arguments of :class:`AlternatingModule`.
    """

    takes: ClassVar[str] = "images"
    requires_labels: ClassVar[bool] = True
    per_sample_critic: ClassVar[bool] = True
    multiple: ClassVar[int] = 4
    D: Any  # has .heads and .classify

    def __init__(
        self,
        *,
        G: nn.Module,
        D: nn.Module,
        num_classes: PositiveInt | None = None,
        domains: list[str] | None = None,
        exclusive: list[list[str]] | None = None,
        class_weight: NonNegativeFloat = 1.0,
        rec_weight: NonNegativeFloat = 10.0,
        gp_weight: NonNegativeFloat = 10.0,
        n_critic: PositiveInt = 5,
        **family: Any,
    ) -> None:
        super().__init__(**family)
        self.G, self.D = G, D
        self.num_classes, self.domains = num_classes, list(domains or [])
        self.exclusive = [list(group) for group in exclusive or []]
        if strangers := {name for group in self.exclusive for name in group} - set(self.domains):
            raise ValueError(f"exclusive: {sorted(strangers)} are not among {self.domains}")
        self.class_weight, self.rec_weight, self.gp_weight = class_weight, rec_weight, gp_weight
        self.minibatches = self.n_critic = n_critic

    @property
    def targets(self) -> tuple[str, ...]:  # type: ignore[override]
        """The classes by their numbers; or the attributes, and "not" each of them."""
        classes = [str(k) for k in range(self.num_classes or 0)]
        return (*classes, *self.domains, *(f"{ABSENT}{name}" for name in self.domains))

    def code(self, label: Tensor) -> Tensor:
        """Codes (N, K) of labels: of classes (N,) one-hot, of attributes (N, K) as they are."""
        return (one_hot(label, self.num_classes) if self.num_classes else label).to(self.dtype)

    def domain_loss(self, logits: Tensor, label: Tensor) -> Tensor:
        """-log D(c|x) for labels (N,) or (N, K), a mean over images."""
        if self.num_classes:
            return cross_entropy(full(logits), label)
        loss = binary_cross_entropy_with_logits(full(logits), self.code(label), reduction="sum")
        return loss / len(label)

    def training_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Run n_critic steps of D and one of G."""
        assert batch.label is not None
        rounds = zip(
            batch.image.chunk(self.n_critic), batch.label.chunk(self.n_critic), strict=True
        )
        for x, label in rounds:
            target, epsilon = label[self.rand(len(x)).argsort()], self.rand(len(x), 1, 1, 1)
            with self.descending("D") as descend:
                for x_i, label_i, target_i, epsilon_i in self.micro(x, label, target, epsilon):
                    with torch.no_grad():
                        x_tilde = self.G(x_i, self.code(target_i))
                    source, logits = self.D.heads(x_i)
                    wasserstein = full(source).mean() - full(self.D(x_tilde)).mean()
                    x_hat = epsilon_i * x_i + (1 - epsilon_i) * x_tilde
                    penalty = (gradient_norm(self.D, x_hat) - 1).square().mean()
                    L_cls = self.domain_loss(logits, label_i)
                    descend(-wasserstein + self.gp_weight * penalty + self.class_weight * L_cls)
            self.record(wasserstein=wasserstein, gradient_penalty=penalty, real_class_loss=L_cls)
        with self.descending("G") as descend:
            for x_i, label_i, target_i in self.micro(x, label, target):
                x_tilde = self.G(x_i, self.code(target_i))
                source, logits = self.D.heads(x_tilde)
                L_cls = self.domain_loss(logits, target_i)
                L_rec = (full(x_i) - full(self.G(x_tilde, self.code(label_i)))).abs().mean()
                L_adv = full(source).mean()
                descend(-L_adv + self.class_weight * L_cls + self.rec_weight * L_rec)
        self.record(fake_class_loss=L_cls, reconstruction=L_rec)

    def translator(self, to: str) -> Callable[[Tensor], Tensor]:
        """G towards a class; or towards what D sees in an image, with one attribute changed."""
        return lambda x: self.G(x, self.towards(x, to))

    def towards(self, x: Tensor, to: str) -> Tensor:
        """Codes (N, K) of the images (N, C, H, W) that some are to be translated to."""
        if self.num_classes:
            return self.code(torch.full((len(x),), int(to), device=x.device))
        name = to.removeprefix(ABSENT)
        code = (self.D.classify(x) > 0).to(self.dtype)
        if name == to:
            for group in (group for group in self.exclusive if name in group):
                code[:, [self.domains.index(other) for other in group]] = 0
        code[:, self.domains.index(name)] = float(name == to)
        return code

    def compile_networks(self) -> None:
        """Compile G in place; D is differentiated twice and stays eager."""
        self.G.compile()
