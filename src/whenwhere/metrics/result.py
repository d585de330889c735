"""What a scorer hands back: figures that can be had for any resample of the items, and how they came about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from whenwhere.errors import InputError

Figures = dict[str, float]


@dataclass(frozen=True)
class Result:
    """The figures of a set of items.

    Attributes:
        convention: what was computed, in a sentence that belongs beside every figure.
        ids: the items (queries, images, videos, ...), in the order of the statistics.
        items: statistics of every item, arrays whose first axis is the items.
        counts: how many items there were, and how many were left out or counted as misses, under the reason.
        compute: weights float64 ``(items,)`` to figures; see :meth:`figures`.
        left_out: figures that could not be had, and why.
    """

    convention: str
    ids: tuple[str, ...]
    items: Mapping[str, np.ndarray]
    counts: Mapping[str, int]
    compute: Callable[[np.ndarray], Figures] = field(repr=False)
    left_out: Mapping[str, str] = field(default_factory=dict)

    def figures(self, weights: np.ndarray | None = None) -> Figures:
        """Name and value of every figure.

        Args:
            weights: ``(items,)``, how often each item counts: whole numbers >= 0, as a bootstrap draws them; once each
                if not given. Items are never scored anew.

        Returns:
            Figures; NaN where the weighted items leave nothing to average.

        Raises:
            InputError: if the weights do not fit the items.
        """
        shape = (len(self.ids),)
        counts = np.ones(shape) if weights is None else np.asarray(weights, dtype=np.float64)
        if counts.shape != shape or not (np.isfinite(counts).all() and (counts >= 0).all() and (counts % 1 == 0).all()):
            raise InputError(f"weights of shape {counts.shape} for {shape[0]} items", "one whole number >= 0 for each")
        return self.compute(counts)

    def intervals(self, *, resamples: int = 1000, level: float = 0.95, seed: int = 0) -> dict[str, tuple[float, float]]:
        """Bootstrap intervals: the figures of sets of as many items, drawn with replacement.

        Args:
            resamples: how many sets, at least 1.
            level: share of the sets that an interval covers, 0..1 exclusive.
            seed: of the draws.

        Returns:
            Lower and upper end (percentiles) for every figure that resampling gives; sets in which a figure is NaN are
            left out of it.

        Raises:
            InputError: if an option is out of range, or there are fewer than two items: one item drawn again and again
                is always the same, which says nothing of how much the figure would vary.

        Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
        """
        if resamples < 1 or not 0 < level < 1:
            raise InputError(f"{resamples} resamples, level {level}", "at least 1, and a level between 0 and 1")
        draw = np.random.default_rng(seed)
        number = len(self.ids)
        if number < 2:
            raise InputError(f"an interval of {number} item{'' if number == 1 else 's'}, which is not defined", "two")
        sets = [self.figures(np.bincount(draw.integers(0, number, number), minlength=number)) for _ in range(resamples)]
        ends = [(1 - level) / 2, (1 + level) / 2]
        found = {}
        for name in sets[0]:
            values = np.array([figures[name] for figures in sets])
            there = values[~np.isnan(values)]
            if len(there):
                low, high = np.quantile(there, ends)
                found[name] = float(low), float(high)
        return found


def weighted_mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean over the first axis of the items that have a value.

    Args:
        values: ``(items, ...)``, NaN where an item does not take part.
        weights: ``(items,)``, how often each counts.

    Returns:
        float64 ``(...)``; NaN where no item takes part.
    """
    there = ~np.isnan(values)
    share = np.tensordot(weights, there, axes=1)  # (...)
    total = np.tensordot(weights, np.where(there, values, 0.0), axes=1)
    return np.divide(total, share, out=np.full(np.shape(share), np.nan), where=share > 0)


def ratio(part: float | np.ndarray, whole: float | np.ndarray) -> np.ndarray:
    """Part / whole, 0 where there is no whole."""
    over = np.asarray(whole, dtype=np.float64)
    return np.divide(part, over, out=np.zeros_like(over), where=over > 0)
