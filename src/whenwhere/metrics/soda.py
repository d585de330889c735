"""The matching behind SODA: events told in the order in which they happened."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from whenwhere.errors import InputError
from whenwhere.metrics.records import harmonic_mean


class SodaScores(NamedTuple):
    """The best order-preserving matching of one video.

    Attributes:
        total: sum of the similarities of the matched pairs.
        precision: total / number of predictions; 0 without predictions.
        recall: total / number of references; 0 without references.
        f1: their harmonic mean; 0 if both are 0.
        pairs: int64 ``(matched, 2)``, prediction and reference of each matched pair with similarity above 0, in order.
    """

    total: float
    precision: float
    recall: float
    f1: float
    pairs: np.ndarray


def soda_dp(similarity: np.ndarray) -> SodaScores:
    """Find the order-preserving matching of predictions and references with the largest total similarity.

    Args:
        similarity: ``(n, m)``, >= 0, predictions in rows and references in columns, both in temporal order. SODA_c
            takes temporal IoU times METEOR.

    Returns:
        SodaScores.

    Raises:
        InputError: if ``similarity`` is not a finite matrix of numbers >= 0.

    Source: Fujita et al., "SODA: Story Oriented Dense Video Captioning Evaluation Framework", ECCV 2020, section 3.2.
    """
    table = np.asarray(similarity, dtype=np.float64)
    if table.ndim != 2 or not np.isfinite(table).all() or (table < 0).any():
        raise InputError(
            f"similarity of shape {table.shape}", "a matrix (predictions, references) of finite numbers >= 0"
        )
    rows, columns = table.shape
    best = np.zeros((rows + 1, columns + 1))
    for row in range(rows):
        matched = np.maximum(best[row, 1:], best[row, :-1] + table[row])
        best[row + 1, 1:] = np.maximum.accumulate(matched)
    total = float(best[-1, -1])
    precision, recall = total / max(1, rows), total / max(1, columns)
    return SodaScores(total, precision, recall, float(harmonic_mean(precision, recall)), _walk_back(best, table))


def _walk_back(best: np.ndarray, table: np.ndarray) -> np.ndarray:
    row, column = table.shape
    pairs = []
    while row and column:
        if best[row, column] == best[row - 1, column]:
            row -= 1
        elif best[row, column] == best[row, column - 1]:
            column -= 1
        else:
            row, column = row - 1, column - 1
            pairs.append((row, column))
    return np.array(pairs[::-1], dtype=np.int64).reshape(-1, 2)
