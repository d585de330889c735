"""Learning rate of each step, and which weights decay: pure functions of the config."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import nn

from whenwhere.errors import InputError
from whenwhere.training.config import FitConfig


def lr_at(step: int, config: FitConfig) -> float:
    """Learning rate of one update.

    Args:
        step: number of updates already made, 0 to ``config.steps - 1``.
        config: gives lr, warmup, schedule, drops and steps.

    Returns:
        The rate. It rises linearly over ``warmup`` updates (the first of them is not zero), then follows the schedule.
    """
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    if config.schedule == "cosine":
        progress = (step - config.warmup) / (config.steps - config.warmup)
        return config.lr * 0.5 * (1.0 + math.cos(math.pi * progress))
    return config.lr * 0.1 ** sum(step >= drop for drop in config.drops)  # no drops: constant


def parameter_groups(
    system: nn.Module, weight_decay: float, lr_scale: Callable[[str], float] | None = None
) -> list[dict[str, Any]]:
    """Trainable weights in optimizer groups that share a decay and a scale of the learning rate.

    Args:
        system: its parameters with ``requires_grad`` are taken, a tied one once.
        weight_decay: for parameters of two or more dimensions; vectors (biases, norms, layer scales) never decay.
        lr_scale: factor on the learning rate by parameter name, for layer-wise decay or a slower backbone.

    Returns:
        Groups for a torch optimizer, each with its named ``params``, ``weight_decay`` and ``scale``.

    Raises:
        InputError: no weight is trainable, or a scale is negative.
    """
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in system.named_parameters():
        if not parameter.requires_grad:
            continue
        decay = weight_decay if parameter.ndim >= 2 else 0.0
        scale = float(lr_scale(name)) if lr_scale else 1.0
        if not 0 <= scale < math.inf:
            raise InputError(f"lr_scale({name!r}) = {scale}", "a finite factor, 0 or more", "mend lr_scale")
        group = groups.setdefault((decay, scale), {"params": [], "weight_decay": decay, "scale": scale})
        group["params"].append((name, parameter))
    if not groups:
        raise InputError(
            f"{type(system).__name__} without a trainable weight",
            "at least one parameter with requires_grad",
            "unfreeze what should learn",
        )
    return list(groups.values())
