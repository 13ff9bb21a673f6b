"""Which process of a launch this is, before anything is imported."""

import os


def is_rank_zero() -> bool:
    """Whether this process is the first of its launch, as the launcher's environment says."""
    ranks = (os.environ.get(name, "0") for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))
    return all(rank == "0" for rank in ranks)
