"""Retrieval: how far up the list the right item stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from whenwhere.errors import InputError


class RetrievalScores(NamedTuple):
    """How well queries find their targets.

    Attributes:
        recall: for every k the share of queries with a target among the first k, in 0..1.
        median_rank: median over queries of the rank of the best target; 1 is the first place.
        ranks: int64 ``(queries,)``, the rank of every query's best target.
    """

    recall: dict[int, float]
    median_rank: float
    ranks: np.ndarray


def recall_at_k(
    similarity: np.ndarray,
    targets: Sequence[int] | Sequence[Sequence[int]] | np.ndarray,
    ks: Sequence[int] = (1, 5, 10),
) -> RetrievalScores:
    """Recall at k, and the ranks behind it.

    Items that score the same as a target count as standing before it, so a model that cannot tell items apart gains
    nothing.

    Args:
        similarity: ``(queries, items)``, higher is better.
        targets: for every query the column of its target, or a list of columns of which the best placed counts (the
            five captions of an image).
        ks: list lengths, each at least 1.

    Returns:
        RetrievalScores.

    Raises:
        InputError: naming the query without a target or with a similarity that is not a number.
    """
    table = np.asarray(similarity, dtype=np.float64)
    if table.ndim != 2 or 0 in table.shape:
        raise InputError(f"similarity of shape {table.shape}", "a matrix (queries, items) with at least one of each")
    if len(targets) != len(table):
        raise InputError(f"{len(targets)} targets for {len(table)} queries", "a target for every query")
    if bad := [k for k in ks if k < 1]:
        raise InputError(f"recall at {bad[0]}", "list lengths of at least 1")
    if (spoiled := np.flatnonzero(np.isnan(table).any(axis=1))).size:
        raise InputError(f"query {spoiled[0]}: similarity is not a number", "numbers everywhere")
    ranks = np.array([_rank(table[row], np.atleast_1d(target), row) for row, target in enumerate(targets)])
    recall = {int(k): float((ranks <= k).mean()) for k in ks}
    return RetrievalScores(recall, float(np.median(ranks)), ranks)


def _rank(scores: np.ndarray, columns: np.ndarray, query: int) -> int:
    columns = np.asarray(columns)
    if columns.size == 0:
        raise InputError(f"query {query} without a target", "at least one column")
    if columns.dtype.kind not in "iu" or columns.min() < 0 or columns.max() >= len(scores):
        raise InputError(f"query {query}: target {columns.tolist()}", f"columns 0..{len(scores) - 1}")
    others = np.ones(len(scores), dtype=bool)
    others[columns] = False  # the query's other targets do not stand in the way
    return 1 + int((scores[others] >= scores[columns].max()).sum())
