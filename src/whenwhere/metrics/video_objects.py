"""J&F: masks of objects in video, scored by region (IoU) and by contour.

Source: Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation", CVPR 2016
(DAVIS); several objects: Pont-Tuset et al., "The 2017 DAVIS Challenge on Video Object Segmentation", 2017.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from whenwhere.errors import InputError
from whenwhere.metrics.records import harmonic_mean
from whenwhere.metrics.result import Figures, Result, weighted_mean

TOLERANCE = 0.008  # of the image's diagonal


def region_similarity(prediction: np.ndarray, truth: np.ndarray) -> float:
    """J: IoU of two masks, bool ``(H, W)``; 1 if both are empty."""
    prediction, truth = _masks(prediction, truth)
    union = int((prediction | truth).sum())
    return int((prediction & truth).sum()) / union if union else 1.0


def contour_accuracy(prediction: np.ndarray, truth: np.ndarray, *, tolerance: float = TOLERANCE) -> float:
    """F: F1 of the contour pixels that lie near a contour pixel of the other mask.

    Near is a distance of at most ``ceil(tolerance * diagonal)`` pixels. A contour pixel differs from its neighbour to
    the right, below, or right below.

    Args:
        prediction: bool ``(H, W)``.
        truth: bool ``(H, W)``.
        tolerance: share of the image's diagonal, > 0.

    Returns:
        F in 0..1; 1 if neither mask has a contour, 0 if only one has.

    Raises:
        InputError: masks of different sizes or not bool.
    """
    prediction, truth = _masks(prediction, truth)
    if not 0 < tolerance < 1:
        raise InputError(f"tolerance {tolerance!r}", "a share of the diagonal between 0 and 1")
    reach = math.ceil(tolerance * math.hypot(*truth.shape))
    said, true = contour(prediction), contour(truth)
    if not said.any() or not true.any():
        return float(said.any() == true.any())
    precision, recall = _share_near(said, true, reach), _share_near(true, said, reach)
    return float(harmonic_mean(precision, recall))


def contour(mask: np.ndarray) -> np.ndarray:
    """Pixels of a mask, bool ``(H, W)``, that differ from their neighbour to the right, below, or right below."""
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    here = padded[:-1, :-1]
    return (here ^ padded[:-1, 1:]) | (here ^ padded[1:, :-1]) | (here ^ padded[1:, 1:])


def video_objects(
    predictions: Mapping[str, Any], truths: Mapping[str, Any], *, skip_ends: bool = False, tolerance: float = TOLERANCE
) -> Result:
    """J&F of videos with one or several objects.

    Args:
        predictions: by video, ``(T, H, W)`` whole numbers: 0 is background, others are the truth's objects (semi-
            supervised: the identities are given in the first frame). bool is one object. Missing videos count as empty.
        truths: the same; the objects scored are the numbers that occur.
        skip_ends: leave out the first and last frame, as DAVIS 2017 does; all frames count if not.
        tolerance: see :func:`contour_accuracy`.

    Returns:
        Result with one item per object of each video: ``J&F``, ``J-Mean``, ``F-Mean``; ``J-Recall``, ``F-Recall``, the
        share of frames above 0.5; ``J-Decay``, ``F-Decay``, the mean of the first quarter of the frames less that of
        the last. All are means over objects.

    Raises:
        InputError: naming the video whose masks cannot be scored.
    """
    if unknown := sorted(set(predictions) - set(truths)):
        raise InputError(f"masks for video {unknown[0]!r}", "videos of the truth", "leave them out")
    ids, rows, frames, extra = [], [], 0, 0
    for name in sorted(truths):
        truth = _labels(truths[name], f"video {name!r}, truth")
        said = (
            _labels(predictions[name], f"video {name!r}, prediction") if name in predictions else np.zeros_like(truth)
        )
        if said.shape != truth.shape:
            raise InputError(f"video {name!r}: masks {said.shape}", f"frames, height and width {truth.shape}")
        objects = np.unique(truth[truth > 0]).tolist()
        extra += len(set(np.unique(said[said > 0]).tolist()) - set(objects))
        if skip_ends:
            truth, said = truth[1:-1], said[1:-1]
        if len(truth) == 0:
            raise InputError(f"video {name!r}: no frame to score", "at least one, or three with skip_ends")
        frames += len(truth)
        for number in objects:
            ids.append(f"{name}/{number}")
            pairs = [(one == number, other == number) for one, other in zip(said, truth)]
            region = [region_similarity(*pair) for pair in pairs]
            edge = [contour_accuracy(*pair, tolerance=tolerance) for pair in pairs]
            rows.append([*_summary(region), *_summary(edge)])
    if not rows:
        raise InputError("no object in any video", "at least one")
    names = [f"{part}-{kind}" for part in "JF" for kind in ("Mean", "Recall", "Decay")]
    items = {name: np.array(column) for name, column in zip(names, zip(*rows))}

    def compute(weights: np.ndarray) -> Figures:
        figures = {name: float(weighted_mean(values, weights)) for name, values in items.items()}
        return {"J&F": (figures["J-Mean"] + figures["F-Mean"]) / 2, **figures}

    return Result(
        f"DAVIS J&F, means over objects, {'without the first and last frame' if skip_ends else 'all frames'}; contours "
        f"within {tolerance:g} of the diagonal",
        tuple(ids),
        items,
        {
            "objects": len(ids),
            "videos": len(truths),
            "frames": frames,
            "videos without prediction": len(set(truths) - set(predictions)),
            "predicted objects that the truth does not have": extra,
        },
        compute,
    )


def _summary(scores: list[float]) -> tuple[float, float, float]:
    """Mean, recall and decay over the frames of one object."""
    values = np.array(scores)
    # The ends of the quarters are shared by both neighbours; halves round up
    ends = np.floor(np.linspace(1, len(values), 5) + 0.5).astype(np.int64) - 1
    decay = values[ends[0] : ends[1] + 1].mean() - values[ends[3] : ends[4] + 1].mean()
    return float(values.mean()), float((values > 0.5).mean()), float(decay)


def _share_near(pixels: np.ndarray, others: np.ndarray, reach: int) -> float:
    """Share of the pixels that lie within a distance of ``reach`` from any of the others; both have some."""
    from scipy.spatial import cKDTree

    distance, _ = cKDTree(np.argwhere(others)).query(np.argwhere(pixels), distance_upper_bound=reach + 1e-6)
    return float(np.isfinite(distance).mean())


def _masks(prediction: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    prediction, truth = np.asarray(prediction), np.asarray(truth)
    if prediction.dtype != bool or truth.dtype != bool or truth.ndim != 2 or prediction.shape != truth.shape:
        raise InputError(
            f"masks {prediction.dtype} {prediction.shape} and {truth.dtype} {truth.shape}",
            "two bool masks (height, width) of the same size",
        )
    return prediction, truth


def _labels(masks: Any, what: str) -> np.ndarray:
    found = np.asarray(masks)
    if found.ndim != 3 or found.dtype.kind not in "biu" or 0 in found.shape:
        raise InputError(f"{what}: {found.dtype} {found.shape}", "whole numbers or bool (frames, height, width)")
    return found
