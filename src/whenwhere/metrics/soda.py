"""SODA: are the events of a video told in the order in which they happened?

Source: Fujita et al., "SODA: Story Oriented Dense Video Captioning Evaluation Framework", ECCV 2020, section 3.2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from whenwhere.errors import InputError
from whenwhere.metrics.events import Predictions, References, read_predictions, read_references, scored_videos, tiou
from whenwhere.metrics.ptb import tokenize
from whenwhere.metrics.records import Scores, harmonic_mean

# Tokenised captions and, for each, its tokenised references, to METEOR of the set and of every caption.
Meteor = Callable[[Sequence[str], Sequence[Sequence[str]]], Scores]


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


def soda_c(predictions: Predictions, references: References, meteor: Meteor) -> np.ndarray:
    """SODA_c of every video: F1 of the order-preserving matching by temporal IoU times METEOR.

    As in the authors' program, METEOR, which is not symmetrical, takes the true sentence as the candidate and the
    predicted one as its reference; predictions are put in the order of their starts, true events stay as listed; of
    several annotators the one with the best F1 counts.

    Args:
        predictions: see :func:`whenwhere.metrics.dense_captions.dense_captions`.
        references: one mapping per annotator.
        meteor: of tokenised captions (:func:`whenwhere.metrics.meteor.meteor`).

    Returns:
        float64 ``(videos,)`` in 0..1, the videos of the references in sorted order; 0 for one without predictions. The
        figure to report is the mean.

    Raises:
        InputError: naming the video and event that cannot be scored.
    """
    videos = scored_videos(predictions, references, "zero")
    found = np.zeros(len(videos))
    for row, video in enumerate(videos):
        said = read_predictions(predictions, video)
        told = read_references(references, video)
        if not said.sentences:
            continue
        sentences = [tokenize(text) for text in said.sentences]
        order = np.argsort(said.times[:, 0], kind="stable")
        for moments in told:
            wanted = [tokenize(text) for text in moments.sentences]
            pairs = [(right, [left]) for left in sentences for right in wanted]
            alike = meteor([right for right, _ in pairs], [left for _, left in pairs]).items.reshape(len(order), -1)
            table = alike * tiou(said.times, moments.times)
            found[row] = max(found[row], soda_dp(table[order]).f1)
    return found


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
