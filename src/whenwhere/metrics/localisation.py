"""Are the events where people saw them? Precision, recall and F1 of event times.

Published F1 figures differ in when they average, so each has its name:

* ``f1_per_video``: precision and recall averaged over thresholds in each video, F1 of these, mean over videos (Scenic:
  Streaming DVC, Vid2Seq).
* ``f1_per_threshold``: precision and recall averaged over videos at each threshold, F1 of these, mean over thresholds
  (PDVC, VidChapters).

Source: densevid_eval of Krishna et al., "Dense-Captioning Events in Videos", ICCV 2017, in its later versions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from whenwhere.metrics.events import (
    THRESHOLDS,
    Missing,
    Predictions,
    References,
    read_predictions,
    read_references,
    scored_videos,
    tiou,
)
from whenwhere.metrics.records import harmonic_mean


@dataclass(frozen=True)
class Localisation:
    """Precision and recall of event times, per video and threshold.

    Attributes:
        videos: names, sorted.
        thresholds: of temporal IoU, or seconds between starts.
        precision: float64 ``(videos, thresholds)`` in 0..1.
        recall: float64 ``(videos, thresholds)`` in 0..1.
    """

    videos: tuple[str, ...]
    thresholds: tuple[float, ...]
    precision: np.ndarray
    recall: np.ndarray

    @property
    def mean_precision(self) -> float:
        """Mean over videos and thresholds."""
        return float(self.precision.mean())

    @property
    def mean_recall(self) -> float:
        """Mean over videos and thresholds."""
        return float(self.recall.mean())

    @property
    def f1_per_video(self) -> float:
        """F1 of each video's mean precision and recall, then the mean over videos."""
        return float(harmonic_mean(self.precision.mean(axis=1), self.recall.mean(axis=1)).mean())

    @property
    def f1_per_threshold(self) -> float:
        """F1 of the mean precision and recall at each threshold, then the mean over thresholds."""
        return float(harmonic_mean(self.precision.mean(axis=0), self.recall.mean(axis=0)).mean())

    def figures(self, unit: str = "") -> dict[str, float]:
        """Name and value of every figure, at a threshold as ``precision@0.3`` (``@3s`` with ``unit="s"``)."""
        named = {
            "precision": self.mean_precision,
            "recall": self.mean_recall,
            "f1_per_video": self.f1_per_video,
            "f1_per_threshold": self.f1_per_threshold,
        }
        precision, recall = self.precision.mean(axis=0), self.recall.mean(axis=0)
        for column, threshold in enumerate(self.thresholds):
            at = f"@{threshold:g}{unit}"
            named[f"precision{at}"] = float(precision[column])
            named[f"recall{at}"] = float(recall[column])
            named[f"f1{at}"] = float(harmonic_mean(precision[column], recall[column]))
        return named


def localisation(
    predictions: Predictions,
    references: References,
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    missing: Missing = "zero",
) -> Localisation:
    """Precision and recall of event times at thresholds of temporal IoU.

    A prediction counts if its IoU with some reference event is strictly above the threshold, a reference event if some
    prediction's is; several may share one. With several annotators precision and recall are each the best of them all.

    Args:
        predictions: events by video.
        references: one mapping per annotator; the videos scored are those that any of them holds.
        thresholds: of temporal IoU.
        missing: what becomes of a reference video without predictions.

    Returns:
        Localisation.

    Raises:
        InputError: naming the video and event that cannot be scored.
    """
    return _localisation(predictions, references, thresholds, missing, tiou, lambda table, limit: table > limit)


def start_localisation(
    predictions: Predictions,
    references: References,
    *,
    seconds: Sequence[float] = (1, 3, 5, 10, 30, 60),
    missing: Missing = "zero",
) -> Localisation:
    """Precision and recall of event starts: a pair counts if the starts are less than so many seconds apart.

    Args and returns as in :func:`localisation`, with ``seconds`` for the thresholds.

    Source: Yang et al., "VidChapters-7M: Video Chapters at Scale", NeurIPS 2023.
    """

    def distance(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return np.abs(left[:, None, 0] - right[None, :, 0])

    return _localisation(predictions, references, seconds, missing, distance, lambda table, limit: table < limit)


def _localisation(
    predictions: Predictions,
    references: References,
    thresholds: Sequence[float],
    missing: Missing,
    compare: Callable[[np.ndarray, np.ndarray], np.ndarray],
    covers: Callable[[np.ndarray, float], np.ndarray],
) -> Localisation:
    videos = scored_videos(predictions, references, missing)
    figures = np.zeros((2, len(videos), len(thresholds)))
    for row, video in enumerate(videos):
        found = read_predictions(predictions, video)
        for told in read_references(references, video):
            table = compare(found.times, told.times)  # (predictions, events)
            for column, limit in enumerate(thresholds):
                covered = covers(table, limit)
                precision = covered.any(axis=1).sum() / max(1, len(found.times))
                recall = covered.any(axis=0).sum() / len(told.times)
                figures[:, row, column] = np.maximum(figures[:, row, column], (precision, recall))
    return Localisation(videos, tuple(thresholds), figures[0], figures[1])
