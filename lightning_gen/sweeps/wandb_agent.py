"""A sweep that W&B leads: it is made from the same file, and agents here train its trials."""

import os
import sys
from pathlib import Path
from typing import Any

from lightning_gen.errors import ConfigError
from lightning_gen.sweeps.children import Children
from lightning_gen.sweeps.space import Space
from lightning_gen.tracking.wandb import check


def sweep_config(space: Space, overrides: list[str], trials: int | None) -> dict[str, Any]:
    """Write a sweep as W&B takes it.

    Args:
        space: What varies.
        overrides: What all trials share.
        trials: Number of trials; without one a grid ends by itself and others go on.
    """
    command = ["${env}", "${interpreter}", "-m", "lightning_gen", "train", *overrides]
    cap = {} if trials is None else {"run_cap": trials}
    return {**space.for_wandb(), **cap, "command": [*command, "${args_no_hyphens}"]}


def view_settings(config: dict[str, Any]) -> tuple[str, str | None]:
    """Give W&B's project and entity, as the runs' own view has them.

    Args:
        config: The whole checked configuration.

    Raises:
        ConfigError: If the runs would not be seen in W&B, or W&B cannot be reached.
    """
    logger = config["logger"]
    if not logger or "project" not in logger:
        raise ConfigError(
            "W&B leads by what it sees of the runs, and they have no W&B view",
            where="logger",
            fix="logger=wandb, or engine=optuna",
        )
    if logger.get("mode") in {"offline", "disabled"} or "WANDB_MODE" in os.environ:
        mode = os.environ.get("WANDB_MODE", logger.get("mode"))
        answer = {"mode": mode, "reason": f"W&B is {mode}"}
    else:
        answer = check("online")
    if answer.get("mode") not in {"online"}:
        raise ConfigError(
            f"a W&B sweep lives on its server: {answer.get('reason') or answer.get('failed')}",
            where="engine=wandb",
            fix="wandb login and a network, or engine=optuna, which needs neither",
        )
    return logger["project"], logger["entity"]


def create(config: dict[str, Any], project: str, entity: str | None) -> str:
    """Make the sweep on the server.

    Args:
        config: From :func:`sweep_config`.
        project: W&B project.
        entity: W&B user or team; None is the key's own.

    Returns:
        The sweep's whole path, ``entity/project/id`` as far as it is known.

    Raises:
        ConfigError: With what W&B answers.
    """
    import wandb

    try:
        made = wandb.sweep(config, project=project, entity=entity)
    except Exception as error:  # whatever W&B raises, it is about what was sent or who sent it
        why = " ".join(str(error).split())
        raise ConfigError(
            f"W&B did not make the sweep: {type(error).__name__}: {why}"[:400],
            where="engine=wandb",
            fix="check logger.project, logger.entity and the key, or engine=optuna",
        ) from error
    # The server's answer sets the defaults of this process, and so names what it left open.
    entity = entity or os.environ.get("WANDB_ENTITY")
    return "/".join(part for part in (entity, project, made) if part)


def run_agents(sweep: str, folder: Path, *, jobs: int = 1, count: int | None = None) -> int:
    """Train what W&B asks for, until the sweep is done.

    Args:
        sweep: ``entity/project/id``.
        folder: Where the agents write W&B's own files.
        jobs: Agents at a time.
        count: Trials of each agent; None leaves it to the server.

    Returns:
        The largest exit code of the agents.

    Raises:
        Interrupted: On Ctrl-C; the trials' states are saved.
        Preempted: On SIGTERM or SIGUSR1, likewise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scripts = str(Path(sys.executable).parent)
    environment = os.environ | {
        "PATH": f"{scripts}{os.pathsep}{os.environ.get('PATH', os.defpath)}",  # our interpreter
        "WANDB_DIR": str(folder),
        "WANDB_AGENT_DISABLE_FLAPPING": "true",  # failed trials do not stop a sweep
        "WANDB_AGENT_MAX_INITIAL_FAILURES": "1000000",
    }
    command = [sys.executable, "-m", "wandb", "agent", "--forward-signals"]
    command += [] if count is None else ["--count", str(count)]
    with Children() as children:
        agents = [children.start([*command, sweep], env=environment) for _ in range(jobs)]
        codes = [agent.wait() for agent in agents]
    if children.signum is not None:
        raise children.error()
    return max(abs(code) for code in codes)
