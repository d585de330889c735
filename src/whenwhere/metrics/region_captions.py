"""Are the regions of an image found and told? Mean average precision of dense captioning on Visual Genome.

The similarity of sentences is handed in. The published figures take METEOR 1.5 of single sentences; with another
similarity the figure is another one and must not be called by this name.

Source: Johnson, Karpathy and Fei-Fei, "DenseCap: Fully Convolutional Localization Networks for Dense Captioning", CVPR
2016.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from whenwhere.errors import InputError
from whenwhere.metrics.average_precision import hundred_levels
from whenwhere.metrics.records import boxes_of, field_of, numbers, place_of
from whenwhere.metrics.referring import box_iou
from whenwhere.metrics.result import Figures, Result

Similarity = Callable[[Sequence[str], Sequence[Sequence[str]]], Sequence[float]]

IOU_THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
SIMILARITY_THRESHOLDS = (0.0, 0.05, 0.10, 0.15, 0.20, 0.25)
_MERGE = 0.7  # IoU at which true boxes are one
_NOTHING_SAID = "nothing"  # stands on both sides where a true caption is empty


def dense_region_captions(
    predictions: Mapping[str, Sequence[Mapping[str, Any]]],
    truths: Mapping[str, Sequence[Mapping[str, Any]]],
    similarity: Similarity,
    *,
    similarity_name: str = "METEOR",
) -> Result:
    """Mean average precision over a grid of IoU and sentence similarity.

    True boxes that overlap by an IoU of 0.7 are one, with all their captions. Each prediction, by falling score, goes to
    the true box that it overlaps most; if an earlier one of its image has gone there, it is a false alarm, whether or not
    that one was right. It is right if IoU >= the one threshold and similarity > the other.

    Args:
        predictions: by image, ``{"box": [x1, y1, x2, y2], "score", "caption"}``; equal scores are ordered by image name
            and box.
        truths: by image, ``{"box", "caption"}``; an image may have none. Images that only one side has count.
        similarity: of sentences with the captions of their boxes, in 0..1: called once, ``similarity(sentences,
            references)`` with a list of references for each sentence.
        similarity_name: what it is called in the convention.

    Returns:
        Result with one item per image, in 0..1: ``mAP`` (mean of 5 x 6 average precisions, each the mean of the best
        precision at 100 recalls), ``detection_mAP`` (boxes alone) and ``AP@<iou>/<similarity>``.

    Raises:
        InputError: naming the image and record that cannot be scored, or if there is no true box.
    """
    ids = tuple(sorted(set(predictions) | set(truths)))
    matched, clusters, merged = [], np.zeros(len(ids)), 0
    for row, image in enumerate(ids):
        true, captions = _read(truths.get(image, ()), f"image {image!r}, true region", scored=False)
        boxes, references = merge_boxes(true[:, :4], captions)
        clusters[row] = len(boxes)
        merged += len(true) - len(boxes)
        said, sentences = _read(predictions.get(image, ()), f"image {image!r}, prediction", scored=True)
        matched.append(_match(said, sentences, boxes, references, row))
    if not clusters.any():
        raise InputError("no true region in any image", "at least one")
    score, overlap, owner = (np.concatenate([getattr(part, name) for part in matched]) for name in _Matches._fields[:3])
    pairs = [pair for part in matched for pair in part.pairs]
    there = [place for place, pair in enumerate(pairs) if pair is not None]
    alike = np.full(len(pairs), -1.0)
    if there:
        given = similarity([pairs[place][0] for place in there], [pairs[place][1] for place in there])  # type: ignore[index]
        alike[there] = numbers(list(given), "similarities", (len(there),))
    order = np.argsort(-score, kind="stable")
    overlap, alike, owner = overlap[order], alike[order], owner[order]
    near = overlap >= np.array(IOU_THRESHOLDS)[:, None]  # (5, n); an IoU of -1 is no match
    hits = near[:, None] & (alike > np.array(SIMILARITY_THRESHOLDS)[:, None])  # (5, 6, n)

    def compute(weights: np.ndarray) -> Figures:
        total, times = float(weights @ clusters), weights[owner]
        grid = hundred_levels(hits, total, times)  # (5, 6)
        figures = {"mAP": float(grid.mean()), "detection_mAP": float(hundred_levels(near, total, times).mean())}
        for line, least in zip(grid, IOU_THRESHOLDS):
            figures |= {f"AP@{least:g}/{limit:g}": float(cell) for limit, cell in zip(SIMILARITY_THRESHOLDS, line)}
        return figures

    counts = {
        "images": len(ids),
        "true regions": int(clusters.sum()),
        "true regions merged into others": merged,
        "predictions": len(pairs),
        "predictions that overlap nothing or come second": len(pairs) - len(there),
    }
    return Result(
        f"Visual Genome dense captioning: mean over IoU 0.3..0.7 x {similarity_name} 0..0.25 of AP at 100 recalls; "
        "each prediction goes to the one merged box that it overlaps most",
        ids,
        {"true_regions": clusters, "predictions": np.bincount(owner, minlength=len(ids))},
        counts,
        compute,
    )


def merge_boxes(boxes: np.ndarray, captions: Sequence[str]) -> tuple[np.ndarray, list[list[str]]]:
    """Boxes that overlap by an IoU of at least 0.7, made one.

    Again and again the box that overlaps most of the others is taken out together with these, as their mean. Of equals
    the first by its corners is taken, so the order does not matter.

    Args:
        boxes: ``(n, 4)``, x1, y1, x2, y2.
        captions: one for each.

    Returns:
        float64 ``(clusters, 4)``, and the captions of each cluster.
    """
    order = np.lexsort(boxes.T[::-1])
    left = boxes[order]
    words = [captions[place] for place in order.tolist()]
    means, groups = [], []
    near = box_iou(left, left) >= _MERGE
    near[np.diag_indices(len(left))] = True  # a box without area is with itself
    while len(left):
        together = near[near.sum(axis=1).argmax()]
        means.append(left[together].mean(axis=0))
        groups.append([words[place] for place in np.flatnonzero(together).tolist()])
        words = [words[place] for place in np.flatnonzero(~together).tolist()]
        left, near = left[~together], near[~together][:, ~together]
    return np.array(means, dtype=np.float64).reshape(-1, 4), groups


class _Matches(NamedTuple):
    """The predictions of one image, best first.

    Attributes:
        score: float64 ``(n,)``.
        overlap: float64 ``(n,)``, IoU with the box that it goes to; -1 if it goes to none.
        owner: int64 ``(n,)``, the image.
        pairs: sentence and captions of the box; None if it goes to none.
    """

    score: np.ndarray
    overlap: np.ndarray
    owner: np.ndarray
    pairs: list[tuple[str, list[str]] | None]


def _match(
    said: np.ndarray, sentences: list[str], boxes: np.ndarray, references: list[list[str]], row: int
) -> _Matches:
    order = np.lexsort((*said[:, 3::-1].T, -said[:, 4]))
    table = box_iou(said[order, :4], boxes)
    overlap = np.full(len(order), -1.0)
    pairs: list[tuple[str, list[str]] | None] = [None] * len(order)
    taken: set[int] = set()
    for place in range(len(order)) if len(boxes) else ():
        best = int(table[place].argmax())
        if table[place, best] > 0 and best not in taken:
            taken.add(best)
            overlap[place] = table[place, best]
            blank = not all(caption.strip() for caption in references[best])
            sentence = sentences[int(order[place])]
            pairs[place] = (_NOTHING_SAID, [_NOTHING_SAID]) if blank else (sentence, references[best])
    return _Matches(said[order, 4], overlap, np.full(len(order), row), pairs)


def _read(records: Any, what: str, scored: bool) -> tuple[np.ndarray, list[str]]:
    """Box and score ``(n, 5)``, and captions of one image; the score of a true region is 0."""
    if isinstance(records, (str, Mapping)):
        raise InputError(f"{what}s that are a {type(records).__name__}", "a list of mappings")
    rows, captions = [], []
    for index, record in enumerate(records):
        place = place_of(record, f"{what} {index}")
        box = boxes_of([field_of(record, "box", place)], f"{place}: box")[0]
        caption = field_of(record, "caption", place)
        if not isinstance(caption, str):
            raise InputError(f"{place}: caption {caption!r}", "a string")
        score = float(numbers(field_of(record, "score", place), f"{place}: score")) if scored else 0.0
        rows.append([*box.tolist(), score])
        captions.append(caption)
    return np.array(rows, dtype=np.float64).reshape(-1, 5), captions
