"""Where and when is the thing that a sentence speaks of? Spatio-temporal grounding: sIoU, tIoU, vIoU.

Source: Zhang et al., "Where Does It Exist: Spatio-Temporal Video Grounding for Multi-Form Sentences", CVPR 2020
(VidSTG), as later evaluators compute it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from whenwhere.errors import InputError
from whenwhere.metrics.records import boxes_of, field_of, numbers, place_of
from whenwhere.metrics.result import Figures, Result, weighted_mean
from whenwhere.metrics.tracks import box_iou_rows

_NAMES = ("sIoU", "tIoU", "vIoU")


def tube_grounding(
    predictions: Mapping[str, Mapping[str, Any]],
    truths: Mapping[str, Mapping[str, Any]],
    *,
    thresholds: Sequence[float] = (0.3, 0.5),
) -> Result:
    """Overlap of predicted and true tubes: a box in each frame of a span of frames.

    With the true span known, ``sIoU`` is the mean over its frames of the IoU of the boxes; a frame without a predicted
    box counts 0. ``tIoU`` is the IoU of the spans. ``vIoU`` sums the IoU of boxes over the frames that both spans hold
    and divides by the number of frames from the first start to the last end (their union, where they overlap).
    ``sIoU@R`` and ``vIoU@R`` are the shares of samples strictly above R.

    Args:
        predictions: by sample, ``{"span": [start, end], "boxes": {frame: [x1, y1, x2, y2]}}``; the end is not in the
            span. Boxes outside the predicted span count for sIoU only. A missing sample counts 0 everywhere.
        truths: the same, with a box for each frame of the span; perhaps ``"frames"``, the frames that were looked at if
            not all (:func:`sampled_frames`), and ``"type"`` (declarative, interrogative), for figures by type.
        thresholds: R.

    Returns:
        Result with one item per sample, in 0..1; with types also ``vIoU[<type>]`` and so on.

    Raises:
        InputError: naming the sample that cannot be scored.
    """
    if not truths:
        raise InputError("no sample to score", "at least one")
    if unknown := sorted(set(predictions) - set(truths)):
        raise InputError(f"a prediction for sample {unknown[0]!r}", "samples of the truth", "leave it out")
    ids = tuple(sorted(truths))
    table = np.array([_overlap(predictions.get(name), truths[name], name) for name in ids])  # (samples, 3)
    types = [truths[name].get("type", "") for name in ids]
    for name, kind in zip(ids, types):
        if not isinstance(kind, str):
            raise InputError(f"sample {name!r}: type {kind!r}", "a string")
    groups = {f"[{kind}]": np.array([kind == other for other in types]) for kind in sorted(set(types) - {""})}
    columns = {name: table[:, place] for place, name in enumerate(_NAMES)}
    for limit in thresholds:
        columns |= {f"{name}@{limit:g}": (columns[name] > limit) * 1.0 for name in ("sIoU", "vIoU")}

    def compute(weights: np.ndarray) -> Figures:
        figures = {name: float(weighted_mean(values, weights)) for name, values in columns.items()}
        for mark, members in groups.items():
            part = {f"{name}{mark}": values for name, values in columns.items()}
            figures |= {name: float(weighted_mean(values, weights * members)) for name, values in part.items()}
        return figures

    return Result(
        "VidSTG: frames are [start, end); vIoU over the hull of the spans; @R strictly above R; means over samples",
        ids,
        columns,
        {"samples": len(ids), "samples without prediction": len(set(ids) - set(predictions))},
        compute,
    )


def sampled_frames(start: int, end: int, fps: float, *, rate: float = 5.0, most: int = 200) -> list[int]:
    """The frames of a VidSTG clip that are looked at.

    A frame is taken when a new period of ``1 / rate`` seconds has begun since the last one taken; if more than ``most``
    are left, ``most`` of them are taken evenly.

    Args:
        start: first frame of the clip.
        end: the frame after its last.
        fps: frames per second of the video, > 0.
        rate: frames per second to keep.
        most: how many at most.

    Returns:
        Frames in order.

    Raises:
        InputError: a rate that is not a number above 0, or an end that is not after the start.
    """
    for what, value in (("fps", fps), ("rate", rate), ("most", most)):
        if numbers(value, what) <= 0:
            raise InputError(f"{what} is {value:g}", "more than 0")
    if end <= start:
        raise InputError(f"a clip from frame {start} to {end}", "an end after the start")
    kept = [start]
    for frame in range(start + 1, end):
        if int(kept[-1] * rate / fps) < int(frame * rate / fps):
            kept.append(frame)
    return kept if len(kept) <= most else [kept[place * len(kept) // most] for place in range(most)]


def _overlap(prediction: Mapping[str, Any] | None, truth: Mapping[str, Any], name: str) -> tuple[float, float, float]:
    start, end, true = _tube(truth, f"sample {name!r}, truth")
    place = place_of(truth, f"sample {name!r}, truth")
    seen = truth.get("frames")
    looked_at = None if seen is None else np.unique(numbers(seen, f"{place}: frames", (None,))).astype(np.int64)
    inside = np.arange(start, end) if looked_at is None else looked_at[(looked_at >= start) & (looked_at < end)]
    if not len(inside):
        raise InputError(f"{place}: no frame that was looked at in the span {start}..{end}", "at least one")
    if absent := [frame for frame in inside.tolist() if frame not in true]:
        raise InputError(f"{place}: no box on frame {absent[0]}", f"one on every frame of the span {start}..{end}")
    if prediction is None:
        return 0.0, 0.0, 0.0
    first, last, said = _tube(prediction, f"sample {name!r}, prediction")
    both = np.array([frame for frame in inside.tolist() if frame in said], dtype=np.int64)
    iou = box_iou_rows(*(np.array([tube[f] for f in both.tolist()]).reshape(-1, 4) for tube in (said, true)))
    hull = np.arange(min(start, first), max(end, last))
    if looked_at is not None:
        hull = hull[np.isin(hull, looked_at)]
    shared = float(iou[(both >= first) & (both < last)].sum())
    common = max(0, min(end, last) - max(start, first))
    union = (end - start) + (last - first) - common
    return float(iou.sum()) / len(inside), common / union, shared / len(hull)


def _tube(record: Mapping[str, Any], what: str) -> tuple[int, int, dict[int, np.ndarray]]:
    """Start, end and boxes by frame."""
    place = place_of(record, what)
    span = numbers(field_of(record, "span", place), f"{place}: span", (2,))
    if span[0] >= span[1] or (span % 1 != 0).any():
        raise InputError(f"{place}: span {span.tolist()}", "[start, end] in whole frames, the end after the start")
    boxes = field_of(record, "boxes", place)
    if not isinstance(boxes, Mapping):
        raise InputError(f"{place}: boxes that are a {type(boxes).__name__}", "a mapping from frames to boxes")
    found = {}
    for frame, box in boxes.items():
        text = str(frame)  # JSON makes strings of frames
        if not text.isdecimal():
            raise InputError(f"{place}: frame {frame!r}", "a whole number >= 0")
        found[int(text)] = boxes_of([box], f"{place}, frame {frame}: box")[0]
    return int(span[0]), int(span[1]), found
