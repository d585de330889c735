"""Video Localized Narratives: what each actor of a video does, spoken over its key frames while the mouse points.

One JSON object for each video and annotator a line. This is another form than that of pictures: times are milliseconds
(of words since the start of the recording, of the mouse since 1970), points belong to key frames, and words are places
in the caption. Source: Voigtlaender, Changpinyo, Pont-Tuset, Soricut and Ferrari, "Connecting Vision and Language with
Video Localized Narratives", CVPR 2023.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from whenwhere.datasets.fields import Field
from whenwhere.datasets.lines import read_lines
from whenwhere.results import Word


@dataclass(frozen=True)
class TracePoint:
    """Where the mouse was.

    Args:
        x, y: in parts of the picture's width and height.
        time: seconds since the start of the recording.
        keyframe: place of the picture in `VideoNarrative.keyframes`.
    """

    x: float
    y: float
    time: float
    keyframe: int


@dataclass(frozen=True)
class ActorNarrative:
    """What was said of one actor.

    Args:
        actor: its name, such as "Tiger one".
        caption: the whole text.
        words: with start and end in seconds since the start of the recording.
        places: first character, and the one after the last, of each word in the caption.
        nouns: the same of each noun.
        keyframes: the key frames that were chosen for the actor.
        strokes: the path of the mouse.
    """

    actor: str
    caption: str
    words: tuple[Word, ...]
    places: tuple[tuple[int, int], ...]
    nouns: tuple[tuple[int, int], ...]
    keyframes: tuple[int, ...]
    strokes: tuple[tuple[TracePoint, ...], ...]


@dataclass(frozen=True)
class VideoNarrative:
    """What one annotator said of one video.

    Args:
        number: of the narrative.
        dataset: name of the set.
        video: id of the video.
        annotator: number of who spoke.
        keyframes: names of the pictures.
        actors: what was said of each.
    """

    number: int
    dataset: str
    video: str
    annotator: int
    keyframes: tuple[str, ...]
    actors: tuple[ActorNarrative, ...]


def read(path: str | os.PathLike[str]) -> list[VideoNarrative]:
    """Read a file of narratives.

    Raises:
        InputError: naming the line and the field that is missing or malformed.
    """
    found = []
    for line in read_lines(path, "file of narratives"):
        frames = tuple(item.text() for item in line["keyframe_names"].items())
        actors = tuple(_actor(item, len(frames)) for item in line["actor_narratives"].items())
        found.append(
            VideoNarrative(
                line["vidln_id"].whole(0),
                line["dataset_id"].text(),
                line["video_id"].text(),
                line["annotator_id"].whole(0),
                frames,
                actors,
            )
        )
    return found


def _actor(item: Field, frames: int) -> ActorNarrative:
    caption = item["caption"].text()
    begin = item["recording_start_time_ms_since_epoch"].number()
    words, places = [], []
    for word in item["time_alignment"].items():
        start, end = word["start_ms"].number() / 1000, word["end_ms"].number() / 1000
        if not 0 <= start <= end:
            raise word["end_ms"].refuse("at least the start, which is at least 0")
        first = word["referenced_word_start_idx"].whole(0, len(caption))
        last = word["referenced_word_end_idx"].whole(first, len(caption))
        words.append(Word(word["referenced_word"].text(), start=start, end=end))
        places.append((first, last))
    strokes = []
    for stroke in item["traces"].items():
        points = []
        for point in stroke.items():
            time = (point["time_ms_since_epoch"].number() - begin) / 1000
            frame = point["kf_idx"].whole(0, frames - 1)
            points.append(TracePoint(point["x"].number(), point["y"].number(), time, frame))
        strokes.append(tuple(points))
    return ActorNarrative(
        item["actor_name"].text(),
        caption,
        tuple(words),
        tuple(places),
        tuple(_span(field, len(caption)) for field in item["noun_segments"].items()),
        tuple(field.whole(0, frames - 1) for field in item["keyframe_selection_indices"].items()),
        tuple(strokes),
    )


def _span(field: Field, length: int) -> tuple[int, int]:
    first, last = field.items(2)
    start = first.whole(0, length)
    return start, last.whole(start, length)
