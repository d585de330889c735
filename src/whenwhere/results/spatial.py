"""Results that live in the picture: tracks of boxes through time, regions with masks, label maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from whenwhere.errors import InputError
from whenwhere.results import checks, rle
from whenwhere.results.record import Record, floats


@dataclass(frozen=True, eq=False)
class Track(Record):
    """One object followed through time.

    Args:
        id: number of the object, unique in a timeline.
        times: (n,) float64, seconds, n >= 1, >= 0 and strictly increasing.
        boxes: (n, 4) float32, ``x1, y1, x2, y2`` in pixels of the original frame.
        text: what the object is or does.
        score: confidence of the whole track, any finite number.
        scores: (n,) float32, confidence of each box, or ``None``.
        frames: (n,) int64, index of the frame of each box, >= 0 and strictly increasing, or ``None``.

    Raises:
        InputError: shapes disagree, or a value is not finite, not sorted or of the wrong type.
    """

    id: int
    times: np.ndarray
    boxes: np.ndarray
    text: str = ""
    score: float | None = None
    scores: np.ndarray | None = None
    frames: np.ndarray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", checks.integer("track.id", self.id))
        times = checks.array("track.times", self.times, np.float64, (None,))
        if len(times) == 0 or times[0] < 0 or (np.diff(times) <= 0).any():
            raise InputError(f"times of track {self.id}", "at least one, not negative, strictly increasing")
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "boxes", checks.boxes("track.boxes", self.boxes, (len(times), 4)))
        object.__setattr__(self, "text", checks.string("track.text", self.text))
        object.__setattr__(self, "score", checks.maybe_number("track.score", self.score))
        if self.scores is not None:
            object.__setattr__(self, "scores", checks.array("track.scores", self.scores, np.float32, times.shape))
        if self.frames is not None:
            frames = checks.array("track.frames", self.frames, np.int64, times.shape)
            if frames[0] < 0 or (np.diff(frames) <= 0).any():
                raise InputError(f"frames of track {self.id}", "not negative, strictly increasing")
            object.__setattr__(self, "frames", frames)

    def __len__(self) -> int:
        return len(self.times)

    def clipped(self, width: int, height: int) -> Track:
        """Return the same track with its boxes clipped to a ``width`` x ``height`` frame (pixels)."""
        limits = np.array([width, height, width, height], np.float32)
        boxes = np.clip(self.boxes, 0, limits)
        return Track(self.id, self.times, boxes, self.text, self.score, self.scores, self.frames)


@dataclass(frozen=True, eq=False)
class Region(Record):
    """A place in one picture, with what is there.

    Args:
        box: (4,) float32, ``x1, y1, x2, y2`` in pixels of the original frame.
        text: what is there.
        score: confidence, any finite number.
        mask: (H, W) bool, in the size of the original frame, or ``None``. In JSON it is a COCO compressed RLE.
        time: seconds, >= 0; ``None`` for a still image.

    Raises:
        InputError: a value is not finite or of the wrong type, or the box leaves the mask's frame by more than a pixel.
    """

    box: np.ndarray
    text: str
    score: float | None = None
    mask: np.ndarray | None = field(default=None, repr=False)
    time: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "box", checks.boxes("region.box", self.box, (4,)))
        object.__setattr__(self, "text", checks.string("region.text", self.text))
        object.__setattr__(self, "score", checks.maybe_number("region.score", self.score))
        object.__setattr__(self, "time", checks.maybe_number("region.time", self.time, least=0.0))
        if self.mask is not None:
            mask = checks.raster("region.mask", self.mask, bool)
            object.__setattr__(self, "mask", mask)
            inside_frame("region.box", self.box, mask.shape[1], mask.shape[0])

    def to_dict(self) -> dict[str, Any]:
        """Return the region as plain JSON data; the mask as ``{"size": [H, W], "counts": "..."}``."""
        result: dict[str, Any] = {"box": floats(self.box), "text": self.text, "score": self.score, "time": self.time}
        if self.mask is not None:
            result["mask"] = {"size": list(self.mask.shape), "counts": rle.compress(rle.encode(self.mask))}
        return {name: value for name, value in result.items() if value is not None}

    @classmethod
    def _arguments(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        arguments = super()._arguments(data)
        if arguments.get("mask") is not None:
            arguments["mask"] = rle.from_coco(arguments["mask"])
        return arguments


@dataclass(frozen=True, eq=False)
class LabelMap(Record):
    """A class for every pixel of one picture.

    Args:
        labels: (H, W) int32, index into ``names``; -1 where the pixel has no label.
        names: names of the classes.
        time: seconds, >= 0; ``None`` for a still image.

    Raises:
        InputError: a label is below -1 or has no name, or a value is of the wrong type.
    """

    labels: np.ndarray = field(repr=False)
    names: tuple[str, ...]
    time: float | None = None

    def __post_init__(self) -> None:
        names = tuple(checks.string("label name", name) for name in checks.instances("names", self.names, str))
        labels = checks.raster("labels", self.labels, np.int32)
        if labels.min() < -1 or labels.max() >= len(names):
            raise InputError(
                f"labels run from {labels.min()} to {labels.max()}",
                f"-1 to {len(names) - 1}, as there are {len(names)} names",
            )
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "time", checks.maybe_number("label map time", self.time, least=0.0))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data; ``labels`` as runs in row order: ``{"size": [H, W], "values": [], "counts": []}``."""
        values, counts = rle.runs(self.labels.reshape(-1))
        labels = {"size": list(self.labels.shape), "values": values.tolist(), "counts": counts.tolist()}
        result = {"labels": labels, "names": list(self.names)}
        return result if self.time is None else {**result, "time": self.time}

    @classmethod
    def _arguments(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        arguments = super()._arguments(data)
        coded = arguments["labels"]
        if not isinstance(coded, Mapping) or set(coded) != {"size", "values", "counts"}:
            raise InputError("labels of a label map", 'an object {"size": [H, W], "values": [...], "counts": [...]}')
        height, width = rle.size_of(coded["size"], "labels")
        values = checks.array("labels.values", coded["values"], np.int32, (None,))
        counts = checks.array("labels.counts", coded["counts"], np.int64, values.shape)
        if (counts < 0).any() or (counts > height * width).any() or counts.sum() != height * width:
            raise InputError("labels.counts do not add up", f"{height} x {width} = {height * width} pixels")
        arguments["labels"] = np.repeat(values, counts).reshape(height, width)  # (H, W)
        return arguments


def inside_frame(name: str, boxes: np.ndarray, width: int, height: int) -> None:
    """Raise ``InputError`` if a box leaves the frame by more than one pixel, which is room for rounding."""
    low, high = boxes[..., :2].min(), boxes[..., 2:].max(axis=tuple(range(boxes.ndim - 1)))
    if low < -1 or high[0] > width + 1 or high[1] > height + 1:
        raise InputError(
            f"{name} leaves the {width} x {height} frame", "boxes in pixels of the frame", "clip them first"
        )
