"""Localized Narratives: a spoken description of a picture, with the time of each word and the path of the mouse.

One JSON object a line. Source: Pont-Tuset, Uijlings, Changpinyo, Soricut and Ferrari, "Connecting Vision and Language
with Localized Narratives", ECCV 2020. Those of videos are another form: `whenwhere.datasets.video_narratives`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from whenwhere.datasets.fields import Field
from whenwhere.datasets.lines import read_lines, write_lines
from whenwhere.errors import InputError
from whenwhere.results import Word

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Narrative:
    """What one annotator said of one picture.

    Args:
        dataset: name of the set and split, such as "mscoco_val2017".
        image: id of the picture; for COCO a number without leading zeros.
        annotator: number of who spoke.
        caption: the whole text.
        words: utterances, mostly one word each, with start and end in seconds and no place.
        strokes: paths of the mouse, each of points (x, y, t): x and y in parts of the picture's width and height, a
            little outside 0..1 at times, t in seconds.
        recording: where the sound is.
    """

    dataset: str
    image: str
    annotator: int
    caption: str
    words: tuple[Word, ...]
    strokes: tuple[tuple[Point, ...], ...]
    recording: str = ""

    def paths(self, count: int = 16) -> np.ndarray:
        """Return where the mouse was while each word was said.

        Args:
            count: of times, even from the start to the end of the word.

        Returns:
            (words, count, 2) float64, x and y in parts of width and height, linear between the points of the path;
            before the first and after the last point the path goes on straight.

        Raises:
            InputError: the path has fewer than two times.
        """
        points = np.array([point for stroke in self.strokes for point in stroke], np.float64).reshape(-1, 3)
        times, first = np.unique(points[:, 2], return_index=True)
        if len(times) < 2:
            raise InputError(f"the trace of {self.image} has {len(times)} times", "two or more", "leave it out")
        at = np.array([np.linspace(word.start or 0.0, word.end or 0.0, count) for word in self.words])
        at = at.reshape(len(self.words), count)
        left = np.clip(np.searchsorted(times, at, "right") - 1, 0, len(times) - 2)
        part = ((at - times[left]) / (times[left + 1] - times[left]))[..., None]
        places = points[first, :2]
        return places[left] * (1 - part) + places[left + 1] * part

    def placed(self, width: int, height: int) -> list[Word]:
        """Return the words with the mean place of the mouse while they were said, in pixels of the picture.

        Raises:
            InputError: the path has fewer than two times.
        """
        paths = self.paths()
        middles = (paths[:, :-1] + paths[:, 1:]).mean(axis=1) / 2 * (width, height)  # the trapezoid rule
        return [
            Word(word.text, x, y, word.start, word.end)
            for word, (x, y) in zip(self.words, middles.tolist(), strict=True)
        ]


def read(path: str | os.PathLike[str]) -> list[Narrative]:
    """Read a file of narratives.

    Raises:
        InputError: naming the line and the field that is missing or malformed.
    """
    return [_narrative(line) for line in read_lines(path, "file of narratives")]


def write(path: str | os.PathLike[str], narratives: Iterable[Narrative]) -> None:
    """Write a file of narratives, one a line."""
    write_lines(
        path,
        (
            {
                "dataset_id": item.dataset,
                "image_id": item.image,
                "annotator_id": item.annotator,
                "caption": item.caption,
                "timed_caption": [
                    {"utterance": word.text, "start_time": word.start, "end_time": word.end} for word in item.words
                ],
                "traces": [[dict(zip("xyt", point, strict=True)) for point in stroke] for stroke in item.strokes],
                "voice_recording": item.recording,
            }
            for item in narratives
        ),
    )


def _narrative(line: Field) -> Narrative:
    words = []
    for item in line["timed_caption"].items():
        start, end = item["start_time"].number(), item["end_time"].number()
        if not 0 <= start <= end:
            raise item["end_time"].refuse(f"at least the start, {start:g}, which is at least 0")
        words.append(Word(item["utterance"].text(), start=start, end=end))
    strokes = tuple(
        tuple((point["x"].number(), point["y"].number(), point["t"].number()) for point in stroke.items())
        for stroke in line["traces"].items()
    )
    return Narrative(
        line["dataset_id"].text(),
        line["image_id"].text(),
        line["annotator_id"].whole(0),
        line["caption"].text(),
        tuple(words),
        strokes,
        line["voice_recording"].text() if line.has("voice_recording") else "",
    )
