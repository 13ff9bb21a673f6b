"""Errors a user can act on: what happened, where, and what to do about it.

Every error a command reports is one block, and its class fixes the exit code:

==== ==========================================================
code meaning
==== ==========================================================
0    done
2    configuration
3    data
4    checkpoint
5    diverged (a loss, gradient or weight is not finite)
6    metric refused
7    output cannot be written
8    a rank was lost
75   preempted; the state is saved, the same command continues
130  interrupted (Ctrl-C); the state is saved
==== ==========================================================
"""

from typing import ClassVar


class LightningGenError(Exception):
    """An error with a place and a remedy.

    Args:
        what: What happened, with the offending value.
        where: File, configuration key or path it happened at.
        fix: Command or value that mends it.

    Example:
        >>> print(ConfigError("'abc' is not a number", where="optimizer.lr", fix="lr=2e-4"))
        lightning_gen: error [2]: 'abc' is not a number
          where: optimizer.lr
          fix: lr=2e-4
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: object = None, fix: str | None = None) -> None:
        super().__init__(what)
        self.what, self.where, self.fix = what, where, fix

    def __str__(self) -> str:
        lines = [f"lightning_gen: error [{self.exit_code}]: {self.what}"]
        if self.where is not None:
            lines.append(f"  where: {self.where}")
        if self.fix is not None:
            lines.append(f"  fix: {self.fix}")
        return "\n".join(lines)


class ConfigError(LightningGenError):
    """The configuration cannot be run."""

    exit_code = 2


class DataError(LightningGenError):
    """The data are missing, damaged or of the wrong kind."""

    exit_code = 3


class CheckpointError(LightningGenError):
    """A checkpoint is missing, damaged, foreign or refused."""

    exit_code = 4


class DivergedError(LightningGenError):
    """A loss, a gradient or a weight is not finite."""

    exit_code = 5


class MetricError(LightningGenError):
    """A metric refuses what it was given."""

    exit_code = 6


class OutputError(LightningGenError):
    """An output folder or file cannot be written."""

    exit_code = 7


class RankError(LightningGenError):
    """A process of a distributed run was lost or disagrees with the others."""

    exit_code = 8


class Preempted(LightningGenError):
    """The run was asked to stop; its state is saved and the same command continues it."""

    exit_code = 75


class Interrupted(LightningGenError):
    """Ctrl-C; the state is saved and the same command continues the run."""

    exit_code = 130
