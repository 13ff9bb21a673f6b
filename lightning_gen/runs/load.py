"""A run's model and data, for the verbs that use what was trained."""

from pathlib import Path
from typing import Any, Literal, NamedTuple

from lightning_gen.config.compose import load_run_config
from lightning_gen.errors import CheckpointError
from lightning_gen.runs.checkpoint import CheckpointStore
from lightning_gen.runs.session import build_data, build_model
from lightning_gen.runs.state import load_weights


class Opened(NamedTuple):
    """What a run consists of."""

    config: dict[str, Any]
    model: Any
    data: Any


def load_run(path: Path, *, checkpoint: Literal["last", "best"] = "last") -> Opened:
    """Build a run's model from its configuration and load one of its checkpoints.

    The configuration is checked as if it came from a stranger, and the checkpoint is verified.

    Args:
        path: The run's folder.
        checkpoint: The newest sound one, or the best by the monitored score.

    Raises:
        ConfigError: If there is no run, or its configuration is refused.
        CheckpointError: If it has no such checkpoint.
    """
    config = load_run_config(path)
    store = CheckpointStore(Path(path, "checkpoints"))
    found = {"last": store.latest, "best": store.best}[checkpoint]()
    if found is None:
        raise CheckpointError(
            f"the run has no {checkpoint} checkpoint yet",
            where=store.folder,
            fix="train it first, or checkpoint=last",
        )
    data, model = build_data(config), build_model(config)
    load_weights(model, found[0], found[1], config)
    return Opened(config, model.eval(), data)
