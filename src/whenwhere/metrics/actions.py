"""Are the actions of a video found, with their ends? Mean average precision as ActivityNet computes it.

Source: Caba Heilbron et al., "ActivityNet: A Large-Scale Video Benchmark for Human Activity Understanding", CVPR 2015.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from whenwhere.errors import InputError
from whenwhere.metrics.average_precision import every_point, greedy_hits
from whenwhere.metrics.moments import interval_iou
from whenwhere.metrics.records import field_of, numbers, place_of, windows_of
from whenwhere.metrics.result import Figures, Result, weighted_mean

THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))

CONVENTION = (
    "ActivityNet: per class the predictions of all videos by falling score, each takes the free true segment of its video "
    "with the largest temporal IoU if that is >= the threshold; area under the precision envelope; mean over the classes "
    "that occur in the truth"
)


def action_detection(
    predictions: Mapping[str, Sequence[Mapping[str, Any]]],
    truths: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    thresholds: Sequence[float] = THRESHOLDS,
) -> Result:
    """Mean average precision of action segments.

    Equal scores keep the order of their video names, then of their times, so the order of records does not matter.

    Args:
        predictions: by video, ``{"label", "segment": [start, end], "score"}``, seconds; a video that the truth does not
            have gives false alarms only.
        truths: by video, ``{"label", "segment": [start, end]}``; a video may have none.
        thresholds: of temporal IoU, > 0.

    Returns:
        Result with one item per video: ``mAP@0.5``, ..., and ``mAP``, their mean, in 0..1.

    Raises:
        InputError: naming the video and the record that cannot be scored, or if there is no true segment at all.
    """
    ids = tuple(sorted(set(truths) | set(predictions)))
    wanted = {video: _segments(truths.get(video, ()), f"video {video!r}, true segment", 2) for video in ids}
    found = {video: _segments(predictions.get(video, ()), f"video {video!r}, prediction", 3) for video in ids}
    classes = sorted({label for labels, _ in wanted.values() for label in labels})
    if not classes:
        raise InputError("no true segment in any video", "at least one")
    total = np.zeros((len(ids), len(classes)))  # true segments
    lists: list[list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = [[] for _ in classes]  # scores, rows, hits
    for row, video in enumerate(ids):
        true_labels, true_times = wanted[video]
        labels, times = found[video]
        for column, label in enumerate(classes):
            true = true_times[true_labels == label]
            total[row, column] = len(true)
            some = times[labels == label]
            if len(some):
                some = some[np.lexsort((some[:, 1], some[:, 0], -some[:, 2]))]
                hits = greedy_hits(interval_iou(some[:, :2], true), thresholds)  # (thresholds, n)
                lists[column].append((some[:, 2], np.full(len(some), row), hits))
    ranked = [_merge(parts, len(thresholds)) for parts in lists]

    def compute(weights: np.ndarray) -> Figures:
        there = weights @ total
        table = np.stack([every_point(h, n, weights[rows]) for (rows, h), n in zip(ranked, there)])
        mean = weighted_mean(table, np.ones(len(classes)))
        figures = {f"mAP@{limit:g}": float(value) for limit, value in zip(thresholds, mean)}
        return {**figures, "mAP": float(mean.mean())}

    strangers = sum(label not in classes for labels, _ in found.values() for label in labels)
    counts = {
        "videos": len(ids),
        "classes": len(classes),
        "true segments": int(total.sum()),
        "predictions skipped because no true segment has their class": strangers,
    }
    return Result(CONVENTION, ids, {"true_segments": total}, counts, compute)


def _segments(records: Any, what: str, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels ``(n,)`` and times, with the score if ``columns`` is 3, ``(n, columns)`` of one video."""
    if isinstance(records, (str, Mapping)):
        raise InputError(f"{what}s that are a {type(records).__name__}", "a list of mappings")
    labels, rows = [], []
    for index, record in enumerate(records):
        place = place_of(record, f"{what} {index}")
        label = field_of(record, "label", place)
        if not isinstance(label, str):
            raise InputError(f"{place}: label {label!r}", "a string")
        labels.append(label)
        row = windows_of([field_of(record, "segment", place)], f"{place}: segment")[0].tolist()
        if columns == 3:
            row.append(float(numbers(field_of(record, "score", place), f"{place}: score")))
        rows.append(row)
    return np.array(labels, dtype=object), np.array(rows, dtype=np.float64).reshape(-1, columns)


def _merge(parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]], limits: int) -> tuple[np.ndarray, np.ndarray]:
    """The predictions of one class, best first: their videos ``(n,)`` and hits ``(limits, n)``."""
    if not parts:
        return np.zeros(0, dtype=np.int64), np.zeros((limits, 0), dtype=bool)
    scores, rows = (np.concatenate([part[place] for part in parts]) for place in (0, 1))
    order = np.argsort(-scores, kind="stable")
    return rows[order], np.concatenate([part[2] for part in parts], axis=1)[:, order]
