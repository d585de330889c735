"""Does every frame have its step? Frame accuracy, edit score and F1@k of action segmentation.

A segment is a longest run of frames with one label. Accuracies differ in what they leave out, so each has its name.

Sources: Lea et al., "Temporal Convolutional Networks for Action Segmentation and Detection", CVPR 2017 (edit score,
F1@k); Tang et al., "COIN: A Large-scale Dataset for Comprehensive Instructional Video Analysis", CVPR 2019 (accuracy).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from whenwhere.errors import InputError
from whenwhere.metrics.records import same_ids
from whenwhere.metrics.result import Figures, Result, ratio, weighted_mean


def action_segmentation(
    predictions: Mapping[str, Sequence[Any]],
    truths: Mapping[str, Sequence[Any]],
    *,
    background: str | int | None = None,
    overlaps: Sequence[float] = (0.1, 0.25, 0.5),
) -> Result:
    """Compare the labels of frames.

    Args:
        predictions: by video, the label of every frame: strings or whole numbers.
        truths: the same, by the same videos.
        background: the label of frames without a step; segments of it count neither in the edit score nor in F1.
        overlaps: least temporal IoU at which a segment is found.

    Returns:
        Result with one item per video, figures in 0..1:

        * ``accuracy``: right frames / frames, over all videos together, background included;
        * ``accuracy_per_video``: the same in each video, then the mean over videos;
        * ``accuracy_steps``: over the frames whose true label is not background;
        * ``edit``: 1 - edit distance of the two lists of segments / length of the longer one, mean over videos;
        * ``F1@10``, ...: a segment is found by the first of its label and video that overlaps it most by at least so
          many percent; F1 of the counts of all videos together.

    Raises:
        InputError: naming the video whose labels do not fit.
    """
    ids = same_ids(predictions, truths, "video")
    frames = np.zeros((len(ids), 4))  # right, all, right among steps, steps
    edit = np.zeros(len(ids))
    counts = np.zeros((len(ids), len(overlaps), 3))  # found, predicted, true
    for row, video in enumerate(ids):
        said, true = _labels(predictions[video], video, "predicted"), _labels(truths[video], video, "true")
        if len(said) != len(true):
            raise InputError(
                f"video {video!r}: {len(said)} predicted and {len(true)} true labels", "one for each frame"
            )
        right, step = said == true, true != background
        frames[row] = right.sum(), len(true), (right & step).sum(), step.sum()
        ours, theirs = _runs(true, background), _runs(said, background)
        longer = max(len(ours), len(theirs))
        distance = _edit_distance([label for label, _, _ in theirs], [label for label, _, _ in ours])
        edit[row] = 1 - distance / longer if longer else 1.0
        for column, least in enumerate(overlaps):
            counts[row, column] = _found(theirs, ours, least), len(theirs), len(ours)

    def compute(weights: np.ndarray) -> Figures:
        right, every, right_steps, steps = weights @ frames
        figures = {
            "accuracy": float(ratio(right, every)),
            "accuracy_per_video": float(weighted_mean(frames[:, 0] / frames[:, 1], weights)),
            "accuracy_steps": float(right_steps / steps) if steps else float("nan"),
            "edit": float(weighted_mean(edit, weights)),
        }
        for least, (found, predicted, true) in zip(overlaps, np.tensordot(weights, counts, axes=1)):
            whole = predicted + true  # nothing there and nothing said is right
            figures[f"F1@{100 * least:g}"] = float(2 * found / whole) if whole else 1.0
        return figures

    left_out = {} if frames[:, 3].any() else {"accuracy_steps": "no true frame has a step"}
    return Result(
        f"action segmentation, background {background!r} outside edit and F1: accuracy over the frames of all videos; "
        "edit mean over videos; F1 of counts over all videos",
        ids,
        {"frames": frames, "edit": edit, "segments": counts},
        {"videos": len(ids), "frames": int(frames[:, 1].sum()), "true segments": int(counts[:, 0, 2].sum())},
        compute,
        left_out,
    )


def _labels(labels: Any, video: str, side: str) -> np.ndarray:
    if isinstance(labels, (str, Mapping)) or not isinstance(labels, (Sequence, np.ndarray)):
        raise InputError(
            f"video {video!r}: {side} labels that are a {type(labels).__name__}", "a list with one a frame"
        )
    found = np.empty(len(labels), dtype=object)
    found[:] = list(labels)
    for frame, label in enumerate(found):
        if not isinstance(label, (str, int, np.integer)) or isinstance(label, bool):
            raise InputError(f"video {video!r}, {side} label of frame {frame}: {label!r}", "a string or a whole number")
    if len(found) == 0:
        raise InputError(f"video {video!r} without {side} labels", "at least one frame")
    return found


def _runs(labels: np.ndarray, background: Any) -> list[tuple[Any, int, int]]:
    """Label, first frame and end (exclusive) of every segment that is not background."""
    starts = np.flatnonzero(np.append(True, labels[1:] != labels[:-1]))
    ends = np.append(starts[1:], len(labels))
    return [(labels[a], int(a), int(b)) for a, b in zip(starts, ends) if labels[a] != background]


def _found(theirs: list[tuple[Any, int, int]], ours: list[tuple[Any, int, int]], least: float) -> int:
    """How many predicted segments find one that is still free."""
    taken: set[int] = set()
    for label, start, end in theirs:
        overlaps = [
            max(0, min(end, b) - max(start, a)) / (max(end, b) - min(start, a)) if label == other else 0.0
            for other, a, b in ours
        ]
        best = int(np.argmax(overlaps)) if overlaps else -1
        if best >= 0 and overlaps[best] >= least and best not in taken:
            taken.add(best)
    return len(taken)


def _edit_distance(left: Sequence[Any], right: Sequence[Any]) -> int:
    """Fewest insertions, deletions and replacements that turn one list into the other (Levenshtein 1966)."""
    row = list(range(len(right) + 1))
    for place, item in enumerate(left, 1):
        before, row = row, [place]
        for column, other in enumerate(right):
            row.append(min(before[column] + (item != other), before[column + 1] + 1, row[-1] + 1))
    return row[-1]
