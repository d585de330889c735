"""VTAB-1k: the means of 19 accuracies.

Source: Zhai et al., "A Large-scale Study of Representation Learning with the Visual Task Adaptation Benchmark", 2019.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from whenwhere.errors import InputError
from whenwhere.metrics.records import numbers

GROUPS = {
    "natural": ("cifar100", "caltech101", "dtd", "flowers102", "pets", "svhn", "sun397"),
    "specialized": ("patch_camelyon", "eurosat", "resisc45", "retinopathy"),
    "structured": (
        *("clevr_count", "clevr_distance", "dmlab", "kitti_distance"),
        *("dsprites_location", "dsprites_orientation", "smallnorb_azimuth", "smallnorb_elevation"),
    ),
}
"""The tasks of each group, in the order of the tables."""
TASKS = tuple(task for tasks in GROUPS.values() for task in tasks)


def vtab_means(accuracies: Mapping[str, float]) -> dict[str, float]:
    """The means that papers print, which differ by some points: always say which.

    Args:
        accuracies: by task (:data:`TASKS`), all in percent or all in 0..1.

    Returns:
        ``natural``, ``specialized``, ``structured``: the mean of each group; ``group_mean``: the mean of these three;
        ``task_mean``: the mean of all 19, in the unit that was given.

    Raises:
        InputError: naming the task that is missing, unknown or not a finite number in 0..100.
    """
    if absent := [task for task in TASKS if task not in accuracies]:
        raise InputError(f"no accuracy of {', '.join(absent)}", f"all {len(TASKS)} tasks", "a mean of fewer is another")
    if unknown := sorted(set(accuracies) - set(TASKS)):
        raise InputError(f"an accuracy of {unknown[0]!r}", f"one of {', '.join(TASKS)}")
    values = {task: float(numbers(accuracies[task], task)) for task in TASKS}
    for task, value in values.items():
        if not 0 <= value <= 100:
            raise InputError(f"{task}: {value:g}", "an accuracy in 0..100")
    means = {group: float(np.mean([values[task] for task in tasks])) for group, tasks in GROUPS.items()}
    return {
        **means,
        "group_mean": float(np.mean(list(means.values()))),
        "task_mean": float(np.mean(list(values.values()))),
    }
