"""How sure is a figure? Percentile intervals from scoring resampled items again.

Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from whenwhere.errors import InputError
from whenwhere.metrics.result import Result

Item = TypeVar("Item")


class Interval(NamedTuple):
    """Between which values a figure lies.

    Attributes:
        low: lower end.
        high: upper end; both are NaN if the figure is NaN in every resample.
    """

    low: float
    high: float


def bootstrap(
    statistics: Sequence[Item],
    score: Callable[[list[Item]], Mapping[str, float]],
    *,
    samples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Score resamples of the items, as many items as there are, drawn with replacement.

    Args:
        statistics: one entry per independent item (a video, an image, a query): not the boxes within one, which are
            not independent.
        score: from a list of entries to figures.
        samples: number of resamples, at least 10.
        level: share of the resamples that the interval holds, in 0..1.
        seed: of the drawing; the same seed gives the same intervals.

    Returns:
        An Interval for every figure, over the resamples in which it is not NaN.

    Raises:
        InputError: fewer than two items, or a number out of range.
    """
    if len(statistics) < 2:
        raise InputError(
            f"{len(statistics)} items to resample",
            "at least two (videos, images or queries, whatever the figure is an average of)",
            "leave out the interval",
        )
    if samples < 10:
        raise InputError(f"{samples} resamples", "at least 10")
    if not 0 < level < 1:
        raise InputError(f"level {level!r}", "a share between 0 and 1, such as 0.95")
    draw = np.random.default_rng(seed)
    found: dict[str, list[float]] = {}
    for _ in range(samples):
        rows = draw.integers(0, len(statistics), len(statistics)).tolist()
        for name, value in score([statistics[row] for row in rows]).items():
            found.setdefault(name, []).append(value)
    ends = [(1 - level) / 2, (1 + level) / 2]
    intervals = {}
    for name, values in found.items():
        there = np.array(values)[~np.isnan(values)]
        low, high = np.quantile(there, ends) if there.size else (np.nan, np.nan)
        intervals[name] = Interval(float(low), float(high))
    return intervals


def intervals(result: Result, *, samples: int = 1000, level: float = 0.95, seed: int = 0) -> dict[str, Interval]:
    """Intervals of the figures of a scorer over its items; arguments and errors as in :func:`bootstrap`."""
    size = len(result.ids)

    def score(rows: list[int]) -> Mapping[str, float]:
        return result.figures(np.bincount(rows, minlength=size))

    return bootstrap(range(size), score, samples=samples, level=level, seed=seed)
