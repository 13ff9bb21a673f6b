"""What the features of a model know of classes that it was never told.

References:
    Donahue et al., *Adversarial Feature Learning*, 2016 (arXiv:1605.09782), table 1.
    Radford et al., *Unsupervised Representation Learning with Deep Convolutional Generative
    Adversarial Networks*, 2015 (arXiv:1511.06434), section 5.
"""

import warnings
from collections.abc import Mapping
from operator import attrgetter
from typing import Any, Literal

from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from lightning_gen.errors import MetricError
from lightning_gen.metrics.feature_measure import Measured
from lightning_gen.metrics.nearest_neighbour import nearest_neighbour_error
from lightning_gen.metrics.real_evaluator import CI, Labelled, Reader, RealEvaluator, share
from lightning_gen.types import PositiveFloat, PositiveInt


def linear_probe_error(
    x: Tensor,
    labels: Tensor,
    train: Tensor,
    train_labels: Tensor,
    *,
    C: float = 1.0,
    max_iter: int = 200,
) -> float:
    """Share of points that a logistic regression on training points gets wrong.

    Each feature is brought to mean zero and variance one on the training points.

    Args:
        x: Points (N, d).
        labels: Their labels (N,).
        train: Training points (M, d).
        train_labels: Their labels (M,).
        C: Inverse weight of half the squared norm beside the sum of the losses.
        max_iter: Most steps of L-BFGS; what it has then is taken.

    Returns:
        0 to 1.

    Example:
        >>> import torch
        >>> train, names = torch.tensor([[0.0], [1.0], [4.0], [5.0]]), torch.tensor([3, 3, 8, 8])
        >>> linear_probe_error(torch.tensor([[1.5], [9.0]]), torch.tensor([3, 3]), train, names)
        0.5
    """
    scaler = StandardScaler()
    probe = LogisticRegression(C=C, max_iter=max_iter)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe.fit(scaler.fit_transform(train.cpu().numpy()), train_labels.cpu().numpy())
    return float((probe.predict(scaler.transform(x.cpu().numpy())) != labels.cpu().numpy()).mean())


class ProbeEvaluator(RealEvaluator):
    """Error of the nearest neighbour and of a linear classifier on features of real images.

    Both learn from training images with their labels, and are tested on others. On raw pixels the
    nearest neighbour has the error of
    :class:`~lightning_gen.baselines.known.nearest_neighbour_real.NearestNeighbourError`.

    Note:
        DCGAN's paper pools the features of all layers of D to 4 x 4 and trains an SVM; here they
        are those of D's last layer before the logit, and the classifier is logistic.

    Args:
        of: Whose features: the model's ``features`` (of BiGAN the encoder's last hidden layer), its
            ``encode``, or those of D.
        n_train: Training images, the first; None takes all.
        split: Split that is classified.
        n_real: Its images, the first; None takes all.
        C: Inverse weight of the linear classifier's penalty, of standardised features.
        max_iter: Most steps of its L-BFGS.
    """

    def __init__(
        self,
        of: Literal["features", "encoder", "discriminator"] = "features",
        n_train: PositiveInt | None = None,
        split: str = "test",
        n_real: PositiveInt | None = None,
        C: PositiveFloat = 1.0,
        max_iter: PositiveInt = 200,
    ) -> None:
        super().__init__("probe", of, "train", n_train, split, n_real)
        self.C, self.max_iter = C, max_iter

    def options(self, n_fit: int) -> Mapping[str, Any]:
        """What both probes are."""
        linear = {"C": self.C, "max_iter": self.max_iter, "standardised": True}
        return {"n_train": n_fit, "neighbours": 1, "distance": "Euclidean", **linear, **CI}

    def reader(self, model: Any) -> Reader:
        """The method that gives the features, flat."""
        paths = {"features": "features", "encoder": "encode", "discriminator": "D.features"}
        try:
            method = attrgetter(paths[self.extractor])(model)
        except AttributeError:
            raise MetricError(
                f"{type(model).__name__} has no {paths[self.extractor]}(x)", where="metrics.of"
            ) from None
        return lambda x: method(x).flatten(1).float()

    def values(self, fit: Labelled, test: Labelled, shown: bool) -> Measured:
        """Fit both probes and count what they get wrong."""
        sets, n = (*test, *fit), len(test.rows)
        near = nearest_neighbour_error(*sets, progress=shown)
        linear = linear_probe_error(*sets, C=self.C, max_iter=self.max_iter)
        return share(near, n, "nearest_neighbour_error") | share(linear, n, "linear_probe_error")
