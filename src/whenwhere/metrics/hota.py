"""HOTA: how well objects are found and how well they are followed, with equal weight, over all localisation thresholds.

Source: Luiten et al., "HOTA: A Higher Order Metric for Evaluating Multi-Object Tracking", IJCV 2021.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from whenwhere.metrics.result import Figures, Result
from whenwhere.metrics.tracks import Detections, Overlaps, assign, overlaps, read_pairs

ALPHAS = np.arange(1, 20) / 20  # 0.05, 0.10, ..., 0.95
_SLACK = np.finfo(np.float64).eps
_TABLE = 1_000_000  # pairs of identities that are kept as a table


class Matches(NamedTuple):
    """One-to-one pairs of boxes, the same for all thresholds; at threshold alpha those with IoU >= alpha count.

    Attributes:
        true: int64 ``(n,)``, places in the sorted true side of the Overlaps.
        predicted: int64 ``(n,)``, places in the sorted predicted side.
        iou: float64 ``(n,)``.
    """

    true: np.ndarray
    predicted: np.ndarray
    iou: np.ndarray

    @property
    def levels(self) -> np.ndarray:
        """How many of the 19 thresholds each pair reaches: int64 ``(n,)``."""
        return np.searchsorted(ALPHAS - _SLACK, self.iou, side="right")


def hota(sequences: Mapping[str, tuple[Detections, Detections]]) -> Result:
    """HOTA and its parts over the thresholds alpha = 0.05, 0.10, ..., 0.95 of box IoU.

    Videos are put together by summing matches, as TrackEval does: DetA of all boxes, AssA as the mean over all matches.

    Args:
        sequences: by video, ``(truth, prediction)``.

    Returns:
        Result with one item per video, in 0..1: ``HOTA``, ``DetA``, ``AssA``, ``DetRe``, ``DetPr``, ``AssRe``,
        ``AssPr``, ``LocA``, ``OWTA``, each the mean over alpha; ``HOTA(0)``, ``LocA(0)`` and their product
        ``HOTALocA(0)`` at alpha 0.05. LocA is 1 at thresholds where nothing is matched.

    Raises:
        InputError: if there is no video.
    """
    names = read_pairs(sequences)
    rows = []
    for name in names:
        pairs = overlaps(*sequences[name])
        rows.append(statistics(pairs, match(pairs)))
    items = {key: np.stack([row[key] for row in rows]) for key in rows[0]}

    def compute(weights: np.ndarray) -> Figures:
        at = per_alpha({key: np.tensordot(weights, value, axes=1) for key, value in items.items()})
        figures = {name: float(values.mean()) for name, values in at.items()}
        first = {f"{name}(0)": float(at[name][0]) for name in ("HOTA", "LocA")}
        return figures | first | {"HOTALocA(0)": first["HOTA(0)"] * first["LocA(0)"]}

    return Result(
        "HOTA over alpha 0.05, 0.10, ..., 0.95 of box IoU, one matching for all alpha; videos put together by their "
        "matches; every true box counts (no classes or regions are ignored)",
        names,
        items,
        count_boxes(sequences),
        compute,
    )


def match(pairs: Overlaps) -> Matches:
    """Match boxes frame by frame, so that pairs of identities that go together over the whole video come first.

    In each frame the sum of ``alignment * IoU`` is largest, where alignment is the soft Jaccard index of the two
    identities over all frames (section 5.2 of the paper).
    """
    true_id, predicted_id = pairs.truth.codes[pairs.true], pairs.prediction.codes[pairs.predicted]
    per_true = np.bincount(pairs.true, pairs.iou, len(pairs.truth.codes))
    per_predicted = np.bincount(pairs.predicted, pairs.iou, len(pairs.prediction.codes))
    share = pairs.iou / (per_true[pairs.true] + per_predicted[pairs.predicted] - pairs.iou)
    which, together = _pairs_of_ids(pairs, true_id, predicted_id)
    mutual = np.bincount(together, share, len(which))  # (pairs of identities,)
    boxes = pairs.truth.boxes_of_id[which[:, 0]] + pairs.prediction.boxes_of_id[which[:, 1]]
    score = (mutual / (boxes - mutual))[together] * pairs.iou
    kept = _best(pairs, score)
    return Matches(pairs.true[kept], pairs.predicted[kept], pairs.iou[kept])


def _best(pairs: Overlaps, score: np.ndarray) -> np.ndarray:
    """The pairs of the one-to-one matching of each frame with the largest sum of scores: int64, places in the pairs."""
    alone = (np.bincount(pairs.true)[pairs.true] == 1) & (np.bincount(pairs.predicted)[pairs.predicted] == 1)
    open_ = np.flatnonzero(~alone)  # boxes with a choice; the others are matched as they are
    if not len(open_):
        return np.flatnonzero(alone)
    frame = np.repeat(np.arange(len(pairs.starts) - 1), np.diff(pairs.starts))[open_]
    edges = np.flatnonzero(np.diff(frame, prepend=-1))
    # Rows and columns that take part are numbered without gaps, from 0 in each frame
    local, sizes = [], []
    for places in (pairs.true[open_], pairs.predicted[open_]):
        used = np.zeros(int(places.max()) + 1, bool)
        used[places] = True
        rank = (np.cumsum(used) - 1)[places]
        low = np.minimum.reduceat(rank, edges)
        sizes.append((np.maximum.reduceat(rank, edges) - low + 1).tolist())
        local.append(rank - np.repeat(low, np.diff(edges, append=len(open_))))
    chosen = [np.flatnonzero(alone)]
    values = score[open_]
    ends = [*edges.tolist()[1:], len(open_)]
    for start, stop, height, width in zip(edges.tolist(), ends, *sizes):
        where = local[0][start:stop], local[1][start:stop]
        table = np.zeros((height, width))
        table[where] = values[start:stop]
        place = np.full((height, width), -1)
        place[where] = open_[start:stop]
        chosen.append(place[assign(table)])
    kept = np.concatenate(chosen)
    return np.sort(kept[kept >= 0])  # an assignment fills up with pairs that do not overlap


def statistics(pairs: Overlaps, matches: Matches) -> dict[str, np.ndarray]:
    """What one video adds to the sums: float64 ``(19,)`` each.

    Returns:
        ``TP``, ``FN``, ``FP``: boxes. ``AssA``, ``AssRe``, ``AssPr``: sums over the matches of the association of each.
        ``loc``: sum of the IoU of the matches.
    """
    size = len(ALPHAS) + 1
    level = matches.levels
    found = _reaching(np.bincount(level, minlength=size))  # (19,)
    true_id, predicted_id = pairs.truth.codes[matches.true], pairs.prediction.codes[matches.predicted]
    which, together = _pairs_of_ids(pairs, true_id, predicted_id)
    count = _reaching(np.bincount(together * size + level, minlength=len(which) * size).reshape(-1, size))
    true = pairs.truth.boxes_of_id[which[:, 0], None]  # (pairs of identities, 1)
    predicted = pairs.prediction.boxes_of_id[which[:, 1], None]
    return {
        "TP": found,
        "FN": len(pairs.truth.codes) - found,
        "FP": len(pairs.prediction.codes) - found,
        "AssA": (count * count / np.maximum(1, true + predicted - count)).sum(axis=0),
        "AssRe": (count * count / np.maximum(1, true)).sum(axis=0),
        "AssPr": (count * count / np.maximum(1, predicted)).sum(axis=0),
        "loc": _reaching(np.bincount(level, matches.iou, size)),
    }


def per_alpha(sums: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The figures at every threshold, ``(19,)``, of summed statistics."""
    found, missed, wrong = sums["TP"], sums["FN"], sums["FP"]
    at = {
        "DetA": found / np.maximum(1, found + missed + wrong),
        "DetRe": found / np.maximum(1, found + missed),
        "DetPr": found / np.maximum(1, found + wrong),
        **{name: sums[name] / np.maximum(1, found) for name in ("AssA", "AssRe", "AssPr")},
        "LocA": np.divide(sums["loc"], found, out=np.ones(len(ALPHAS)), where=found > 0),
    }
    return {"HOTA": np.sqrt(at["DetA"] * at["AssA"]), **at, "OWTA": np.sqrt(at["DetRe"] * at["AssA"])}


