r"""The likelihood of real images, with its kind and what it is a density of.

References:
    Burda, Grosse, Salakhutdinov, *Importance Weighted Autoencoders*, 2015 (arXiv:1509.00519):
    bounds with k importance samples, and active units.
    Theis, van den Oord, Bethge, *A Note on the Evaluation of Generative Models*, 2015
    (arXiv:1511.01844): densities of bytes with noise.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_gen.core import ImageBatch
from lightning_gen.errors import MetricError
from lightning_gen.functional.pixels import grey_levels
from lightning_gen.metrics.feature_measure import Measured
from lightning_gen.metrics.feature_pass import Team
from lightning_gen.metrics.method_evaluator import MethodEvaluator, Read, given
from lightning_gen.metrics.protocol import Protocol
from lightning_gen.randomness import fold
from lightning_gen.types import PositiveInt

BYTES = {"unit", "logit", "bytes"}
"""The spaces whose densities say how many bits an image of bytes takes."""


def logit_jacobian(alpha: float) -> Tensor:
    r"""Mean log-slope of the logit of each byte with uniform noise, in closed form.

    With :math:`s = \alpha + (1 - 2 \alpha) x` and :math:`y = \log s - \log (1 - s)`,

    .. math::
        J_k = \int_0^1 \log \frac{dy}{dx} \Big|_{x = (k + u) / 256} du
            = \log (1 - 2 \alpha) - \frac{256}{1 - 2 \alpha}
              \Big[ s \log s - (1 - s) \log (1 - s) - 2 s \Big]_{s(k / 256)}^{s((k + 1) / 256)} .

    Args:
        alpha: How far s stays from 0 and 1.

    Returns:
        (256,) in nats, in double precision.

    Example:
        >>> x = (127 + torch.arange(0.5, 1000) / 1000) / 256
        >>> slope = 0.8 / (0.1 + 0.8 * x) / (0.9 - 0.8 * x)
        >>> slope.log().mean() - logit_jacobian(0.1)[127] < 1e-5
        tensor(True)
    """
    s = alpha + (1 - 2 * alpha) * torch.arange(257, dtype=torch.float64) / 256
    antiderivative = torch.xlogy(s, s) - torch.xlogy(1 - s, 1 - s) - 2 * s
    return math.log(1 - 2 * alpha) - 256 / (1 - 2 * alpha) * antiderivative.diff()


def bits_per_dim(nll: Tensor, x: Tensor, space: str, alpha: float = 0.0) -> Tensor:
    r"""Bits that each of an image's bytes takes, of its negative log density in a space.

    .. math::
        \frac{\mathrm{nll}}{d \ln 2}, \qquad \frac{\mathrm{nll}}{d \ln 2} + 8, \qquad
        \frac{\mathrm{nll} - \sum_j J_{k_j}}{d \ln 2} + 8

    of the probability of ``bytes``, of a density of ``unit`` pixels (k + u) / 256, and of one of
    their ``logit``, whose change of volume is :func:`logit_jacobian`. Of the densities it is a
    bound, as the mean over noise u of a logarithm is.

    Args:
        nll: Nats (N,).
        x: The images (N, ...) in [-1, 1], which were bytes.
        space: "bytes", "unit" or "logit".
        alpha: How far pixels stay from 0 and 1 before the logit is taken.

    Returns:
        (N,).

    Example:
        >>> bits_per_dim(torch.zeros(1), torch.zeros(1, 784), "unit")  # uniform noise
        tensor([8.])
    """
    d = x[0].numel()
    nats = nll.double().cpu()
    if space in {"logit"}:
        levels = grey_levels(x).flatten(1).long().cpu()
        nats = nats - logit_jacobian(alpha)[levels].sum(1)
    return (nats / (d * math.log(2)) + (0 if space in {"bytes"} else 8)).to(nll)


def log_likelihoods(
    model: Any, batch: ImageBatch, samples: int | None, seed: int, j: int
) -> Tensor:
    """Log-likelihoods (N,) of a block of images, in nats.

    Args:
        model: A model with ``log_likelihood``.
        batch: The images, and labels for a model that asks for them.
        samples: Importance samples or annealing runs; None leaves it to the model.
        seed: Seed of what is sampled. Draws of an estimate are of the model, not of an image, so
            they are the same for all blocks.
        j: Block.
    """
    block = {"estimate": 0}.get(model.likelihood_kind, j)
    method, generator = model.log_likelihood, draws(seed, block)
    asked = given(method, batch.label)
    return method(batch.image, samples=samples, generator=generator, **asked).float()


def draws(seed: int, j: int) -> torch.Generator:
    """Source of what is sampled for block j."""
    return torch.Generator().manual_seed(fold(seed, "likelihood", j))


def count_samples(model: Any, samples: int | None) -> int:
    """Number of samples that a model's likelihood takes; 0 of an exact one, or of none.

    Args:
        model: The model.
        samples: What is asked for; None leaves it to the model.
    """
    if getattr(model, "likelihood_kind", "exact") in {"exact"}:
        return 0
    return samples or int(getattr(model, "importance_samples", 0))


class LikelihoodEvaluator(MethodEvaluator):
    """Negative log-likelihood of real images, in the space that the model's density is of.

    There are:

    - ``nll`` in nats an image (or point): exact, a bound or an estimate, as the protocol says,
      with the binarisation of binary pixels. Grey pixels have no nats under a model of binary
      ones, and are refused;
    - ``bits_per_dim``, of images of bytes;
    - ``active_units`` of codes, where the model counts them.

    The protocol's ``n_fake`` is the number of samples that a bound or an estimate takes: a score of
    5000 importance samples is ``nll_binary@5k_test``.

    Args:
        samples: Importance samples of a bound, or annealing runs of an estimate; None leaves it to
            the model, whose ``importance_samples`` are said to be as many.
        n_real: Images, the first; None takes all.
        split: Split that is scored.
        seed: Seed of what is sampled, and of dequantisation.
    """

    needs: ClassVar[str] = "log_likelihood"

    def __init__(
        self,
        samples: PositiveInt | None = None,
        n_real: PositiveInt | None = None,
        split: str = "test",
        seed: int = 0,
    ) -> None:
        super().__init__(split, n_real, seed)
        self.samples = samples

    def protocols(self, model: Any, data: Any, how: Protocol) -> Mapping[str, Protocol]:
        """Kind, space, binarisation and number of samples."""
        kind = getattr(model, "likelihood_kind", "exact")
        space = getattr(model, "likelihood_space", "")
        options = {"kind": kind, "binarisation": data.binarise, **how.options}
        n_fake = count_samples(model, self.samples)
        found = {"likelihood": replace(how, extractor=space, n_fake=n_fake, options=options)}
        if space in BYTES:
            found["bits"] = replace(found["likelihood"], extractor="bytes")
        if hasattr(model, "active_units"):
            threshold = {"active": "variance of the mean code > 0.01"}
            found["active_units"] = replace(how, extractor="code", options=threshold)
        return found

    def check(self, model: Any, data: Any) -> None:
        """Nats are of the pixels that a density is of."""
        super().check(model, data)
        space = model.likelihood_space
        if space in {"binary"} and data.binarise is None:
            raise MetricError(
                "grey pixels have no nats under a model of black and white ones",
                where="data.binarise",
                fix="data.binarise=dynamic",
            )
        if space in BYTES and data.binarise is not None:
            raise MetricError(
                f"a density of {space} pixels has no nats of {data.binarise} binary ones",
                where="data.binarise",
                fix="data.binarise=null",
            )

    def rows(self, model: Any, batch: ImageBatch, j: int) -> dict[str, Tensor]:
        """Nats and bits of each image."""
        x, space = batch.image, model.likelihood_space
        nll = -log_likelihoods(model, batch, self.samples, self.seed, j)
        bits = {"bits_per_dim": bits_per_dim(nll, x, space, getattr(model, "alpha", 0.0))}
        return {"nll": nll, **(bits if space in BYTES else {})}

    def read(self, model: Any, data: Any, split: str, n: int, team: Team, shown: bool) -> Read:
        """Of all images; active units are of the first 10,000 at once."""
        read = super().read(model, data, split, n, team, shown)
        values = dict(read.values)
        if hasattr(model, "active_units"):
            x = data.real(split, torch.arange(min(n, 10_000)), device=model.device).image
            values["active_units"] = torch.as_tensor(model.active_units(x))
        if hasattr(model, "log_partition") and model.likelihood_kind in {"estimate"}:
            log_z = model.log_partition(self.samples, draws(self.seed, 0))  # the one that was used
            values["log_z"] = torch.tensor([log_z.value, log_z.standard_error])
        return read._replace(values=values)

    def values(self, metric: str, read: Read) -> Measured:
        """Means, and a count."""
        if metric in {"active_units"}:
            return {metric: float(read.values[metric])}
        found = super().values(metric, read)
        if "log_z" in read.values:
            value, error = read.values["log_z"].tolist()
            found["notes"] = {"nll": f"log Z is {value:.2f} with a standard error of {error:.2f}"}
        return found
