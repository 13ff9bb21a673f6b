"""An exception that nobody foresaw, as an error that a user can act on."""

import os
import re
import traceback
from typing import Any

import torch

from lightning_gen.errors import LightningGenError
from lightning_gen.runs.ranks import is_rank_zero
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
    if not is_rank_zero():  # rank 0 reports that this one was lost, and this one why
        rank = os.environ.get("RANK", os.environ.get("LOCAL_RANK"))
        return LightningGenError(f"rank {rank}: {error!r}", where=trace(error))
    last = run.checkpoints.newest()
    after = f"the same command goes on from {last}" if last else "no checkpoint was written yet"
    return LightningGenError(
        f"{type(error).__name__}: {error}",
        where=where,
        fix=f"mend what the last lines of the traceback there name; {after}",
    )


def trace(error: Exception) -> str:
    """Say in which line of which file an exception arose."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "unknown"


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
