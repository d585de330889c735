"""Which predicted boxes find a true one, by the rules of COCO: per image once, so that any resample can be counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

THRESHOLDS = np.linspace(0.5, 0.95, 10)  # of IoU
AREAS = ((0.0, 1e10), (0.0, 32.0**2), (32.0**2, 96.0**2), (96.0**2, 1e10))  # all, small, medium, large, square pixels
MOST = 100  # predictions of a category in an image
_ALMOST_ONE = 1 - 1e-10  # where the rules have the highest threshold

_LEVELS = np.linspace(0.0, 1.0, 101)  # of recall

Records = Sequence[Mapping[str, Any]]


class Matches(NamedTuple):
    """What became of the predictions of one category in one image.

    Attributes:
        hits: bool ``(areas, thresholds, n)``, found a true box that counts.
        ignored: bool ``(areas, thresholds, n)``, neither right nor wrong: on a crowd, or of another size.
        counted: bool ``(areas, m)``, true boxes that count.
    """

    hits: np.ndarray
    ignored: np.ndarray
    counted: np.ndarray


def match_boxes(said: np.ndarray, true: np.ndarray, area: np.ndarray, crowd: np.ndarray) -> Matches:
    """Match predictions with true boxes, best first.

    Each prediction takes the free true box that it overlaps most, by at least the threshold; boxes that count go before
    crowds and boxes of other sizes, and of equals the last is taken. A crowd can be taken again and again, and the
    overlap with it is the share of the prediction that it covers. A prediction of another size that finds nothing is
    ignored.

    Args:
        said: ``(n, 4)`` x, y, width, height, best first.
        true: ``(m, 4)``, in the order of the file.
        area: ``(m,)`` of the true boxes, square pixels.
        crowd: bool ``(m,)``.

    Returns:
        Matches.
    """
    least, most = np.array(AREAS).T[:, :, None]  # (areas, 1)
    outside = (said[:, 2:].prod(axis=1) < least) | (said[:, 2:].prod(axis=1) > most)  # (areas, n)
    counted = ~crowd & (area >= least) & (area <= most)  # (areas, m)
    shape = (len(AREAS), len(THRESHOLDS), len(said))
    hits, ignored = np.zeros(shape, dtype=bool), np.repeat(outside[:, None], len(THRESHOLDS), axis=1)
    if not len(true):
        return Matches(hits, ignored, counted)
    limits = np.minimum(THRESHOLDS, _ALMOST_ONE)[:, None]  # (thresholds, 1)
    overlap = _overlap(said, true, crowd)[:, ::-1]  # the last of equals is the first from behind
    counts, again = counted[:, None, ::-1], crowd[::-1]
    free = np.ones((*shape[:2], len(true)), dtype=bool)
    lanes = np.indices(shape[:2])
    for row in np.flatnonzero(overlap.max(axis=1) >= limits.min()):
        near = free & (overlap[row] >= limits)  # (areas, thresholds, m)
        better = near & counts
        right = better.any(axis=2)
        choice = np.where(np.where(right[..., None], better, near), overlap[row], -1.0).argmax(axis=2)
        taken = near.any(axis=2)
        hits[:, :, row] = right
        ignored[:, :, row] = np.where(taken, ~right, ignored[:, :, row])
        free[lanes[0], lanes[1], choice] &= ~taken | again[choice]
    return Matches(hits, ignored, counted)


def _overlap(said: np.ndarray, true: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """IoU ``(n, m)``; with a crowd the share of the prediction."""
    low = np.maximum(said[:, None, :2], true[None, :, :2])
    high = np.minimum((said[:, :2] + said[:, 2:])[:, None], (true[:, :2] + true[:, 2:])[None])
    common = np.maximum(high - low, 0.0).prod(axis=2)
    own = said[:, 2:].prod(axis=1)[:, None]
    whole = np.where(crowd, own, own + true[:, 2:].prod(axis=1) - common)
    return np.divide(common, whole, out=np.zeros_like(common), where=whole > 0)


class BoxPool(NamedTuple):
    """The predictions of all images by category, best first; of equal scores by image.

    Attributes:
        hits, false: bool ``(areas * thresholds, n)``, right and wrong ones; some are neither.
        category, image, rank: int64 ``(n,)``; the rank is that within category and image.
        start, length: int64 ``(blocks,)``, runs of one category, score and image, which a resample repeats as they are.
    """

    hits: np.ndarray
    false: np.ndarray
    category: np.ndarray
    image: np.ndarray
    rank: np.ndarray
    start: np.ndarray
    length: np.ndarray


def pool_matches(said: Sequence[Records], wanted: Sequence[Records], categories: int) -> tuple[BoxPool, np.ndarray]:
    """Match the boxes of every image.

    Args:
        said: predictions of every image, ``{"category_id": 1.., "bbox", "score"}``.
        wanted: true boxes of every image, ``{"category_id", "bbox", "area", "iscrowd"}``.
        categories: how many.

    Returns:
        The matched predictions, and how many true boxes count: float64 ``(images, areas, categories)``.
    """
    true = np.zeros((len(said), len(AREAS), categories))
    columns = np.empty((4, 0))  # category, score, image, rank
    parts = []
    for row, sides in enumerate(zip(said, wanted, strict=True)):
        groups: dict[int, tuple[list[Any], list[Any]]] = {}
        for side, records in enumerate(sides):
            for record in records:
                groups.setdefault(record["category_id"] - 1, ([], []))[side].append(record)
        for category, (found, told) in groups.items():
            found = sorted(found, key=lambda record: -record["score"])[:MOST]
            boxes, places = (
                np.array([record["bbox"] for record in side], dtype=np.float64).reshape(-1, 4) for side in (found, told)
            )
            area = np.array([record["area"] for record in told], dtype=np.float64)
            matches = match_boxes(boxes, places, area, np.array([bool(record["iscrowd"]) for record in told], bool))
            true[row, :, category] = matches.counted.sum(axis=1)
            parts.append((matches, category, row, [record["score"] for record in found]))
    lanes = len(AREAS) * len(THRESHOLDS)
    if parts:
        columns = np.concatenate(
            [
                [[category] * len(score), score, [row] * len(score), range(len(score))]
                for _, category, row, score in parts
            ],
            axis=1,
        )
    hits, ignored = (
        np.concatenate(
            [np.empty((lanes, 0), bool), *(matches[side].reshape(lanes, -1) for matches, *_ in parts)], axis=1
        )
        for side in (0, 1)
    )
    order = np.lexsort((columns[3], columns[2], -columns[1], columns[0]))
    columns = columns[:, order]
    ends = np.append((np.diff(columns[:3], axis=1) != 0).any(axis=0), True)[: len(order)]
    start = np.concatenate([[0], np.flatnonzero(ends) + 1]).astype(np.int64)
    category, image, rank = columns[[0, 2, 3]].astype(np.int64)
    hits = hits[:, order]
    return BoxPool(hits, ~(hits | ignored[:, order]), category, image, rank, start[:-1], np.diff(start)), true


def accumulate(
    pool: BoxPool, true: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Count the matches of a resample.

    Args:
        pool, true: of :func:`pool_matches`.
        weights: ``(images,)``, how often each image counts.

    Returns:
        Average precision and recall, float64 ``(areas, thresholds, categories)``; recall of the first prediction of a
        category in an image, and of the first ten, ``(thresholds, categories)``, all areas. NaN without a true box.
    """
    categories, lanes = true.shape[2], len(THRESHOLDS)
    total = np.repeat(np.tensordot(weights, true, axes=1), lanes, axis=0)  # (areas * thresholds, categories)
    blocks = weights.astype(np.int64)[pool.image[pool.start]]
    length, many = pool.length, pool.length * blocks
    within = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
    index = np.repeat(pool.start, many) + within % np.repeat(length, many)
    hits, category = pool.hits[:, index], pool.category[index]
    bounds = np.searchsorted(category, np.arange(categories + 1))
    found, right = _counted(hits, bounds, category)
    wrong, _ = _counted(pool.false[:, index], bounds, category)
    precision = found / np.maximum(found + wrong, 1)
    for first, last in zip(bounds.tolist(), bounds[1:].tolist()):
        backwards = precision[:, first:last][:, ::-1]
        np.maximum.accumulate(backwards, axis=1, out=backwards)
    row, column = np.nonzero(hits)
    number, whole = found[row, column], total[row, category[column]]
    steps = np.searchsorted(_LEVELS, number / whole, "right") - np.searchsorted(_LEVELS, (number - 1) / whole, "right")
    cells = row * categories + category[column]
    gained = precision[row, column] * steps
    sums: np.ndarray = np.bincount(cells, weights=gained, minlength=total.size).astype(np.float64)
    sums = sums.reshape(total.shape)
    some = np.flatnonzero(np.diff(bounds))
    sums[:, some] += precision[:, bounds[some]]  # at recall 0
    area = np.where(total > 0, sums / len(_LEVELS), np.nan).reshape(-1, lanes, categories)
    known = np.divide(right, total, out=np.full(total.shape, np.nan), where=total > 0).reshape(area.shape)
    few = []
    for limit in (1, 10):
        early = pool.hits[:lanes] * (weights[pool.image] * (pool.rank < limit))
        places = np.searchsorted(pool.category, np.arange(categories + 1))
        ends = np.concatenate([np.zeros((lanes, 1)), np.cumsum(early, axis=1)], axis=1)[:, places]
        few.append(
            np.divide(np.diff(ends), total[:lanes], out=np.full(area.shape[1:], np.nan), where=total[:lanes] > 0)
        )
    return area, known, few[0], few[1]


def _counted(marks: np.ndarray, bounds: np.ndarray, category: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Running counts within each category, and their ends ``(lanes, categories)``."""
    sums = np.zeros((len(marks), marks.shape[1] + 1), dtype=np.int64)
    np.cumsum(marks, axis=1, out=sums[:, 1:])
    starts = sums[:, bounds]
    return sums[:, 1:] - starts[:, category], np.diff(starts, axis=1)
