"""Scores of the labels of frames, for ``whenwhere score``: a step for every frame of a video."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from whenwhere.errors import InputError
from whenwhere.metrics.files import read_json
from whenwhere.metrics.records import field_of, numbers, same_ids
from whenwhere.metrics.result import Result
from whenwhere.metrics.segments import action_segmentation
from whenwhere.results.files import read_text

NOTHING = "nothing"
"""The label of a frame without a step, where a file says null."""
_SLACK = 1e-6  # of a frame: 0.1 s at 30 frames a second is 3 frames

Labels = dict[str, list[str | int]]


def score_segments(gt: Sequence[Path], pred: Path, *, background: str = NOTHING) -> Result:
    """Score the labels of frames.

    Args:
        gt: one folder of ``<video>.txt`` with a label on each line, JSON ``{video: [label, ...]}``, or ``COIN.json``
            with the scored videos alone.
        pred: the same for the first two. For COIN ``{"rate": frames a second, "results": {video: [step, ...]}}``, where
            frame i is at i / rate seconds: the number of its step, null without one. Labels are strings, whole numbers
            or null.
        background: the label of frames without a step; null if not given.

    Returns:
        See :func:`whenwhere.metrics.segments.action_segmentation`.

    Raises:
        InputError: naming the file, the video and the frame, or the videos that do not agree.
    """
    truth = gt[0]
    if truth.is_dir() != pred.is_dir():
        raise InputError(f"{truth} and {pred}", "two folders or two files")
    if truth.is_dir():
        true, said = _folder(truth), _folder(pred)
    else:
        root, found = read_json(truth), read_json(pred)
        inner = found["results"] if isinstance(found, Mapping) and "results" in found else found
        said = _labels(inner, pred)
        coin = isinstance(root, Mapping) and "database" in root
        true = _coin(truth, field_of(found, "rate", str(pred)), f"{pred}: rate") if coin else _labels(root, truth)
    for name in same_ids(said, true, "video"):
        if len(said[name]) != len(true[name]):
            raise InputError(f"{pred}: video {name!r}: {len(said[name])} labels", f"{len(true[name])}, one for a frame")
    known = {label for labels in true.values() for label in labels if isinstance(label, int)}
    number = background.isascii() and background.isdecimal() and int(background) in known
    return action_segmentation(said, true, background=int(background) if number else background)


def _folder(folder: Path) -> Labels:
    found: Labels = {}
    for file in sorted(folder.glob("*.txt")):
        lines = [line.strip() for line in read_text(file, "list of labels").rstrip().split("\n")]
        for number, line in enumerate(lines, 1):
            if not line:
                raise InputError(f"{file}, line {number}: no label", "a label for every frame")
        found[file.stem] = list(lines)
    if not found:
        raise InputError(f"no <video>.txt in {folder}", "a file of labels for each video")
    return found


def _labels(found: Any, path: Path) -> Labels:
    if not isinstance(found, Mapping):
        raise InputError(f"{path}: a {type(found).__name__}", "an object: video to a list of labels")
    videos: Labels = {}
    for name, labels in found.items():
        if not isinstance(labels, list) or not labels:
            raise InputError(f"{path}: video {name!r}: {str(labels)[:40]!r}", "a list with a label for every frame")
        for frame, label in enumerate(labels):
            if label is not None and (not isinstance(label, (str, int)) or isinstance(label, bool)):
                raise InputError(
                    f"{path}: video {name!r}, frame {frame}: label {str(label)[:40]!r}", "a string, a number or null"
                )
        videos[name] = [NOTHING if label is None else label for label in labels]
    return videos


def _coin(path: Path, rate: Any, what: str) -> Labels:
    """The step of every frame; where two overlap, the one that starts later."""
    from whenwhere.datasets.coin import read

    frames = float(numbers(rate, what))
    if not 0 < frames <= 1000:
        raise InputError(f"{what} {frames:g}", "frames a second, above 0 and at most 1000")
    found: Labels = {}
    for video in read(path):
        labels: list[str | int] = [NOTHING] * _first(video.duration, frames)
        for step in sorted(video.steps, key=lambda step: step.start):
            first, end = _first(step.start, frames), _first(step.end, frames)
            labels[first:end] = [int(step.id or 0)] * (end - first)
        found[video.video] = labels
    return found


def _first(seconds: float, rate: float) -> int:
    """The first frame at or after a time."""
    return max(0, math.ceil(seconds * rate - _SLACK))
