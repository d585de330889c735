"""CLEAR MOT: errors of tracking counted frame by frame (MOTA), and the tracks that are mostly followed or lost.

Source: Bernardin and Stiefelhagen, "Evaluating Multiple Object Tracking Performance: The CLEAR MOT Metrics", EURASIP
JIVP 2008; mostly tracked and mostly lost: Li, Huang and Nevatia, "Learning to Associate", CVPR 2009.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from whenwhere.metrics.hota import count_boxes
from whenwhere.metrics.result import Figures, Result, ratio
from whenwhere.metrics.tracks import Detections, Overlaps, assign, counted

_KEEP = 1000.0  # a pair of the frame before outweighs any sum of IoUs
_SLACK = np.finfo(np.float64).eps
_COUNTS = ("TP", "FN", "FP", "IDSW", "Frag", "MT", "PT", "ML", "iou")


def clear_mot(sequences: Mapping[str, tuple[Detections, Detections]], *, threshold: float = 0.5) -> Result:
    """MOTA, MOTP and what they are made of.

    A frame's boxes are matched one to one where IoU >= threshold: pairs of the frame before first, then the largest sum
    of IoU. A switch is a match of a true identity with another predicted one than at its last match, however long ago.
    A true identity is mostly tracked if more than 80 % of its boxes are matched, partly from 20 %, mostly lost below.
    A fragment is a return to being matched, also after the object was out of sight; frames where one side has no box
    at all do not interrupt a track.

    Args:
        sequences: by video, ``(truth, prediction)``.
        threshold: the least IoU of a match, in 0..1.

    Returns:
        Result with one item per video: ``MOTA`` (at most 1, may be negative), ``MOTP`` (mean IoU of the matches: a
        similarity), ``MODA``, ``Recall``, ``Precision``, ``sMOTA`` in shares; ``TP``, ``FN``, ``FP``, ``IDSW``,
        ``Frag`` in boxes and events; ``MT``, ``PT``, ``ML`` in true identities and ``MTR``, ``PTR``, ``MLR`` in shares
        of them.

    Raises:
        InputError: if there is no video or the threshold is out of range.
    """
    names, table = counted(sequences, threshold, _count)

    def compute(weights: np.ndarray) -> Figures:
        found, missed, wrong, switches, fragments, mostly, partly, lost, iou = (weights @ table).tolist()
        true, tracks = max(1.0, found + missed), max(1.0, mostly + partly + lost)
        shares = {
            "MOTA": (found - wrong - switches) / true,
            "MOTP": iou / max(1.0, found),
            "MODA": (found - wrong) / true,
            "sMOTA": (iou - wrong - switches) / true,
            "Recall": found / true,
            "Precision": float(ratio(found, found + wrong)),
            "MTR": mostly / tracks,
            "PTR": partly / tracks,
            "MLR": lost / tracks,
        }
        numbers = (found, missed, wrong, switches, fragments, mostly, partly, lost)
        return shares | dict(zip(_COUNTS, numbers))

    convention = f"CLEAR MOT at box IoU >= {threshold:g}, matches of the frame before kept; MOTP is a similarity"
    return Result(convention, names, dict(zip(_COUNTS, table.T)), count_boxes(sequences), compute)


def _count(pairs: Overlaps, threshold: float) -> tuple[float, ...]:
    true_id, predicted_id = pairs.truth.codes, pairs.prediction.codes
    many = len(pairs.truth.boxes_of_id)
    last = np.full(many, -1)  # predicted identity of the last match of every true one
    before = np.full(many, -1)  # the same, of the frame before
    matched = np.zeros(many, np.int64)
    runs = np.zeros(many, np.int64)  # unbroken stretches of matches
    found = switches = 0
    iou = 0.0
    for true, predicted, here in pairs.frames():
        if true.start == true.stop or predicted.start == predicted.stop:
            continue
        near = np.arange(here.start, here.stop)[pairs.iou[here] >= threshold - _SLACK]
        near = near[_choose(pairs, near, before, true, predicted)]
        ours, theirs = true_id[pairs.true[near]], predicted_id[pairs.predicted[near]]
        switches += int(((last[ours] >= 0) & (last[ours] != theirs)).sum())
        runs[ours] += before[ours] < 0
        matched[ours] += 1
        before[:] = -1
        before[ours] = last[ours] = theirs
        found += len(near)
        iou += float(pairs.iou[near].sum())
    share = matched / np.maximum(1, pairs.truth.boxes_of_id)  # (identities,)
    mostly, lost = int((share > 0.8).sum()), int((share < 0.2).sum())
    fragments = int((runs[runs > 0] - 1).sum())
    missed, wrong = len(true_id) - found, len(predicted_id) - found
    return (found, missed, wrong, switches, fragments, mostly, many - mostly - lost, lost, iou)


def _choose(pairs: Overlaps, near: np.ndarray, before: np.ndarray, true: slice, predicted: slice) -> np.ndarray:
    """Which of a frame's pairs are matches: int64, places in ``near``."""
    rows, columns = pairs.true[near], pairs.predicted[near]
    if len(set(rows.tolist())) == len(rows) and len(set(columns.tolist())) == len(columns):
        return np.arange(len(near))  # nobody has a choice
    shape = (true.stop - true.start, predicted.stop - predicted.start)
    local = rows - true.start, columns - predicted.start
    table = np.zeros(shape)
    table[local] = pairs.iou[near] + _KEEP * (before[pairs.truth.codes[rows]] == pairs.prediction.codes[columns])
    place = np.full(shape, -1)
    place[local] = np.arange(len(near))
    kept = place[assign(table)]
    return kept[kept >= 0]
