"""Where did the hidden object end up? Snitch localisation on CATER.

Source: Girdhar and Ramanan, "CATER: A diagnostic dataset for Compositional Actions and TEmporal Reasoning", ICLR 2020.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from whenwhere.errors import InputError
from whenwhere.metrics.records import numbers, same_ids
from whenwhere.metrics.result import Figures, Result, weighted_mean
from whenwhere.metrics.retrieval import recall_at_k

_HALF = 3.0  # the ground reaches from -3 to 3 in x and y


def cater_cell(x: float, y: float, grid: int = 6) -> int:
    """The class of a place on the ground: cells in rows of falling closeness, 0 at (-3, -3).

    Args:
        x: -3 to 3, exclusive.
        y: -3 to 3, exclusive.
        grid: cells a side: 4, 6 or 8.

    Raises:
        InputError: if the place is not on the ground.
    """
    if grid < 2 or grid % 2:
        raise InputError(f"a grid of {grid} cells a side", "an even number, such as 6")
    if not (-_HALF <= x < _HALF and -_HALF <= y < _HALF):
        raise InputError(f"the place ({x}, {y})", "x and y of at least -3 and below 3")
    row, column = (int(np.floor(value * grid / 2 / _HALF)) + grid // 2 for value in (y, x))
    return row * grid + column


def snitch_localisation(predictions: Mapping[str, Any], truths: Mapping[str, int], *, grid: int = 6) -> Result:
    """Top-1, top-5 and distance in cells.

    Args:
        predictions: by video, a score for every cell ``(grid * grid,)``, higher is better.
        truths: by the same videos, the cell (:func:`cater_cell`).
        grid: cells a side.

    Returns:
        Result with one item per video: ``top1`` and ``top5`` in 0..1, where a cell that scores the same as the true one
        stands before it, and ``L1``, the distance in rows plus columns of the best scored cell (the first of equals), in
        cells.

    Raises:
        InputError: naming the video that cannot be scored.
    """
    ids = same_ids(predictions, truths, "video")
    scores = np.stack([numbers(predictions[name], f"video {name!r}: scores", (grid * grid,)) for name in ids])
    cells = []
    for name in ids:
        cell = truths[name]
        if not isinstance(cell, (int, np.integer)) or isinstance(cell, bool) or not 0 <= cell < grid * grid:
            raise InputError(f"video {name!r}: cell {cell!r}", f"a whole number 0..{grid * grid - 1}")
        cells.append(int(cell))
    true, said = np.array(cells), scores.argmax(axis=1)
    ranks = recall_at_k(scores, true, ks=(1, 5)).ranks
    table = np.stack(
        [ranks <= 1, ranks <= 5, np.abs(true // grid - said // grid) + np.abs(true % grid - said % grid)], axis=1
    ).astype(np.float64)

    def compute(weights: np.ndarray) -> Figures:
        return dict(zip(("top1", "top5", "L1"), weighted_mean(table, weights).tolist()))

    return Result(
        f"CATER task 3, {grid} x {grid} cells: mean over videos; L1 in rows plus columns of the best scored cell",
        ids,
        {"top1_top5_l1": table},
        {"videos": len(ids)},
        compute,
    )
