"""COIN: how-to videos of tasks, with segments of numbered steps.

Source: Tang et al., "COIN: A Large-scale Dataset for Comprehensive Instructional Video Analysis", CVPR 2019.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass

from whenwhere.datasets.fields import Field, read_json
from whenwhere.datasets.lines import span_of
from whenwhere.errors import InputError
from whenwhere.results import Event
from whenwhere.results.files import write_text

SUBSETS = ("training", "validation", "testing")
"""Some copies of the file call the test videos "validation"."""


@dataclass(frozen=True)
class CoinVideo:
    """A video of a task.

    Args:
        video: its name.
        duration: seconds.
        task: name of the task, "class" in the file.
        subset: one of `SUBSETS`.
        start, end: seconds of the part that shows the task.
        steps: in the order of the file; the text is the step, the id its number.
        recipe: number of the task, "recipe_type" in the file.
        url: where the video was.
    """

    video: str
    duration: float
    task: str
    subset: str
    start: float
    end: float
    steps: tuple[Event, ...]
    recipe: int
    url: str = ""


def read(path: str | os.PathLike[str]) -> list[CoinVideo]:
    """Read ``COIN.json``; times are put in order and clipped to the video.

    Raises:
        InputError: naming the video and the field that is missing or malformed, or a step number with two labels.
    """
    labels: dict[int, str] = {}
    return [
        _video(name, entry, labels) for name, entry in read_json(path, "file of steps")["database"].entries().items()
    ]


def write(path: str | os.PathLike[str], videos: Iterable[CoinVideo]) -> None:
    """Write a file in the form of ``COIN.json``.

    Raises:
        InputError: a step has no number.
    """
    rows = {}
    for item in videos:
        steps = []
        for step in item.steps:
            if step.id is None:
                raise InputError(f"step {step.text!r} of {item.video} has no id", "the number of each step")
            steps.append({"id": str(step.id), "segment": [step.start, step.end], "label": step.text})
        rows[item.video] = {
            "recipe_type": item.recipe,
            "annotation": steps,
            "subset": item.subset,
            "video_url": item.url,
            "start": item.start,
            "end": item.end,
            "duration": item.duration,
            "class": item.task,
        }
    write_text(path, json.dumps({"database": rows}, indent=1) + "\n")


def _video(name: str, entry: Field, labels: dict[int, str]) -> CoinVideo:
    duration = entry["duration"].number()
    if duration <= 0:
        raise entry["duration"].refuse("seconds above 0")
    steps = []
    for item in entry["annotation"].items():
        number, label = _step_number(item["id"]), item["label"].text()
        if labels.setdefault(number, label) != label:
            raise InputError(f"{item['label'].place} of step {number} is {label!r}", f"{labels[number]!r}, as before")
        steps.append(Event(*span_of(item["segment"], duration), label, id=number))
    start, end = (min(duration, max(0.0, entry[side].number())) for side in ("start", "end"))
    if start > end:
        raise entry["start"].refuse(f"at most the end, {end:g}")
    return CoinVideo(
        name,
        duration,
        entry["class"].text(),
        entry["subset"].text(SUBSETS),
        start,
        end,
        tuple(steps),
        entry["recipe_type"].whole(0),
        entry["video_url"].text() if entry.has("video_url") else "",
    )


def _step_number(field: Field) -> int:
    """A step's number, which the file writes as a string."""
    text = str(field.value) if isinstance(field.value, int) and not isinstance(field.value, bool) else field.text()
    if not (text.isascii() and text.isdecimal()) or len(text) > 9:
        raise field.refuse("the number of a step")
    return int(text)
