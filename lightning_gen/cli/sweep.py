"""Search a space of parameters: each trial an ordinary run, none of them able to stop the rest."""

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from lightning_gen.cli.arguments import bind
from lightning_gen.errors import ConfigError
from lightning_gen.types import PositiveInt

if TYPE_CHECKING:
    from lightning_gen.sweeps.sweep import Sweep

HELP = """usage: lightning-gen sweep sweep=FILE [trials=N] [KEY=VALUE ...]

Train an experiment at many points of the space in conf/sweep/FILE.yaml (or a file of your own).
The same command continues a sweep that was cut off; more trials= extend it.

  sweep=FILE      a name of conf/sweep, or a path FOLDER/NAME.yaml
  trials=N        how many; by default the file's run_cap, or all points of a grid
  jobs=1          how many at a time (CUDA_VISIBLE_DEVICES=0,1,2 gives them a GPU each in turn)
  metric=NAME     another score than the file's, as scores.json has it: fid_mnist@10k_test
  engine=optuna   or wandb: W&B leads, and agents here train (jobs of them)
  sweep_id=PATH   engine=wandb: join the sweep ENTITY/PROJECT/ID, with trials= of this machine
  KEY=VALUE       configuration that all trials share, as for train: experiment=NAME ...

Trials are ordinary runs of `lightning-gen train`, in paths.runs; a failed or collapsed one is a
line of the table. The table is kept in <paths.runs>/<experiment>/sweeps/<name>/trials.json."""


def options(
    *,
    sweep: str,
    trials: PositiveInt | None = None,
    jobs: PositiveInt = 1,
    metric: str | None = None,
    engine: Literal["optuna", "wandb"] = "optuna",
    sweep_id: str | None = None,
) -> dict[str, object]:
    """What may be asked of the sweep itself."""
    return {"sweep": sweep, "trials": trials, "jobs": jobs}


OWN = frozenset(options.__kwdefaults__ or {}) | {"sweep"}


def main(argv: list[str]) -> int:
    """Run ``lightning-gen sweep sweep=FILE``.

    Args:
        argv: Words after the verb.

    Returns:
        0, whatever came of the trials, unless none of them has a score: then 1.

    Raises:
        ConfigErrors: The space or the configuration is wrong at one of its points.
    """
    if {"-h", "--help"} & set(argv):
        print(HELP)
        return 0
    for flag in (word for word in argv if word.startswith("-")):
        raise ConfigError(f"unknown flag {flag!r}", fix="lightning-gen sweep --help")
    own = [word for word in argv if word.partition("=")[0] in OWN]
    asked = bind(options, own)
    overrides = [word for word in argv if word not in own]
    from lightning_gen.sweeps.space import Space

    space = Space.read(asked["sweep"])
    if asked.get("metric"):
        space = replace(space, metric=asked["metric"])
    config = space.check(overrides)
    trials = asked.get("trials") or space.run_cap
    jobs, engine = asked.get("jobs", 1), asked.get("engine", "optuna")
    from lightning_gen.sweeps.sweep import Sweep

    sweep = Sweep(space, overrides, config, say)
    if engine in {"wandb"}:
        from lightning_gen.sweeps import wandb_agent

        project, entity = wandb_agent.view_settings(config)
        joined = asked.get("sweep_id")
        sent = wandb_agent.sweep_config(space, overrides, trials)
        path = joined or wandb_agent.create(sent, project, entity)
        say(f"more agents: lightning-gen sweep {' '.join(argv)} sweep_id={path}" * (not joined))
        count = asked.get("trials") if joined else None
        return wandb_agent.run_agents(path, sweep.folder, jobs=jobs, count=count)
    total = trials if space.size is None else min(trials or space.size, space.size)
    if total is None:
        raise ConfigError("how many trials?", where="trials", fix="trials=20, or run_cap: 20")
    return search(sweep, total, jobs)


def search(sweep: "Sweep", total: int, jobs: int) -> int:
    """Run the sweep and print its table, also when it is cut off.

    Args:
        sweep: The sweep.
        total: Number of trials.
        jobs: Trials at a time.
    """
    from lightning_gen.cli.summary import console

    done = sum(not trial.is_running for trial in sweep.trials)
    say(f"{sweep.folder}: {done} of {total} trials done")
    try:
        sweep.run(total, jobs)
    finally:
        console().print(sweep.table())
    return 0 if any(trial.value is not None for trial in sweep.trials) else 1


def say(line: str) -> None:
    """Print a line at once."""
    print(f"lightning_gen: {line}", flush=True)
