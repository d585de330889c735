"""Files that tracking is scored from: MOTChallenge text, and the COCO-like JSON of Dense Video Object Captioning."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from whenwhere.errors import InputError
from whenwhere.metrics.files import read_json, read_records, reading
from whenwhere.metrics.records import field_of, id_of, numbers, place_of
from whenwhere.metrics.result import Result
from whenwhere.metrics.tracking import tracking
from whenwhere.metrics.tracks import Detections
from whenwhere.reports import mot
from whenwhere.results import Track

PathLike = str | os.PathLike[str]


def read_mot(truth: PathLike, predictions: PathLike) -> dict[str, tuple[Detections, Detections]]:
    """Videos from MOTChallenge text files (:mod:`whenwhere.reports.mot`).

    True boxes with confidence 0 are left out, as the format says they do not count. Classes are not looked at.

    Args:
        truth: one file, or a folder of files ``<video>.txt`` or of ``<video>/gt/gt.txt``.
        predictions: one file, or a folder of files ``<video>.txt``; one for every video of the truth.

    Returns:
        ``(truth, predictions)`` by video, as the tracking scorers take them.

    Raises:
        InputError: naming file and line, or the video without predictions.
    """
    return {
        name: (true.keep(counts), predicted) for name, (true, predicted, counts) in _mot(truth, predictions).items()
    }


def score_mot(gt: Sequence[Path], pred: Path) -> Result:
    """Score the tracks of MOTChallenge text files.

    Args:
        gt: one truth, as :func:`read_mot` takes it.
        pred: the predictions.

    Returns:
        See :func:`whenwhere.metrics.tracking.tracking`; true boxes that do not count are told in the counts.

    Raises:
        InputError: naming file and line, or the video without predictions.
    """
    videos = _mot(gt[0], pred)
    result = tracking({name: (true.keep(counts), predicted) for name, (true, predicted, counts) in videos.items()})
    ignored = sum(int((~counts).sum()) for _, _, counts in videos.values())
    return replace(result, counts={**result.counts, "true boxes of confidence 0, which do not count": ignored})


def _mot(truth: PathLike, predictions: PathLike) -> dict[str, tuple[Detections, Detections, np.ndarray]]:
    """Both sides of every video, and which true boxes count: bool ``(n,)``."""
    true, predicted = Path(truth), Path(predictions)
    if true.is_dir() != predicted.is_dir():
        raise InputError(f"{true} and {predicted}", "two files or two folders")
    if not true.is_dir():
        return {true.stem: _mot_video(true, predicted)}
    files = {file.stem: file for file in true.glob("*.txt")}
    files |= {file.parts[-3]: file for file in true.glob("*/gt/gt.txt")}
    if not files:
        raise InputError(f"no ground truth in {true}", "files <video>.txt or <video>/gt/gt.txt")
    if unknown := sorted({file.stem for file in predicted.glob("*.txt")} - files.keys()):
        raise InputError(f"predictions for video {unknown[0]!r}", "videos of the truth", "leave them out")
    return {name: _mot_video(file, predicted / f"{name}.txt") for name, file in sorted(files.items())}


def read_dense_voc(truth: PathLike, predictions: PathLike) -> dict[str, tuple[Detections, Detections]]:
    """Videos with captions from the JSON of Dense Video Object Captioning.

    A predicted box with track id 0 has no track; it gets an identity of its own.

    Args:
        truth: ``{"images": [{"id", "video_id"}], "annotations": [{"image_id", "track_id", "bbox": [x, y, w, h],
            "caption"}]}``; a caption may be empty or missing.
        predictions: ``[{"image_id", "track_id", "bbox", "score", "caption"}]``.

    Returns:
        ``(truth, predictions)`` by video id, as :func:`whenwhere.metrics.chota.chota` takes them.

    Raises:
        InputError: naming file and record.
    """
    root, boxes = read_json(Path(truth)), read_records(Path(predictions))
    images = field_of(root, "images", str(truth))
    video: dict[int | str, str] = {}
    for index, image in enumerate(images if isinstance(images, list) else []):
        place = f"{truth}: image {index}"
        number = id_of(image, "id", place)
        if number in video:
            raise InputError(f"{place}: id {number!r} for the second time", "every id once")
        video[number] = str(id_of(image, "video_id", place))
    if not video:
        raise InputError(f"{truth}: no images", "a list of images with id and video_id")
    ordered = sorted(video, key=lambda number: (isinstance(number, str), number))
    frames = {number: place for place, number in enumerate(ordered)}
    sides = []
    annotations = field_of(root, "annotations", str(truth))
    if not isinstance(annotations, list):
        raise InputError(f"{truth}: annotations that are a {type(annotations).__name__}", "a list")
    for records, place, scored in ((annotations, f"{truth}: annotation", False), (boxes, f"{predictions}: box", True)):
        rows: dict[str, list[dict[str, Any]]] = {name: [] for name in video.values()}
        for index, record in enumerate(records):
            here = place_of(record, f"{place} {index}")
            image = id_of(record, "image_id", here)
            if image not in video:
                raise InputError(f"{here}: image_id {image!r}", "the id of an image of the ground truth")
            rows[video[image]].append(_dense_voc_box(record, frames[image], here, scored, index))
        with reading(Path(predictions if scored else truth)):
            sides.append({name: Detections.from_records(found) for name, found in rows.items()})
    return {name: (sides[0][name], sides[1][name]) for name in sides[0]}


def _dense_voc_box(record: Mapping[str, Any], frame: int, place: str, scored: bool, index: int) -> dict[str, Any]:
    x, y, width, height = numbers(field_of(record, "bbox", place), f"{place}: bbox", (4,)).tolist()
    if width < 0 or height < 0:
        raise InputError(f"{place}: bbox is {width:g} x {height:g}", "x, y, width, height with no negative size")
    track = field_of(record, "track_id", place)
    if not isinstance(track, int) or isinstance(track, bool):
        raise InputError(f"{place}: track_id {track!r}", "a whole number")
    caption = record.get("caption", "")
    if not isinstance(caption, str):
        raise InputError(f"{place}: caption {caption!r}", "a string, empty where nothing is said")
    identity: int | str = f"untracked {index}" if scored and track == 0 else track
    box = {"frame": frame, "id": identity, "box": [x, y, x + width, y + height], "caption": caption}
    return box | ({"score": float(numbers(field_of(record, "score", place), f"{place}: score"))} if scored else {})


def _mot_video(truth: Path, predictions: Path) -> tuple[Detections, Detections, np.ndarray]:
    true, predicted = _mot_tracks(truth), _mot_tracks(predictions)
    confidence = [np.ones(len(track)) if track.scores is None else track.scores for track in true]
    counts = np.concatenate([np.empty(0), *confidence]) != 0
    return Detections.from_tracks(true), Detections.from_tracks(predicted), counts


def _mot_tracks(file: Path) -> tuple[Track, ...]:
    with reading(file):
        return mot.read(file, rate=1.0)
