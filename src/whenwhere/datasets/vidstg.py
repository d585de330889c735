"""VidSTG: sentences and questions about one object of a video during a span; VidOR: the boxes of all objects.

VidSTG (Zhang et al., CVPR 2020) gives the span and the object's number, VidOR (Shang et al., ICMR 2019) where the
objects with these numbers are, in a file for each video.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from whenwhere.datasets.fields import Field, read_json
from whenwhere.results import Track

_SIDES = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class TubeQuery:
    """A sentence or a question about an object during a span.

    Args:
        video: name.
        text: what is said or asked.
        question: whether it is a question, whose answer is the object.
        target: number of the object in `VidorVideo.tracks`.
        category: of the object.
        start: number of the first frame of the span.
        end: number of the first frame after it.
        frames: of the video.
        rate: frames per second.
    """

    video: str
    text: str
    question: bool
    target: int
    category: str
    start: int
    end: int
    frames: int
    rate: float


@dataclass(frozen=True)
class VidorVideo:
    """The objects of a video.

    Args:
        video: name.
        path: of the video's file.
        frames: in the video.
        rate: frames per second.
        width, height: pixels.
        categories: of each object by its number.
        tracks: of the objects that have boxes, by number; their text is the category.
    """

    video: str
    path: str
    frames: int
    rate: float
    width: int
    height: int
    categories: dict[int, str]
    tracks: tuple[Track, ...]


def read(path: str | os.PathLike[str]) -> list[TubeQuery]:
    """Read annotations of VidSTG: of each entry first its captions, then its questions.

    Raises:
        InputError: the file is missing or malformed; with the field.
    """
    found = []
    for entry in read_json(path, "VidSTG file").items():
        frames, rate = entry["frame_count"].whole(1), _rate(entry)
        span = entry["temporal_gt"]
        start = span["begin_fid"].whole(0, frames - 1)
        end = span["end_fid"].whole(start + 1, frames)
        things = _categories(entry)
        for kind in ("captions", "questions"):
            for item in entry[kind].items():
                target = item["target_id"].whole(0)
                if target not in things:
                    raise item["target_id"].refuse("the number of an object of the video")
                text = item["description"].text()
                name = entry["vid"].text()
                asked = kind == "questions"
                found.append(TubeQuery(name, text, asked, target, things[target], start, end, frames, rate))
    return found


def read_boxes(path: str | os.PathLike[str]) -> VidorVideo:
    """Read the objects of a video from a file of VidOR.

    Raises:
        InputError: the file is missing or malformed; with the field.
    """
    root = read_json(path, "VidOR file")
    frames, rate, things = root["frame_count"].whole(1), _rate(root), _categories(root)
    known: dict[int, tuple[list[int], list[list[float]]]] = {number: ([], []) for number in things}
    for frame, boxes in enumerate(root["trajectories"].items(frames)):
        for item in boxes.items():
            number = item["tid"].whole(0)
            if number not in known or frame in known[number][0][-1:]:
                raise item["tid"].refuse("the number of an object of the video, once in a frame")
            known[number][0].append(frame)
            known[number][1].append([item["bbox"][side].number() for side in _SIDES])
    tracks = tuple(
        Track(number, np.array(at) / rate, np.array(boxes), things[number], frames=np.array(at))
        for number, (at, boxes) in known.items()
        if at
    )
    size = root["width"].whole(1), root["height"].whole(1)
    return VidorVideo(root["video_id"].text(), root["video_path"].text(), frames, rate, *size, things, tracks)


def _rate(entry: Field) -> float:
    rate = entry["fps"].number()
    if rate <= 0:
        raise entry["fps"].refuse("frames per second, above 0")
    return rate


def _categories(entry: Field) -> dict[int, str]:
    return {item["tid"].whole(0): item["category"].text() for item in entry["subject/objects"].items()}
