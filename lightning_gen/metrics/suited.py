"""What is measured of a model: what is asked for, and what its methods make of real images."""

from collections.abc import Mapping
from typing import Any

from lightning_gen.errors import MetricError
from lightning_gen.metrics.likelihood_evaluator import LikelihoodEvaluator
from lightning_gen.metrics.protocol import Evaluation
from lightning_gen.metrics.reconstruction_evaluator import ReconstructionEvaluator

METHODS: Mapping[str, type[LikelihoodEvaluator] | type[ReconstructionEvaluator]] = {
    "likelihood": LikelihoodEvaluator,
    "reconstruction": ReconstructionEvaluator,
}


class Suited:
    """An evaluator where the model has what it needs, and those of the model's methods.

    An autoencoder without a prior draws no samples: its reconstructions alone are scored. One with
    a prior has scores of both kinds. Its methods are tried on as many real images as there are
    generated ones, so that an evaluation while it trains is not dearer than was asked for.

    Args:
        evaluator: What is asked for; its ``needs``, if any, names the method of a model that it is
            about.
    """

    def __init__(self, evaluator: Any) -> None:
        self.evaluator = evaluator

    def evaluate(self, model: Any, data: Any, **how: Any) -> Evaluation:
        """Score a model against data; every rank returns the same.

        Args:
            model: The model.
            data: A data module that is set up.
            how: What :meth:`FeatureEvaluator.evaluate` takes.

        Raises:
            MetricError: There is nothing that may be measured of it.
        """
        needs = getattr(self.evaluator, "needs", None)
        asked = [self.evaluator] if needs is None or hasattr(model, needs) else []
        kinds = {type(evaluator) for evaluator in asked}
        limits = [n for n in (getattr(self.evaluator, "n_real", None), how.get("n_fake")) if n]
        n_real = min(limits, default=None)
        own = [METHODS[name] for name in model.measured if METHODS[name] not in kinds]
        asked += [kind(n_real=n_real) for kind in own]
        if not asked:
            raise MetricError(
                f"{type(model).__name__} has no {needs}",
                where="metrics",
                fix="metrics=none",
            )
        parts = [evaluator.evaluate(model, data, **how) for evaluator in asked]
        return Evaluation(
            [score for part in parts for score in part.scores],
            {name: value for part in parts for name, value in part.extras.items()},
            {name: image for part in parts for name, image in part.pictures.items()},
        )
