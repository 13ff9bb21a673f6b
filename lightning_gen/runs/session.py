"""One training session: from a checked configuration to a finished run."""

import logging
import math
import os
import warnings
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import SLURMEnvironment

from lightning_gen.callbacks.base import RunCallback
from lightning_gen.callbacks.checkpoint import Checkpoint
from lightning_gen.config.compose import instantiate
from lightning_gen.core import GenerativeModule
from lightning_gen.errors import (
    ConfigError,
    DivergedError,
    Interrupted,
    LightningGenError,
    Preempted,
)
from lightning_gen.metrics.suited import Suited
from lightning_gen.randomness import fold
from lightning_gen.runs.failure import explain
from lightning_gen.runs.identity import digest
from lightning_gen.runs.lost import find
from lightning_gen.runs.preemption import StopRequest
from lightning_gen.runs.ranks import is_rank_zero
from lightning_gen.runs.run import Run, SilentRun
from lightning_gen.runs.state import size_of
from lightning_gen.runs.strategy import PlayerDDPStrategy
from lightning_gen.tracking.lightning import RunLogger

STATES: dict[type[BaseException], str] = {
    Preempted: "preempted",
    Interrupted: "interrupted",
    DivergedError: "diverged",
}


def build_model(config: dict[str, Any]) -> GenerativeModule:
    """Build the model with initial weights that follow from the seed.

    Args:
        config: The whole resolved configuration.
    """
    torch.manual_seed(fold(config["seed"], "init"))
    model = instantiate(config["model"])
    model.seed = config["seed"]
    if config["trainer"]["channels_last"]:
        model.to(memory_format=torch.channels_last)
    return model


def build_data(config: dict[str, Any]) -> Any:
    """Build the data module, prepared on disk and open.

    Args:
        config: The whole resolved configuration.
    """
    data = instantiate(config["data"])
    data.prepare_data()
    data.setup("fit")
    return data


def build_trainer(
    config: dict[str, Any], callbacks: list[pl.Callback], logger: Any, folder: str
) -> pl.Trainer:
    """Build Lightning's trainer for one long stream of steps.

    Args:
        config: The whole resolved configuration.
        callbacks: In the order they are to be called.
        logger: Where a model's own ``self.log`` goes.
        folder: Lightning's default folder.
    """
    options = config["trainer"]
    devices = options["devices"]
    several = options["num_nodes"] > 1 or devices not in (1, "auto") or options["strategy"] == "ddp"
    if devices == "auto" and options["accelerator"] != "cpu":
        several |= torch.cuda.device_count() > 1
    visible = torch.cuda.device_count()
    if options["accelerator"] == "gpu" and devices != "auto" and devices > visible:
        raise ConfigError(
            f"{devices} GPUs are asked for and {visible} are visible "
            f"(CUDA_VISIBLE_DEVICES={os.environ.get('CUDA_VISIBLE_DEVICES', 'unset')!r})",
            where="trainer.devices",
            fix=f"trainer.devices={visible} or trainer=cpu",
        )
    if options["sync_batchnorm"] and (options["accelerator"] == "cpu" or not visible):
        raise ConfigError(
            "batch statistics over all devices are computed on GPUs only, and none is used",
            where="trainer.sync_batchnorm",
            fix="trainer.sync_batchnorm=false: running statistics are averaged in any case",
        )
    on_slurm = SLURMEnvironment.detect()
    return pl.Trainer(
        accelerator=options["accelerator"],
        devices=devices if devices != "auto" or options["accelerator"] != "cpu" else 1,
        num_nodes=options["num_nodes"],
        strategy=_ranks(config) if several else "auto",
        precision=options["precision"],
        deterministic=options["deterministic"] or None,
        sync_batchnorm=options["sync_batchnorm"],
        # Requeueing is ours, after the state is durable; Lightning saves in the signal handler.
        plugins=[SLURMEnvironment(auto_requeue=False)] if on_slurm else None,
        callbacks=callbacks,
        logger=logger,
        max_epochs=1,
        log_every_n_steps=1,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )


def _ranks(config: dict[str, Any]) -> PlayerDDPStrategy:
    agreed = f"digest {digest(config)[:8]}, seed {config['seed']}"
    return PlayerDDPStrategy(agreed, config["trainer"]["rank_timeout"])


def hardware(trainer: pl.Trainer) -> str:
    """Name what is trained on: ``1 x CPU`` or ``8 x NVIDIA H200``.

    Args:
        trainer: The trainer.
    """
    device = trainer.strategy.root_device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()
    return f"{trainer.world_size} x {name}"


