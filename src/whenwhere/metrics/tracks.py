"""The records of tracking: boxes with a frame and an identity, and which true and predicted boxes overlap.

Readers of files are in :mod:`whenwhere.metrics.track_files`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from whenwhere.errors import InputError
from whenwhere.metrics.records import boxes_of, field_of, numbers, place_of
from whenwhere.results import Track

_BLOCK = 1_000_000  # pairs of boxes worked on at once: bounds memory, does not change results


@dataclass(frozen=True, eq=False)
class Detections:
    """The boxes of one side (truth or prediction) of one video, in any order.

    Args:
        frames: ``(n,)`` whole numbers, the frame of each box; where counting starts does not matter.
        ids: ``(n,)`` identities, numbers or strings; a name is only a name.
        boxes: ``(n, 4)`` x1, y1, x2, y2 in pixels.
        captions: what is said of each box, for :func:`whenwhere.metrics.chota.chota`.
        scores: ``(n,)`` confidence of each box.

    Raises:
        InputError: numbers that are not finite, a box with its corners swapped, columns of different lengths, or two
            boxes of one identity on one frame.
    """

    frames: np.ndarray
    ids: Sequence[Hashable] | np.ndarray
    boxes: np.ndarray
    captions: Sequence[str] | None = None
    scores: np.ndarray | None = None

    def __post_init__(self) -> None:
        frames = numbers(self.frames, "frames", (None,))
        if (frames % 1 != 0).any():
            raise InputError(f"frame {frames[frames % 1 != 0][0]:g}", "whole numbers")
        boxes = boxes_of(self.boxes, "boxes")
        scores = None if self.scores is None else numbers(self.scores, "scores", (None,))
        lengths = {len(frames), len(self.ids), len(boxes)}
        lengths |= {len(column) for column in (self.captions, scores) if column is not None}
        if len(lengths) > 1:
            raise InputError(f"columns of {sorted(lengths)} boxes", "as many frames, ids, boxes, captions and scores")
        for caption in self.captions or ():
            if not isinstance(caption, str):
                raise InputError(f"caption {caption!r}", "a string, empty where nothing is said")
        object.__setattr__(self, "frames", frames.astype(np.int64))
        object.__setattr__(self, "boxes", boxes)
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "_codes", self._number())
        codes = self.codes()
        keys = np.stack([self.frames, codes])  # (2, n)
        if len(codes) and np.unique(keys, axis=1).shape[1] < len(codes):
            order = np.lexsort(keys)
            twice = order[1:][(np.diff(keys[:, order], axis=1) == 0).all(axis=0)][0]
            raise InputError(
                f"identity {self.ids[twice]!r} has two boxes on frame {self.frames[twice]}",
                "one box of an identity on a frame",
                "give boxes without a track identities of their own",
            )

    def __len__(self) -> int:
        return len(self.frames)

    def codes(self) -> np.ndarray:
        """Identities as numbers 0, 1, ... without gaps: int64 ``(n,)``."""
        return self.__dict__["_codes"]

    def _number(self) -> np.ndarray:
        if isinstance(self.ids, np.ndarray) and self.ids.dtype.kind in "iu":
            return np.unique(self.ids, return_inverse=True)[1].astype(np.int64)
        number: dict[Hashable, int] = {}
        try:
            return np.array([number.setdefault(name, len(number)) for name in self.ids], dtype=np.int64)
        except TypeError:
            raise InputError("an identity that is a list or a mapping", "numbers or strings") from None

    def keep(self, mask: np.ndarray) -> Detections:
        """The boxes where ``mask``, bool ``(n,)``, is true."""
        rows = np.flatnonzero(mask).tolist()
        captions = None if self.captions is None else [self.captions[row] for row in rows]
        scores = None if self.scores is None else self.scores[mask]
        return Detections(self.frames[mask], [self.ids[row] for row in rows], self.boxes[mask], captions, scores)

    @classmethod
    def from_records(cls, records: Iterable[Mapping[str, Any]], what: str = "box") -> Detections:
        """Boxes from mappings ``{"frame", "id", "box": [x1, y1, x2, y2]}``, perhaps with ``"caption"``, ``"score"``.

        Args:
            records: the boxes; all or none have a caption, all or none a score.
            what: what one of them is called in errors.

        Raises:
            InputError: naming the record that cannot be read.
        """
        columns: dict[str, list[Any]] = {name: [] for name in ("frame", "id", "box", "caption", "score")}
        for index, record in enumerate(records):
            place = place_of(record, f"{what} {index}")
            frame = numbers(field_of(record, "frame", place), f"{place}: frame")
            if frame % 1 != 0:
                raise InputError(f"{place}: frame {frame:g}", "a whole number")
            name = field_of(record, "id", place)
            if not isinstance(name, (int, str, np.integer)) or isinstance(name, bool):
                raise InputError(f"{place}: id {name!r}", "a whole number or a string")
            columns["frame"].append(float(frame))
            columns["id"].append(name)
            columns["box"].append(boxes_of([field_of(record, "box", place)], f"{place}: box")[0])
            for extra in {"caption", "score"} & record.keys():
                columns[extra].append(record[extra])
            if "score" in record:
                numbers(record["score"], f"{place}: score")
            if not isinstance(record.get("caption", ""), str):
                raise InputError(f"{place}: caption {record['caption']!r}", "a string, empty where nothing is said")
        boxes = np.array(columns["box"], dtype=np.float64).reshape(-1, 4)
        captions, scores = columns["caption"] or None, columns["score"] or None
        return cls(np.array(columns["frame"]), columns["id"], boxes, captions, scores)  # type: ignore[arg-type]

    @classmethod
    def from_tracks(cls, tracks: Iterable[Track]) -> Detections:
        """Boxes of tracks that know their frames (:class:`whenwhere.results.Track`).

        Raises:
            InputError: a track without frames, or two tracks with one id on one frame.
        """
        tracks = list(tracks)
        for track in tracks:
            if track.frames is None:
                raise InputError(f"track {track.id} has times but no frames", "frames", "write them to the track first")
        return cls(
            np.concatenate([np.empty(0, np.int64), *(track.frames for track in tracks if track.frames is not None)]),
            np.repeat(np.array([track.id for track in tracks], np.int64), [len(track) for track in tracks]),
            np.concatenate([np.empty((0, 4)), *(track.boxes for track in tracks)]),
            [track.text for track in tracks for _ in range(len(track))],
        )


class Side(NamedTuple):
    """One side of a video, sorted by frame.

    Attributes:
        codes: int64 ``(n,)``, identities as 0, 1, ... without gaps.
        boxes_of_id: int64 ``(ids,)``, how many boxes each identity has.
        rows: int64 ``(n,)``, where each box stands in the Detections.
        starts: int64 ``(frames + 1,)``: the boxes of frame f are ``starts[f]:starts[f + 1]``.
    """

    codes: np.ndarray
    boxes_of_id: np.ndarray
    rows: np.ndarray
    starts: np.ndarray


class Overlaps(NamedTuple):
    """Which true and predicted boxes of the same frame overlap, sorted by frame.

    Attributes:
        truth: the true side.
        prediction: the predicted side.
        true: int64 ``(pairs,)``, places in the sorted true side.
        predicted: int64 ``(pairs,)``, places in the sorted predicted side.
        iou: float64 ``(pairs,)``, > 0.
        starts: int64 ``(frames + 1,)``: the pairs of frame f are ``starts[f]:starts[f + 1]``.
    """

    truth: Side
    prediction: Side
    true: np.ndarray
    predicted: np.ndarray
    iou: np.ndarray
    starts: np.ndarray

    def frames(self) -> Iterator[tuple[slice, slice, slice]]:
        """For every frame with a box: its true boxes, its predicted boxes, its pairs."""
        bounds = (side.tolist() for side in (self.truth.starts, self.prediction.starts, self.starts))
        true, predicted, pairs = bounds
        for f in range(len(pairs) - 1):
            yield slice(true[f], true[f + 1]), slice(predicted[f], predicted[f + 1]), slice(pairs[f], pairs[f + 1])


def overlaps(truth: Detections, prediction: Detections) -> Overlaps:
    """All pairs of true and predicted boxes on the same frame with an IoU above 0, in blocks of bounded memory."""
    frames = np.union1d(truth.frames, prediction.frames)
    left, right = _side(truth, frames), _side(prediction, frames)
    here, there = truth.boxes[left.rows], prediction.boxes[right.rows]
    ours, theirs = (np.ascontiguousarray(boxes.T) for boxes in (here, there))  # (4, n)
    many, width = np.diff(left.starts), np.diff(right.starts)  # (frames,) boxes of each side
    pairs = np.concatenate([[0], np.cumsum(many * width)])
    found = []
    first = 0
    while first < len(frames):
        last = max(first + 1, int(np.searchsorted(pairs, pairs[first] + _BLOCK, side="right")) - 1)
        block = slice(first, last)
        rows = np.arange(left.starts[first], left.starts[last])  # true boxes of the block
        times = np.repeat(width[block], many[block])  # how many predicted boxes each of them meets
        true = np.repeat(rows, times)  # (pairs of the block,)
        before = np.repeat(right.starts[block], many[block]) - (np.cumsum(times) - times)
        predicted = np.arange(len(true)) + np.repeat(before, times)
        meet = (ours[0][true] < theirs[2][predicted]) & (theirs[0][predicted] < ours[2][true])
        true, predicted = true[meet], predicted[meet]
        iou = box_iou_rows(here[true], there[predicted])
        near = np.flatnonzero(iou > 0)
        found.append((true[near], predicted[near], iou[near]))
        first = last
    none = np.empty(0, np.int64)
    true, predicted = (np.concatenate([none, *(part[column] for part in found)]) for column in range(2))
    iou = np.concatenate([np.empty(0), *(part[2] for part in found)])
    return Overlaps(left, right, true, predicted, iou, np.searchsorted(true, left.starts))


def read_pairs(sequences: Mapping[str, tuple[Detections, Detections]]) -> tuple[str, ...]:
    """The names of the videos, sorted.

    Raises:
        InputError: if there is none, or one is not a pair of Detections.
    """
    if not isinstance(sequences, Mapping) or not sequences:
        raise InputError("no video to score", "a mapping from names to (truth, prediction)")
    for name, pair in sequences.items():
        if not isinstance(pair, tuple) or len(pair) != 2 or not all(isinstance(side, Detections) for side in pair):
            raise InputError(f"video {name!r}: a {type(pair).__name__}", "a pair (truth, prediction) of Detections")
    return tuple(sorted(sequences))


def counted(
    sequences: Mapping[str, tuple[Detections, Detections]],
    threshold: float,
    count: Callable[[Overlaps, float], tuple[float, ...]],
) -> tuple[tuple[str, ...], np.ndarray]:
    """The names of the videos and what is counted in each at a threshold of IoU: float64 ``(videos, counts)``.

    Raises:
        InputError: if there is no video or the threshold is out of range.
    """
    if not 0 < threshold <= 1:
        raise InputError(f"threshold {threshold!r}", "an IoU in 0..1, above 0")
    names = read_pairs(sequences)
    return names, np.array([count(overlaps(*sequences[name]), threshold) for name in names], dtype=np.float64)


def assign(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the one-to-one assignment with the largest sum of weights ``(n, m)``."""
    from scipy.optimize import linear_sum_assignment

    return linear_sum_assignment(weights, maximize=True)


def _side(detections: Detections, frames: np.ndarray) -> Side:
    rows = np.argsort(detections.frames, kind="stable")
    codes = detections.codes()[rows]
    starts = np.searchsorted(detections.frames[rows], frames)
    return Side(codes, np.bincount(codes).astype(np.int64), rows, np.append(starts, len(rows)))


def box_iou_rows(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """IoU of the boxes of each row, ``(n, 4)`` and ``(n, 4)``; 0 where both are empty."""
    sides = np.minimum(left[:, 2:], right[:, 2:]) - np.maximum(left[:, :2], right[:, :2])  # (n, 2)
    shared = np.clip(sides, 0.0, None).prod(axis=1)
    union = (left[:, 2:] - left[:, :2]).prod(axis=1) + (right[:, 2:] - right[:, :2]).prod(axis=1) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
