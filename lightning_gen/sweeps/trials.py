"""The trials of a sweep: what was tried, what came of it, and what to try next.

Nothing but this table is kept. What comes next is a function of the space, the seed, the trial's
number and the trials so far, so that a sweep cut off anywhere goes on as if it had not been.
"""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lightning_gen.errors import DataError, OutputError, RankError
from lightning_gen.metrics.protocol import Score, comparable
from lightning_gen.randomness import fold
from lightning_gen.runs.run import Run
from lightning_gen.sweeps.space import Space, Value

DRAWS = 20  # of a point that has not been tried
STARTUP = 5  # trials drawn at random before the sampler learns from them
FAILURE = re.compile(r"^(?:lightning_gen: error \[\d+\]: |\w*(?:Error|Exception): )(.*)", re.M)
OUTSIDE = {cls.exit_code for cls in (DataError, OutputError, RankError)}

State = Literal["running", "finished", "failed", "collapsed"]


@dataclass
class Trial:
    """One point of the space, and what came of it.

    Args:
        number: From 0 on.
        parameters: Value by key.
        run: Folder of its run.
        state: ``running`` until it is known what came of it.
        value: The score, when it has one that counts.
        score: The same with its protocol, as JSON.
        exit_code: Of the last process that trained it; negative for a signal.
        kills: How often a signal ended it.
        reason: Why it failed, or the run's last alert.
    """

    number: int
    parameters: dict[str, Value]
    run: str
    state: State = "running"
    value: float | None = None
    score: dict[str, Any] | None = None
    exit_code: int | None = None
    kills: int = 0
    reason: str | None = None

    @property
    def is_running(self) -> bool:
        """Whether its outcome is open."""
        return self.state in {"running"}

    @property
    def failed_outside(self) -> bool:
        """Whether it failed for the machine's sake: data, disk, a lost process, a signal."""
        code = self.exit_code or 0
        return self.state in {"failed"} and (code < 0 or code in OUTSIDE)

    def fail(self, reason: str, code: int | None = None) -> None:
        """Note a failure."""
        self.state, self.reason, self.exit_code = "failed", reason, code


def propose(space: Space, trials: Sequence[Trial], seed: int) -> dict[str, Value] | None:
    """Say what the next trial tries.

    A grid gives its points in order, random search and Optuna's tree-structured Parzen estimator
    (Bergstra et al. 2011) draw. A failed or collapsed trial counts as worse than every score, and
    one still running as bad, so that trials at the same time differ (constant liar).

    Args:
        space: The space.
        trials: All trials so far.
        seed: Of the sweep.

    Returns:
        Value by key; None when the grid is done or no new point was found.
    """
    number = len(trials)
    if space.is_grid:
        return space.point(number)
    import optuna
    from optuna.distributions import (
        BaseDistribution,
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )
    from optuna.trial import TrialState, create_trial

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions: dict[str, BaseDistribution] = {}
    for p in space.parameters:
        if p.values:
            distributions[p.key] = CategoricalDistribution(p.values)
        elif p.distribution in {"int_uniform"}:
            distributions[p.key] = IntDistribution(int(p.low), int(p.high))
        else:
            log = p.distribution in {"log_uniform_values"}
            distributions[p.key] = FloatDistribution(p.low, p.high, log=log)

    def frozen(trial: Trial) -> Any:
        state = TrialState.PRUNED if trial.value is None else TrialState.COMPLETE
        return create_trial(
            state=TrialState.RUNNING if trial.is_running else state,
            value=trial.value,
            params=trial.parameters,
            distributions=distributions,
        )

    tried = [trial.parameters for trial in trials]
    for draw in range(DRAWS):
        start = fold(seed, "trial", number, draw) % 2**32
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # both options are experimental in Optuna 4
            sampler: optuna.samplers.BaseSampler = (
                optuna.samplers.RandomSampler(seed=start)
                if space.method in {"random"}
                else optuna.samplers.TPESampler(
                    n_startup_trials=STARTUP, multivariate=True, constant_liar=True, seed=start
                )
            )
        study = optuna.create_study(direction=space.goal, sampler=sampler)
        study.add_trials([frozen(trial) for trial in trials])
        point = study.ask(distributions).params
        if point not in tried:
            return {p.key: point[p.key] for p in space.parameters}
    return None


def judge(trial: Trial, code: int, log: Path, metric: str, first: Score | None) -> None:
    """Settle a trial whose process has ended.

    Args:
        trial: Written to.
        code: The exit code.
        log: What the process printed.
        metric: Name of the score that counts.
        first: A score of the sweep that this one must be comparable with.
    """
    folder = Path(trial.run)
    run = Run.read(folder) if (folder / "config.yaml").is_file() else None
    if code < 0:
        return trial.fail(f"killed by signal {-code}, {trial.kills} times", code)
    if code or run is None:
        told = FAILURE.findall(log.read_text("utf-8", "replace")) if log.is_file() else []
        return trial.fail(told[-1] if told else f"exit code {code}, see {log}", code)
    trial.exit_code, trial.reason = 0, None
    last = run.scores()[-1]["scores"] if run.scores() else []
    record = next((r for r in last if r["name"] in {metric}), None)
    if run.status["state"] in {"collapsed"}:
        trial.state, trial.reason, trial.score = "collapsed", run.status["reason"], record
    elif record is None:
        names = ", ".join(dict.fromkeys(r["name"] for r in last)) or "none"
        trial.fail(f"no score {metric!r}; the run's scores: {names}", 0)
    elif record["value"] is None:
        trial.fail(f"{metric} has no value: {record['note']}", 0)
    elif first and (differing := comparable(Score.from_json(record), first)):
        trial.fail(f"not comparable with the first score: {', '.join(differing)} differ", 0)
        trial.score = record
    else:
        trial.state, trial.value, trial.score = "finished", record["value"], record
        if alerts := run.alerts():
            trial.reason = f"alert: {alerts[-1][0]}"


def best(trials: Sequence[Trial], goal: str) -> Trial | None:
    """Find the best trial, the earlier of equals."""
    sign = -1 if goal in {"maximize"} else 1
    scored = [trial for trial in trials if trial.value is not None]
    return min(scored, key=lambda t: (sign * (t.value or 0.0), t.number), default=None)
