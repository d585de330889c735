"""Is the moment found that a sentence speaks of? Recall at k and mean IoU of moment retrieval.

The convention of Charades-STA and ActivityNet Captions; QVHighlights has its own in
:mod:`whenwhere.metrics.qvhighlights`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from whenwhere.errors import InputError
from whenwhere.metrics.records import windows_of
from whenwhere.metrics.result import Figures, Result, weighted_mean


def moments(
    predictions: Mapping[str, Any],
    truths: Mapping[str, Any],
    *,
    ks: Sequence[int] = (1, 5),
    thresholds: Sequence[float] = (0.3, 0.5, 0.7),
) -> Result:
    """Recall at k and mean IoU over queries.

    A query is a hit at ``R<k>@<m>`` if one of its k best predictions has a temporal IoU of at least m with a true
    window. ``mIoU`` is the mean of the IoU of the best scored prediction, by the true window that fits it best. A query
    without predictions is a miss.

    Args:
        predictions: by query ``(n, 3)``: start and end in seconds, score. Equal scores keep their order.
        truths: by query ``(m, 2)``: start and end in seconds of at least one true window.
        ks: lengths of the list.
        thresholds: of temporal IoU.

    Returns:
        Result with one item per query: ``R1@0.5``, ..., ``mIoU``, in 0..1.

    Raises:
        InputError: naming the query that cannot be scored.

    Source: Gao et al., "TALL: Temporal Activity Localization via Language Query", ICCV 2017.
    """
    if min(ks, default=0) < 1:
        raise InputError(f"ks {tuple(ks)}", "list lengths of at least 1")
    if unknown := sorted(set(predictions) - set(truths)):
        raise InputError(f"a prediction for query {unknown[0]!r}", "queries that have true windows")
    if not truths:
        raise InputError("no query to score", "at least one")
    ids = tuple(sorted(truths))
    best = np.zeros((len(ids), len(ks)))  # IoU of the best of the first k
    top = np.zeros(len(ids))
    for row, query in enumerate(ids):
        true = windows_of(truths[query], f"query {query!r}, true windows")
        if len(true) == 0:
            raise InputError(f"query {query!r} without a true window", "at least one", "leave the query out")
        ranked = ranking(windows_of(predictions.get(query, ()), f"query {query!r}, predictions", 3))
        fit = interval_iou(ranked[:, :2], true).max(axis=1, initial=0.0)  # (n,)
        best[row] = [fit[:k].max(initial=0.0) for k in ks]
        top[row] = fit[:1].max(initial=0.0)
    limits = np.asarray(thresholds, dtype=np.float64)
    hits = (best[:, :, None] >= limits).astype(np.float64)  # (queries, ks, thresholds)
    names = [[f"R{k}@{limit:g}" for limit in thresholds] for k in ks]

    def compute(weights: np.ndarray) -> Figures:
        table = weighted_mean(hits, weights)
        figures = {names[i][j]: float(table[i, j]) for i in range(len(ks)) for j in range(len(limits))}
        return {**figures, "mIoU": float(weighted_mean(top, weights))}

    empty = sum(len(predictions.get(query, ())) == 0 for query in ids)
    return Result(
        "moment retrieval: a hit has temporal IoU >= m with a true window; mean over queries; no prediction is a miss",
        ids,
        {"hits": hits, "top_iou": top},
        {"queries": len(ids), "queries without predictions, which count as misses": empty},
        compute,
    )


def ranking(windows: np.ndarray) -> np.ndarray:
    """Windows ``(n, 3)`` by falling score; equal scores keep their order."""
    return windows[np.argsort(-windows[:, 2], kind="stable")]


def interval_iou(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Temporal IoU of every pair of intervals: exactly 1 for equal ones, 0 for empty ones.

    Dense captioning scorers compute it with a small constant in the divisor (:func:`whenwhere.metrics.events.tiou`),
    which moves values at a threshold.

    Args:
        left: ``(n, 2)``, start and end in seconds.
        right: ``(m, 2)``.

    Returns:
        float64 ``(n, m)`` in 0..1.
    """
    start, end = left[:, None, 0], left[:, None, 1]  # (n, 1)
    overlap = np.maximum(0.0, np.minimum(end, right[:, 1]) - np.maximum(start, right[:, 0]))
    union = (end - start) + (right[:, 1] - right[:, 0]) - overlap
    return np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)
