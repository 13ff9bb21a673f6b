"""An exception that nobody foresaw, as an error that a user can act on."""

import re
from typing import Any

import torch

from lightning_gen.errors import LightningGenError
from lightning_gen.runs.run import Run

_MEMORY = re.compile("out of memory|can't allocate memory|not enough memory", re.IGNORECASE)


def explain(error: Exception, config: dict[str, Any], run: Run) -> LightningGenError:
    """Say what an exception means for the run; its traceback is in error.log.

    Args:
        error: The exception.
        config: The whole resolved configuration.
        run: The run, which has recorded the traceback.
    """
    where = run.path / "error.log"
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or _MEMORY.search(str(error)):
        return _out_of_memory(config, where)
    last = run.checkpoints.newest()
    after = f"the same command goes on from {last}" if last else "no checkpoint was written yet"
    return LightningGenError(
        f"{type(error).__name__}: {error}",
        where=where,
        fix=f"mend what the last lines of the traceback there name; {after}",
    )


def _out_of_memory(config: dict[str, Any], where: object) -> LightningGenError:
    data = config["data"]
    batch, side = data["batch_size"], data.get("resolution")
    shape = f" x {data.get('channels')} x {side} x {side}" if side else ""
    fixes = [f"data.batch_size={max(1, batch // 2)}"]
    if "accumulate" in config["model"]:
        share = 2 * config["model"]["accumulate"]
        fixes.append(f"model.accumulate={share}, which leaves the batch as it is")
    return LightningGenError(
        f"out of memory in a batch of {batch}{shape}", where=where, fix=", or ".join(fixes)
    )
