"""Train a model: start, continue or extend the run that the command names."""

import subprocess
import sys
from typing import Any

from lightning_gen.config.compose import check_sweep, parse_argv
from lightning_gen.config.paths import conf_dir


def main(argv: list[str]) -> int:
    """Run the Hydra application ``lightning-gen train OVERRIDE...``.

    The whole configuration, of every job of a sweep, is checked before torch is imported or a file
    is touched.

    Args:
        argv: Overrides and Hydra's own flags (``-m``, ``--cfg job``, ``--help``).

    Returns:
        Exit code; of a multirun, the largest of its jobs'.
    """
    request = parse_argv(argv)
    jobs = check_sweep(argv)
    asks_hydra = set(request.flags) - {"-m", "--multirun"}
    launches = any(word.startswith("hydra/launcher") for word in request.overrides)
    if asks_hydra or launches:
        return hydra_main(argv)
    if request.multirun:
        return max(job(overrides) for overrides, _ in jobs)
    (_, config), *_ = jobs
    assert config is not None
    return run(config)


def job(overrides: list[str]) -> int:
    """Run one job of a sweep in a process of its own: its failure leaves the others alone.

    Args:
        overrides: Its overrides.
    """
    print(f"\nlightning_gen: job {' '.join(overrides)}", flush=True)
    return abs(subprocess.call([sys.executable, "-m", "lightning_gen", "train", *overrides]))


def hydra_main(argv: list[str]) -> int:
    """Leave ``--help``, ``--cfg``, ``--info`` and launcher plugins to Hydra.

    Args:
        argv: Overrides and Hydra's flags.
    """
    import hydra
    from hydra.core.hydra_config import HydraConfig

    codes = [0]

    def task(config: Any) -> None:
        codes.append(job(list(HydraConfig.get().overrides.task)))

    launched = sys.argv
    sys.argv = [launched[0], *argv]
    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(task)()
    finally:
        sys.argv = launched
    return max(codes)


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
