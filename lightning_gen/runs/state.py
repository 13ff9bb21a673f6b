"""Everything a resumed run needs, as plain tensors and numbers.

No random state and no position in the data is among it: both follow from the iteration.
"""

import logging
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch

from lightning_gen.core import GenerativeModule
from lightning_gen.errors import CheckpointError
from lightning_gen.runs import identity, provenance

SETTINGS = ("model", "data")  # branches of the configuration that sizes follow from
NO_SIZES = ("model.optimizers", "model.schedules", "data.root", "data.cache")
_log = logging.getLogger(__name__)


def state_of(
    trainer: pl.Trainer, model: GenerativeModule, config: Mapping[str, Any]
) -> dict[str, Any]:
    """Collect weights, averages, optimisers, schedules, loss scale, callbacks and the time.

    Args:
        trainer: The trainer in the middle of a fit, between two steps.
        model: Its model.
        config: The run's resolved configuration.

    Returns:
        Nested dictionaries and lists of tensors, numbers, strings and None.
    """
    callbacks = {type(c).__name__: c.state_dict() for c in trainer.callbacks}  # type: ignore[attr-defined]
    return {
        "class": f"{type(model).__module__}.{type(model).__qualname__}",
        "settings": _settings(config),
        "iteration": model.iteration,
        "images_seen": model.images_seen,
        "model": dict(model.state_dict()),
        "optimizers": [o.state_dict() for o in trainer.optimizers],
        "schedules": [c.scheduler.state_dict() for c in trainer.lr_scheduler_configs],
        "precision": trainer.precision_plugin.state_dict(),
        "callbacks": {name: state for name, state in callbacks.items() if state},
    }


def size_of(model: GenerativeModule) -> int:
    """Estimate the bytes of a checkpoint: the weights, and two moments of those that are learnt.

    Args:
        model: The model.
    """
    held = [t for t in model.state_dict().values() if isinstance(t, torch.Tensor)]
    learnt = [p for p in model.parameters() if p.requires_grad]
    return sum(t.nbytes for t in held) + 2 * sum(p.nbytes for p in learnt)


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    branches = provenance.redact({branch: config[branch] for branch in SETTINGS})
    found = identity.leaves(branches)
    return {key: value for key, value in found if not identity.covers(NO_SIZES, key)}


def load_weights(
    model: GenerativeModule, payload: dict[str, Any], where: object, config: Mapping[str, Any]
) -> None:
    """Load a checkpoint's weights and time into a model.

    Args:
        model: A model built from the same configuration.
        payload: What :func:`state_of` returned.
        where: The file it came from, for messages.
        config: The configuration that the model was built from.

    Raises:
        CheckpointError: If it belongs to another class, or tensors differ in name or shape.
    """
    expected = f"{type(model).__module__}.{type(model).__qualname__}"
    if payload["class"] != expected:
        raise CheckpointError(
            f"checkpoint is of {payload['class']}, the configuration asks for {expected}",
            where=where,
            fix="use the configuration of the run it came from",
        )
    mine, theirs = model.state_dict(), payload["model"]
    differing = [
        f"{name}: {tuple(theirs[name].shape) if name in theirs else 'absent'} in checkpoint, "
        f"{tuple(mine[name].shape) if name in mine else 'absent'} in model"
        for name in sorted({*mine, *theirs})
        if name not in mine or name not in theirs or mine[name].shape != theirs[name].shape
    ]
    if differing:
        raise CheckpointError(
            f"{len(differing)} tensors differ; {'; '.join(differing[:3])}",
            where=where,
            fix=_unlike(payload, config) or "use the network settings of the run it came from",
        )
    bad = [n for n, t in theirs.items() if isinstance(t, torch.Tensor) and not t.isfinite().all()]
    if bad:
        _log.warning("lightning_gen: %s holds numbers that are not finite: %s", where, bad[0])
    model.load_state_dict(theirs)
    model.iteration, model.images_seen = payload["iteration"], payload["images_seen"]


def _unlike(payload: dict[str, Any], config: Mapping[str, Any]) -> str:
    """Name the settings that differ; early checkpoints hold none."""
    mine = _settings(config)
    rows = identity.differences(payload.get("settings", mine), mine)
    return "; ".join(f"{r.key}: {r.old} in checkpoint, {r.new} in configuration" for r in rows[:3])


def restore(
    trainer: pl.Trainer,
    model: GenerativeModule,
    payload: dict[str, Any],
    where: object,
    config: Mapping[str, Any],
) -> None:
    """Put everything back as it was after the step the checkpoint was written at.

    Args:
        trainer: The trainer, set up for a fit but before its first step.
        model: Its model.
        payload: What :func:`state_of` returned.
        where: The file it came from, for messages.
        config: The configuration that the model was built from.
    """
    load_weights(model, payload, where, config)
    scheduled = [c.scheduler.optimizer for c in trainer.lr_scheduler_configs]
    for optimizer, state in zip(trainer.optimizers, payload["optimizers"], strict=True):
        asked = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
        optimizer.load_state_dict(state)
        # What the configuration asks for holds (it differs only where the user allowed that),
        # except for a rate that a schedule has moved since.
        for group, options in zip(optimizer.param_groups, asked, strict=True):
            if any(optimizer is o for o in scheduled):
                options.pop("lr")
            group.update(options)
    for schedule, state in zip(trainer.lr_scheduler_configs, payload["schedules"], strict=True):
        schedule.scheduler.load_state_dict(state)
    trainer.precision_plugin.load_state_dict(payload["precision"])
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if type(callback).__name__ in payload["callbacks"]:
            callback.load_state_dict(payload["callbacks"][type(callback).__name__])
