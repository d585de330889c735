"""All scores of tracking at once: HOTA, CLEAR MOT and identity scores of the same videos."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from whenwhere.metrics.clear_mot import clear_mot
from whenwhere.metrics.hota import hota
from whenwhere.metrics.identity import identity
from whenwhere.metrics.result import Figures, Result
from whenwhere.metrics.tracks import Detections


def tracking(sequences: Mapping[str, tuple[Detections, Detections]]) -> Result:
    """The figures of :func:`~whenwhere.metrics.hota.hota`, :func:`~whenwhere.metrics.clear_mot.clear_mot` and
    :func:`~whenwhere.metrics.identity.identity` in one result.

    Args:
        sequences: by video, ``(truth, prediction)``.

    Returns:
        Result with one item per video.

    Raises:
        InputError: if there is no video.
    """
    parts = (hota(sequences), clear_mot(sequences), identity(sequences))

    def compute(weights: np.ndarray) -> Figures:
        return {name: value for part in parts for name, value in part.compute(weights).items()}

    items = {
        f"{part}/{name}": v for part, found in zip(("HOTA", "CLEAR", "ID"), parts) for name, v in found.items.items()
    }
    convention = "; ".join(part.convention for part in parts)
    return Result(convention, parts[0].ids, items, parts[0].counts, compute)
