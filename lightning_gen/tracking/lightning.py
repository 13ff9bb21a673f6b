"""What a model logs by itself (``self.log``) reaches the run's history."""

from typing import Any

from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities.rank_zero import rank_zero_only


class RunLogger(Logger):
    """Forwards Lightning's metrics to a run, on the run's own time.

    Args:
        run: The run (:class:`lightning_gen.runs.run.Run`).
        model: Whose ``iteration`` and ``images_seen`` are the time.
    """

    def __init__(self, run: Any, model: Any) -> None:
        super().__init__()
        self._run = run
        self._model = model

    @property
    def name(self) -> str:
        """The experiment's folder."""
        return self._run.path.parent.name

    @property
    def version(self) -> str:
        """The run's folder."""
        return self._run.path.name

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Log metrics; Lightning's own step and epoch are not the run's time and are left out."""
        values = {key: value for key, value in metrics.items() if key != "epoch"}
        if values:
            self._run.log("train", self._model.iteration, self._model.images_seen, values)

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the run holds the whole configuration."""
