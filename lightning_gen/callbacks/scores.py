"""Score the model while it trains, and at the end."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, Literal

import pytorch_lightning as pl
from torch import Tensor

from lightning_gen.callbacks.base import RunCallback
from lightning_gen.callbacks.progress import watched
from lightning_gen.errors import MetricError
from lightning_gen.metrics.feature_pass import Weights
from lightning_gen.metrics.protocol import Evaluation, Score
from lightning_gen.types import PositiveInt


def finite(score: Score) -> Score:
    """Refuse a value that is not a number, so that it is neither logged nor ever the best.

    Example:
        >>> from lightning_gen.metrics.protocol import Protocol
        >>> how = Protocol("mnist", "ab12", "none", 10, 10, "test", "ema", 0, "cd34")
        >>> finite(Score("fid", math.nan, how)).note
        'the value is nan'
    """
    if score.value is None or math.isfinite(score.value):
        return score
    return replace(score, value=None, ci=None, note=f"the value is {score.value}")


class Scores(RunCallback):
    """Evaluate each time so many images have passed, and once more at the end.

    An evaluation is written as an "eval" row, name -> value, and with its protocols to the run's
    scores; then every callback that has ``on_evaluation(trainer, module, evaluation)`` is told.
    A metric that refuses is said once, written as null with its note, and training goes on.

    Under DDP each rank draws a disjoint share of the samples and all of them know the scores.

    Args:
        every_images: Images between two evaluations; None evaluates only at the end.
        n_fake: Generated samples of an evaluation during training.
        final_n_fake: Generated samples of the one at the end; None takes ``n_fake``.
        weights: Score the averaged weights, those as trained, or both; callbacks are told of the
            first. Names of raw scores end in ``_raw`` where there is an average.
    """

    evaluates: ClassVar[bool] = True

    def __init__(
        self,
        *,
        every_images: PositiveInt | None,
        n_fake: PositiveInt,
        final_n_fake: PositiveInt | None = None,
        weights: Literal["ema", "raw", "both"] = "ema",
    ) -> None:
        self.every_images, self.n_fake = every_images, n_fake
        self.final_n_fake = final_n_fake or n_fake
        choices: dict[str, tuple[Weights, ...]] = {"ema": ("ema",), "raw": ("raw",)}
        self.weights = (choices | {"both": ("ema", "raw")})[weights]
        self.evaluator: Any = None
        self.said: set[str] = set()
        self.done: tuple[int, int] | None = None

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
        """Evaluate when it is due, but leave the last step to the evaluation at the end."""
        if self.due(pl_module, self.every_images):
            stop = trainer.datamodule.stop_iteration  # type: ignore[attr-defined]
            if stop is None or pl_module.iteration < stop:
                self.evaluate(trainer, pl_module, self.n_fake)

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Evaluate the result, unless this very step was evaluated at that size."""
        self.evaluate(trainer, pl_module, self.final_n_fake)

    def evaluate(self, trainer: pl.Trainer, module: Any, n_fake: int) -> None:
        """Score the model as it is, write the scores and tell the other callbacks.

        Args:
            trainer: The trainer, whose data module holds the real samples.
            module: The model.
            n_fake: Number of generated samples.
        """
        if self.evaluator is None or self.done == (module.iteration, n_fake):
            return
        self.done = (module.iteration, n_fake)
        with self.pausing():
            told = [self.measure(trainer, module, n_fake, w) for w in self.weights]
            self.write(module, [score for evaluation in told for score in evaluation.scores])
            for callback in trainer.callbacks:  # type: ignore[attr-defined]
                if hasattr(callback, "on_evaluation"):
                    callback.on_evaluation(trainer, module, told[0])
        if trainer.should_stop:
            self.done = None  # the watchdog may have gone back to other weights

    def measure(
        self, trainer: pl.Trainer, module: Any, n_fake: int, weights: Weights
    ) -> Evaluation:
        """Run the evaluator on all ranks; a refusal gives an evaluation without scores."""

        def gather(rows: Tensor) -> Tensor:
            return trainer.strategy.all_gather(rows.to(module.device)).flatten(0, 1)

        several: Callable[[Tensor], Tensor] | None = gather if trainer.world_size > 1 else None
        try:
            evaluation = self.evaluator.evaluate(
                module,
                trainer.datamodule,  # type: ignore[attr-defined]
                n_fake=n_fake,
                weights=weights,
                gather=several,
                rank=trainer.global_rank,
                world=trainer.world_size,
                progress=watched(trainer),
            )
        except MetricError as error:
            fix = f" ({error.fix})" if error.fix else ""
            self.warn(trainer, f"no scores: {error.what}{fix}")
            return Evaluation([], {})
        scores = [finite(score) for score in evaluation.scores]
        for score in scores:
            if score.value is None:
                self.warn(trainer, f"{score.name} has no value: {score.note}")
        return replace(evaluation, scores=scores)

    def warn(self, trainer: pl.Trainer, text: str) -> None:
        """Say a thing once."""
        if text not in self.said:
            self.said.add(text)
            self.say(trainer, text)

    def write(self, module: Any, scores: list[Score]) -> None:
        """Append the row, and the scores with their protocols."""
        if self.run is None or not scores:
            return
        values = {}
        for score in scores:
            raw = module.has_ema and score.protocol.weights in {"raw"}
            values[score.name + ("_raw" if raw else "")] = score.value
        self.run.log("eval", module.iteration, module.images_seen, values)
        records = [score.to_json() for score in scores]
        self.run.record_scores(records, module.iteration, module.images_seen)
