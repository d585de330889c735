"""Average precision of ranked lists, in the two forms that the scorers here use, with items that may count many times."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def greedy_hits(overlap: np.ndarray, limits: Sequence[float]) -> np.ndarray:
    """Which predictions find something true that no better one has found.

    Each prediction, best first, takes the free true item that it overlaps most, if by at least the limit.

    Args:
        overlap: ``(n, m)``, IoU of predictions, best first, with true items.
        limits: the least IoU, > 0, several at once.

    Returns:
        bool ``(limits, n)``.
    """
    least = np.asarray(limits, dtype=np.float64)
    hits = np.zeros((len(least), len(overlap)), dtype=bool)
    if overlap.shape[1] == 0:
        return hits
    every = np.arange(len(least))
    free = np.ones((len(least), overlap.shape[1]))
    for row in np.flatnonzero(overlap.max(axis=1) >= least.min()):
        there = overlap[row] * free  # (limits, m)
        column = there.argmax(axis=1)
        hits[:, row] = there[every, column] >= least
        free[hits[:, row], column[hits[:, row]]] = 0.0
    return hits


def every_point(hits: np.ndarray, total: float, weights: np.ndarray | None = None) -> np.ndarray:
    """Area under the precision envelope: the form of Pascal VOC 2010, ActivityNet and QVHighlights.

    ``AP = sum (r_k - r_(k-1)) * p_k`` over the places where recall changes, ``p_k`` the best precision at recall r_k or
    more.

    Args:
        hits: bool ``(..., n)``, best first: whether the prediction found something true.
        total: how much there is to find, >= 0.
        weights: ``(n,)``, how often each prediction counts (a bootstrap draws items several times); once if not given.

    Returns:
        AP ``(...)`` in 0..1; NaN if there is nothing to find.
    """
    if total <= 0:
        return np.full(hits.shape[:-1], np.nan)
    recall, precision = _curves(hits, total, weights)
    return (np.diff(recall, prepend=0.0, axis=-1) * precision).sum(axis=-1)


def hundred_levels(hits: np.ndarray, total: float, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean of the best precision at recall >= 0.00, 0.01, ..., 0.99: the form of Visual Genome dense captioning.

    Arguments and result as in :func:`every_point`.
    """
    if total <= 0:
        return np.full(hits.shape[:-1], np.nan)
    recall, precision = (part.reshape(-1, hits.shape[-1]) for part in _curves(hits, total, weights))
    levels = np.arange(100) / 100
    best = [np.append(p, 0.0)[np.searchsorted(r, levels)].mean() for r, p in zip(recall, precision)]
    return np.array(best).reshape(hits.shape[:-1])


def _curves(hits: np.ndarray, total: float, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Recall, and the best precision at that recall or more, both ``(..., n)``."""
    counts = np.ones(hits.shape[-1]) if weights is None else np.asarray(weights, dtype=np.float64)
    found, looked_at = np.cumsum(hits * counts, axis=-1), np.cumsum(counts)
    precision = np.divide(found, looked_at, out=np.zeros_like(found), where=looked_at > 0)
    return found / total, np.maximum.accumulate(precision[..., ::-1], axis=-1)[..., ::-1]
