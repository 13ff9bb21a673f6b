"""Train a model: start, continue or extend the run that the command names."""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from lightning_gen.config.compose import Request, check_sweep, parse_argv
from lightning_gen.config.paths import conf_dir
from lightning_gen.errors import ConfigError, Interrupted, Preempted
from lightning_gen.runs.child import call
from lightning_gen.runs.preemption import StopRequest

LAUNCHER = ("launcher", "hydra/launcher")


def main(argv: list[str]) -> int:
    """Run the Hydra application ``lightning-gen train OVERRIDE...``.

    The whole configuration, of every job of a sweep, is checked before torch is imported or a file
    is touched.

    Args:
        argv: Overrides and Hydra's own flags (``-m``, ``--cfg job``, ``--help``).

    Returns:
        Exit code; of a multirun, the largest of its jobs'.
    """
    with StopRequest(at_once=True):  # until the first step, from when on a callback listens
        return start(argv)


def start(argv: list[str]) -> int:
    """Check the command and do what it asks for.

    Args:
        argv: Overrides and Hydra's own flags.

    Returns:
        Exit code.
    """
    request = parse_argv(argv)
    jobs = check_sweep(argv)
    if set(request.flags) - {"-m", "--multirun", "-r", "--run"}:
        return hydra_main(argv)
    if request.multirun:
        return multirun(request, [overrides for overrides, _ in jobs])
    (_, config), *_ = jobs
    assert config is not None
    return run(config)


def multirun(request: Request, jobs: list[list[str]]) -> int:
    """Run the jobs of a sweep one after the other, or by a launcher of Hydra's.

    Args:
        request: The command line.
        jobs: Overrides of each job.

    Returns:
        The largest exit code; that of a job that was asked to stop ends the sweep.
    """
    keys = {word.lstrip("+").partition("=")[0] for word in request.overrides}
    if keys & set(LAUNCHER):
        return max(launch(request, jobs))
    codes = [0]
    for overrides in jobs:
        codes.append(job(overrides, call))
        if codes[-1] in (Preempted.exit_code, Interrupted.exit_code):
            return codes[-1]
    return max(codes)


def job(overrides: list[str], run_words: Callable[[list[str]], int]) -> int:
    """Run one job of a sweep in a process of its own: its failure leaves the others alone.

    Args:
        overrides: Its overrides.
        run_words: Runs ``lightning-gen WORDS``.

    Returns:
        Its exit code; 128 and the signal where one ended it, as a shell has it.
    """
    print(f"\nlightning_gen: job {' '.join(overrides)}", flush=True)
    code = run_words(["train", *overrides])
    return code if code >= 0 else 128 - code


def launch(request: Request, jobs: list[list[str]]) -> list[int]:
    """Hand the jobs to the launcher plugin that the command names (joblib, submitit).

    The plugin starts a process a job, which composes Hydra's own part of the configuration; the
    job itself is the same command as everywhere else, ``lightning-gen train OVERRIDE...``.

    Args:
        request: The command line.
        jobs: Overrides of each job.

    Returns:
        The jobs' exit codes.

    Raises:
        ConfigError: If the launcher could not run a job.
    """
    from hydra._internal.callbacks import Callbacks
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.plugins import Plugins
    from hydra.types import HydraContext, RunMode

    from lightning_gen.config.compose import _hydra

    # SLURM's warning before the end, which submitit chooses, becomes the one a run saves at.
    os.environ.setdefault("SUBMITIT_PREEMPT_SIGNAL", "USR1")
    own = ("hydra", "launcher", "paths.", "experiment=", "+hydra")
    words = [word for word in request.overrides if word.startswith(own) and word in jobs[0]]
    with _hydra(request):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        config = hydra.compose_config("config", words, RunMode.MULTIRUN, False)
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=HydraContext(hydra.config_loader, Callbacks()),
            task_function=partial(_numbered_job, jobs),
            config=config,
        )
        folder, name = config.hydra.sweep.dir, type(launcher).__name__
        print(f"lightning_gen: {len(jobs)} jobs by {name}, files in {folder}", flush=True)
        try:
            returned = launcher.launch([config.hydra.overrides.task] * len(jobs), initial_job_idx=0)
            codes = [int(result.return_value) for result in returned]
        except Exception as error:  # whatever a plugin raises, or its job in place of a result
            why = " ".join(str(error).split())
            raise ConfigError(f"{name}: {why}", where="launcher", fix=f"see {folder}") from error
    for overrides, code in zip(jobs, codes, strict=True):
        print(f"lightning_gen: exit code {code}: {' '.join(overrides)}")
    return codes


def _numbered_job(jobs: list[list[str]], config: Any) -> int:
    from hydra.core.hydra_config import HydraConfig

    def run_words(words: list[str]) -> int:  # signals are the launcher's own
        return subprocess.call([sys.executable, "-m", "lightning_gen", *words])

    return job(jobs[HydraConfig.get().job.num], run_words)


def hydra_main(argv: list[str]) -> int:
    """Leave ``--help``, ``--cfg`` and ``--info`` to Hydra.

    Args:
        argv: Overrides and Hydra's flags.
    """
    import hydra

    launched = sys.argv
    sys.argv = [launched[0], *argv]
    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(run)()
    finally:
        sys.argv = launched
    return 0


def run(config: dict[str, Any]) -> int:
    """Train one configuration and print what came of it.

    Args:
        config: The whole checked configuration.
    """
    from lightning_gen.runs.ranks import is_rank_zero

    if is_rank_zero():
        print("lightning_gen: starting (importing torch takes some seconds)", flush=True)
    from lightning_gen.cli.summary import print_summary
    from lightning_gen.runs.session import train

    run = train(config, command=sys.argv)
    if is_rank_zero():
        print_summary(run)
    return 0