def count_boxes(sequences: Mapping[str, tuple[Detections, Detections]]) -> dict[str, int]:
    """How many videos, boxes and identities there are on each side."""
    counts = {"videos": len(sequences)}
    for place, side in enumerate(("true", "predicted")):
        counts[f"{side} boxes"] = sum(len(pair[place]) for pair in sequences.values())
        counts[f"{side} identities"] = sum(int(pair[place].codes().max(initial=-1)) + 1 for pair in sequences.values())
    counts["videos without prediction"] = sum(len(pair[1]) == 0 for pair in sequences.values())
    return counts


def _pairs_of_ids(pairs: Overlaps, true: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct pairs of identities ``(k, 2)``, and for each given pair which of them it is ``(n,)``."""
    width = max(1, len(pairs.prediction.boxes_of_id))
    key = true * width + predicted
    if len(pairs.truth.boxes_of_id) * width > _TABLE:
        keys, together = np.unique(key, return_inverse=True)
    else:  # counting is faster than sorting
        used = np.zeros(len(pairs.truth.boxes_of_id) * width, bool)
        used[key] = True
        keys, together = np.flatnonzero(used), (np.cumsum(used) - 1)[key]
    return np.stack([keys // width, keys % width], axis=1), together


def _reaching(by_level: np.ndarray) -> np.ndarray:
    """Sums over the pairs that reach each of the 19 thresholds, from sums by number of thresholds ``(..., 20)``."""
    return np.cumsum(by_level[..., :0:-1], axis=-1)[..., ::-1].astype(np.float64)
