"""Is the right thing pointed out? Boxes and masks of referring expressions (RefCOCO, RefCOCO+, RefCOCOg).

Every expression is an item, not every object or image. P@0.5 is strict: an IoU of exactly 0.5 is a miss.

Sources: Yu et al., "Modeling Context in Referring Expressions", ECCV 2016; Xu et al., "Pixel Aligned Language Models",
CVPR 2024, for the figures and their names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from whenwhere.errors import InputError
from whenwhere.metrics.records import boxes_of, same_ids
from whenwhere.metrics.result import Figures, Result, ratio, weighted_mean

_LIMIT = 0.5


def referring_boxes(predictions: Mapping[str, Any], truths: Mapping[str, Any]) -> Result:
    """One predicted box for every expression.

    Args:
        predictions: by expression, x1, y1, x2, y2 in pixels of the original image; None counts as a miss.
        truths: by the same expressions, the true box.

    Returns:
        Result with one item per expression: ``P@0.5`` (share of IoU > 0.5) and ``mIoU``, in 0..1.

    Raises:
        InputError: naming the expression that cannot be scored.
    """
    ids = same_ids(predictions, truths, "expression")
    overlap = np.zeros(len(ids))
    for row, name in enumerate(ids):
        true = boxes_of([truths[name]], f"expression {name!r}, true box")
        if predictions[name] is not None:
            said = boxes_of([predictions[name]], f"expression {name!r}, predicted box")
            overlap[row] = float(box_iou(said, true)[0, 0])
    none = sum(predictions[name] is None for name in ids)

    def compute(weights: np.ndarray) -> Figures:
        hits = (overlap > _LIMIT).astype(np.float64)
        return {"P@0.5": float(weighted_mean(hits, weights)), "mIoU": float(weighted_mean(overlap, weights))}

    return Result(
        "referring boxes: one box for each expression, right if IoU > 0.5 (strict), mean over expressions",
        ids,
        {"iou": overlap},
        {"expressions": len(ids), "expressions without a box, which count as misses": none},
        compute,
    )


def referring_masks(predictions: Mapping[str, Any], truths: Mapping[str, Any]) -> Result:
    """One predicted mask for every expression.

    Args:
        predictions: by expression, bool ``(height, width)`` of the original image.
        truths: by the same expressions, the true mask, not empty.

    Returns:
        See :func:`referring_areas`.

    Raises:
        InputError: naming the expression that cannot be scored.
    """
    ids = same_ids(predictions, truths, "expression")
    areas = {}
    for name in ids:
        said, true = (np.asarray(side[name]) for side in (predictions, truths))
        if said.dtype != bool or true.dtype != bool or said.ndim != 2 or said.shape != true.shape:
            raise InputError(
                f"expression {name!r}: masks {said.dtype} {said.shape} and {true.dtype} {true.shape}",
                "two bool masks (height, width) of one size",
            )
        if not true.any():
            raise InputError(f"expression {name!r} with an empty true mask", "a pixel", "leave the expression out")
        areas[name] = int((said & true).sum()), int((said | true).sum())
    return referring_areas(areas)


def referring_areas(areas: Mapping[str, tuple[float, float]]) -> Result:
    """The figures of masks, from the areas of their intersections and unions with the true ones.

    Args:
        areas: by expression, intersection and union in pixels; 0 <= intersection <= union, union > 0.

    Returns:
        Result with one item per expression, in 0..1: ``cIoU`` (overall IoU: sum of intersections / sum of unions, which
        large things dominate), ``mIoU`` (also gIoU: mean of the IoU) and ``P@0.5`` (share of IoU > 0.5).

    Raises:
        InputError: naming the expression whose areas are impossible.
    """
    if not areas:
        raise InputError("no expression to score", "at least one")
    ids = tuple(sorted(areas))
    table = np.array([areas[name] for name in ids], dtype=np.float64).reshape(len(ids), 2)
    for name, (part, whole) in zip(ids, table):
        if not (0 <= part <= whole < np.inf and whole > 0):
            raise InputError(
                f"expression {name!r}: intersection {part:g}, union {whole:g}", "0 <= intersection <= union"
            )
    overlap = table[:, 0] / table[:, 1]

    def compute(weights: np.ndarray) -> Figures:
        part, whole = weights @ table
        return {
            "cIoU": float(part / whole) if whole else float("nan"),
            "mIoU": float(weighted_mean(overlap, weights)),
            "P@0.5": float(weighted_mean((overlap > _LIMIT).astype(np.float64), weights)),
        }

    return Result(
        "referring masks: cIoU = sum of intersections / sum of unions, mIoU = mean over expressions, P@0.5 strict",
        ids,
        {"areas": table},
        {"expressions": len(ids), "expressions without overlap": int((table[:, 0] == 0).sum())},
        compute,
    )


def box_iou(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """IoU of every pair of boxes.

    Args:
        left: ``(n, 4)``, x1, y1, x2, y2.
        right: ``(m, 4)``.

    Returns:
        float64 ``(n, m)`` in 0..1; 0 where both are without area.
    """
    low = np.maximum(left[:, None, :2], right[:, :2])  # (n, m, 2)
    high = np.minimum(left[:, None, 2:], right[:, 2:])
    part = np.maximum(0.0, high - low).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (left, right)]
    return ratio(part, areas[0][:, None] + areas[1] - part)
