"""Whether a model tells classes that it was never shown from those it was trained on.

References:
    An & Cho, *Variational Autoencoder Based Anomaly Detection using Reconstruction Probability*,
    2015: one digit of MNIST is held out of training.
    Hanley & McNeil, *The Meaning and Use of the Area under a Receiver Operating Characteristic
    Curve*, 1982, doi:10.1148/radiology.143.1.7063747: its standard error.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor

from lightning_gen.core import ImageBatch
from lightning_gen.errors import MetricError
from lightning_gen.metrics.feature_measure import Measured
from lightning_gen.metrics.likelihood_evaluator import count_samples, log_likelihoods
from lightning_gen.metrics.method_evaluator import MethodEvaluator, Read
from lightning_gen.metrics.protocol import Protocol
from lightning_gen.metrics.reconstruction_evaluator import reconstruction_errors
from lightning_gen.types import PositiveInt


def auc_error(auc: float, strange: int, known: int) -> float:
    r"""Standard error of the area under a ROC curve.

    .. math::
        \sigma^2 = \frac{A (1 - A) + (m - 1) (Q_1 - A^2) + (n - 1) (Q_2 - A^2)}{m n}, \qquad
        Q_1 = \frac{A}{2 - A}, \quad Q_2 = \frac{2 A^2}{1 + A}

    Args:
        auc: The area A.
        strange: Number m of what is to be found.
        known: Number n of all else.

    Example:
        >>> round(auc_error(0.5, 50, 50), 4)  # of Mann & Whitney's U, if nothing is told apart
        0.058
    """
    above, below = auc / (2 - auc) - auc**2, 2 * auc**2 / (1 + auc) - auc**2
    variance = auc * (1 - auc) + (strange - 1) * above + (known - 1) * below
    return math.sqrt(max(variance, 0.0) / (strange * known))


class AnomalyEvaluator(MethodEvaluator):
    """How well a score of the model finds images of classes that training left out.

    There are, of test images of the digits in ``data.without`` against all others:

    - ``anomaly_auc``: the share of pairs of a strange and a known image in which the strange one is
      the stranger to the model;
    - ``anomaly_precision``: average precision; chance has the share of strange images.

    Args:
        by: An image is the stranger, the larger its error of reconstruction, or the smaller its
            likelihood (of grey pixels too: their order has a meaning); ``auto`` takes the
            reconstruction where the model has one.
        samples: Importance samples of a likelihood; None leaves it to the model.
        n_real: Images, the first; None takes all.
        split: Split that has images of all classes.
        seed: Seed of what a likelihood samples.
    """

    needs: ClassVar[str] = "measured"  # by either method

    def __init__(
        self,
        by: Literal["auto", "reconstruction", "likelihood"] = "auto",
        samples: PositiveInt | None = None,
        n_real: PositiveInt | None = None,
        split: str = "test",
        seed: int = 0,
    ) -> None:
        super().__init__(split, n_real, seed)
        self.by, self.samples = by, samples

    def by_what(self, model: Any) -> str:
        """The score that is taken of a model."""
        able = "reconstruction" if hasattr(model, "reconstruct") else "likelihood"
        return {"auto": able}.get(self.by, self.by)

    def protocols(self, model: Any, data: Any, how: Protocol) -> Mapping[str, Protocol]:
        """The score, and the classes that are strange."""
        options = {
            "held_out": list(getattr(data, "without", ())),
            "binarisation": data.binarise,
            "ci": "standard error of Hanley & McNeil",
        }
        by, n_fake = self.by_what(model), 0
        if by in {"likelihood"}:
            n_fake = count_samples(model, self.samples)
            options["kind"] = getattr(model, "likelihood_kind", "")
        return {"anomaly": replace(how, extractor=by, n_fake=n_fake, options=options)}

    def check(self, model: Any, data: Any) -> None:
        """There have to be strange classes, and the method."""
        by = self.by_what(model)
        method = {"reconstruction": "reconstruct", "likelihood": "log_likelihood"}[by]
        if not hasattr(model, method):
            raise MetricError(f"{type(model).__name__} has no {method}(x)", where="metrics.by")
        if not getattr(data, "without", ()):
            what = "the model was trained on all classes, so none of them is strange to it"
            raise MetricError(what, where="data.without", fix="data.without=[9] in training")

    def rows(self, model: Any, batch: ImageBatch, j: int) -> dict[str, Tensor]:
        """How strange each image is, to a model that is not told of its class."""
        batch = ImageBatch(batch.image)
        if self.by_what(model) in {"reconstruction"}:
            return {"strangeness": reconstruction_errors(model, batch)}
        log_p = log_likelihoods(model, batch, self.samples, self.seed, j)
        return {"strangeness": -log_p}

    def values(self, metric: str, read: Read) -> Measured:
        """Both areas."""
        if read.labels is None:
            raise MetricError("without labels nobody knows which images are strange")
        is_strange = torch.isin(read.labels.cpu(), torch.tensor(read.data.without))
        strange, known = int(is_strange.sum()), int((~is_strange).sum())
        if not strange or not known:
            raise MetricError(f"{strange} of {strange + known} images are of classes held out")
        truth, found = is_strange.numpy(), read.values["strangeness"].cpu().double().numpy()
        auc = float(roc_auc_score(truth, found))
        return {
            "anomaly_auc": auc,
            "anomaly_auc_ci": auc_error(auc, strange, known),
            "anomaly_precision": float(average_precision_score(truth, found)),
        }
