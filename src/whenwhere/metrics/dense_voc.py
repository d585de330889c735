"""Scores of files of tracks with captions, for ``whenwhere score dense-voc``: CHOTA's parts, and AP_M of the frames.

Source: Zhou et al., "Dense Video Object Captioning from Disjoint Supervision", ICLR 2025.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from whenwhere.metrics.caption_files import Meteor
from whenwhere.metrics.chota import chota, pair_cider, pair_meteor
from whenwhere.metrics.place_files import meteor_similarity
from whenwhere.metrics.region_captions import dense_region_captions
from whenwhere.metrics.result import Figures, Result
from whenwhere.metrics.track_files import read_dense_voc
from whenwhere.metrics.tracks import Detections

_Images = dict[str, list[Mapping[str, object]]]


def score_dense_voc(gt: Sequence[Path], pred: Path, meteor: Meteor | None = None) -> Result:
    """Score tracks with captions.

    Args:
        gt: one truth, as :func:`whenwhere.metrics.track_files.read_dense_voc` takes it.
        pred: the predictions.
        meteor: of tokenised captions; without it ``AP_M`` is left out and CHOTA's parts are those of CIDEr alone.

    Returns:
        See :func:`whenwhere.metrics.chota.chota`; the items are videos. Besides, where a true box has a caption,
        ``AP_M``: the ``mAP`` of :func:`whenwhere.metrics.region_captions.dense_region_captions` with the frames of all
        videos as images and all predictions, whatever their score; and ``detection_mAP`` of the boxes alone.

    Raises:
        InputError: naming file and record.
    """
    sequences = read_dense_voc(gt[0], pred)
    tracked = chota(sequences, {"CIDEr": pair_cider} | ({} if meteor is None else {"METEOR": pair_meteor}))
    if not any(text.strip() for truth, _ in sequences.values() for text in truth.captions or ()):
        return replace(tracked, left_out={**tracked.left_out, "AP_M": "no true box has a caption"})
    said: _Images = {}
    wanted: _Images = {}
    owner: dict[str, int] = {}
    for row, name in enumerate(tracked.ids):
        for side, frames in zip(sequences[name], (wanted, said)):
            for key, records in _frames(side, row).items():
                frames[key], owner[key] = records, row
    found = dense_region_captions(said, wanted, meteor_similarity(meteor))
    videos = np.array([owner[frame] for frame in found.ids])

    def compute(weights: np.ndarray) -> Figures:
        each = found.compute(weights[videos])
        more = {"detection_mAP": each["detection_mAP"]} | ({} if meteor is None else {"AP_M": each["mAP"]})
        return tracked.compute(weights) | more

    told = "detection_mAP" if meteor is None else "AP_M and detection_mAP"
    return replace(
        tracked,
        compute=compute,
        convention=f"{tracked.convention}; {told} of all predictions, frames as images, {found.convention}",
        left_out={**tracked.left_out, **({"AP_M": "needs METEOR"} if meteor is None else {})},
    )


def _frames(boxes: Detections, video: int) -> _Images:
    """The boxes of every frame, as regions with captions."""
    found: _Images = {}
    captions = boxes.captions or [""] * len(boxes)
    scores = np.ones(len(boxes)) if boxes.scores is None else boxes.scores
    for frame, box, caption, score in zip(boxes.frames.tolist(), boxes.boxes.tolist(), captions, scores.tolist()):
        found.setdefault(f"{video:09}/{frame:09}", []).append({"box": box, "caption": caption, "score": score})
    return found
