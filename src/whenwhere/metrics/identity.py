"""IDF1: how much of the time each true identity goes by the one predicted identity that fits it best.

Source: Ristani et al., "Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking", ECCV workshops
2016.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from whenwhere.metrics.hota import count_boxes
from whenwhere.metrics.result import Figures, Result, ratio
from whenwhere.metrics.tracks import Detections, Overlaps, assign, counted

_COUNTS = ("IDTP", "IDFN", "IDFP")


def identity(sequences: Mapping[str, tuple[Detections, Detections]], *, threshold: float = 0.5) -> Result:
    """IDF1, IDP and IDR under the one-to-one assignment of identities, over the whole video, with most boxes right.

    Args:
        sequences: by video, ``(truth, prediction)``.
        threshold: the least IoU of a pair of boxes, in 0..1.

    Returns:
        Result with one item per video: ``IDF1``, ``IDP``, ``IDR`` in 0..1 and ``IDTP``, ``IDFN``, ``IDFP`` in boxes.

    Raises:
        InputError: if there is no video or the threshold is out of range.
    """
    names, table = counted(sequences, threshold, _count)

    def compute(weights: np.ndarray) -> Figures:
        found, missed, wrong = weights @ table
        shares = {
            "IDF1": float(ratio(2 * found, 2 * found + missed + wrong)),
            "IDP": float(ratio(found, found + wrong)),
            "IDR": float(ratio(found, found + missed)),
        }
        return shares | {name: float(number) for name, number in zip(_COUNTS, (found, missed, wrong))}

    convention = (
        f"identity scores at box IoU >= {threshold:g}; identities are assigned in each video, boxes summed over videos"
    )
    return Result(convention, names, dict(zip(_COUNTS, table.T)), count_boxes(sequences), compute)


def _count(pairs: Overlaps, threshold: float) -> tuple[int, int, int]:
    near = pairs.iou >= threshold
    together = np.zeros((len(pairs.truth.boxes_of_id), len(pairs.prediction.boxes_of_id)))
    places = pairs.truth.codes[pairs.true[near]], pairs.prediction.codes[pairs.predicted[near]]
    np.add.at(together, places, 1.0)
    right = int(together[assign(together)].sum())
    return right, len(pairs.truth.codes) - right, len(pairs.prediction.codes) - right