def quiet() -> None:
    """Silence what Lightning says of options that this framework sets on purpose."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        for part in ("", ".utilities.rank_zero", ".utilities.distributed"):
            logging.getLogger(name + part).setLevel(logging.WARNING)
    expected = (
        ".*does not have many workers.*",
        ".*`train_dataloader`.*",
        ".*in eval mode at the start of training.*",  # the moving average
        ".*will save all extracted features in buffer.*",
        ".*all_gather is deprecated.*",  # Lightning's call
        ".*isinstance.treespec, LeafSpec.*",  # Lightning's call
    )
    for message in expected:
        warnings.filterwarnings("ignore", message)


def train(config: dict[str, Any], command: list[str]) -> Run | SilentRun:
    """Start, continue or extend the run that the configuration names.

    Args:
        config: The whole resolved and checked configuration.
        command: The command line, for the provenance.

    Returns:
        The run, closed; its status says whether it is finished.

    Raises:
        LightningGenError: On anything a user can act on; the run's status holds the reason.
    """
    quiet()
    if config["trainer"]["threads"]:
        torch.set_num_threads(config["trainer"]["threads"])
    run = Run.open(config, command=command) if is_rank_zero() else SilentRun(config)
    try:
        return _train(config, run)
    except LightningGenError as error:
        run.set_status(STATES.get(type(error), "failed"), reason=error.what)
        raise
    except Exception as error:
        if StopRequest.asked is not None:  # Hydra, say, made an error of its own of the signal
            stopped = StopRequest.ending(StopRequest.asked, "asked to stop before the first step")
            run.set_status(STATES[type(stopped)], reason=stopped.what)
            raise stopped from error
        run.record_exception(error)
        failure = explain(error, config, run)
        run.set_status("failed", reason=failure.what)
        raise failure from error
    except BaseException as error:
        run.record_exception(error)
        run.set_status("failed", reason=f"{type(error).__name__}: {error}")
        raise
    finally:
        run.close()


def _train(config: dict[str, Any], run: Run | SilentRun) -> Run | SilentRun:
    model = build_model(config)
    if is_rank_zero() and config["callbacks"].get("checkpoint"):
        run.checkpoints.reserve(size_of(model))
    data = build_data(config)
    per_iteration = data.batch_size * model.minibatches
    data.stop_iteration = math.ceil(config["budget"]["images"] / per_iteration)
    callbacks = [instantiate(node) for node in config["callbacks"].values() if node]
    evaluator = Suited(instantiate(config["metrics"])) if config["metrics"] else None
    checkpoint = next((c for c in callbacks if isinstance(c, Checkpoint)), None)
    for callback in callbacks:
        if isinstance(callback, RunCallback):
            callback.run = run
        if hasattr(callback, "evaluator"):
            callback.evaluator = evaluator
        if hasattr(callback, "restore_best") and checkpoint is not None:
            callback.restore_best = checkpoint.restore_best
    # Other ranks cannot know the folder that rank 0 made for a fresh run; they wait to be told.
    newest = None if config["run"]["fresh"] and not is_rank_zero() else run.checkpoints.latest()
    if newest is not None and newest[0]["iteration"] >= data.stop_iteration:
        k, seen = newest[0]["iteration"], newest[0]["images_seen"]
        run.set_status("finished", iteration=k, images_seen=seen)
        if is_rank_zero():
            done = f"already finished at iteration {k}; nothing to do"
            print(f"lightning_gen: {done} (a larger budget.images goes on)", flush=True)
        return run
    if checkpoint is not None:
        checkpoint.resume_from = newest
    run.rewind(newest[0]["iteration"] if newest else 0)
    trainer = build_trainer(config, callbacks, RunLogger(run, model), str(run.path))
    if config["trainer"]["compile"]:
        model.compile_networks()
    run.update_provenance(data_fingerprint=data.fingerprint, device=hardware(trainer))
    run.start_view(config, resumed=newest is not None)
    run.set_status("running")
    try:
        trainer.fit(model, datamodule=data)
    except RuntimeError as error:
        loss = find(error, trainer.strategy)
        if loss is None:
            raise
        run.record_exception(error)
        raise loss from error
    state = "finished" if model.iteration >= data.stop_iteration else "collapsed"
    reason = run.status.get("reason")
    run.set_status(state, iteration=model.iteration, images_seen=model.images_seen, reason=reason)
    return run
