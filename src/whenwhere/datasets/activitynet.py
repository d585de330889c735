"""ActivityNet: sentences with times (Captions), and segments of action classes (1.3).

Sources: Krishna et al., "Dense-Captioning Events in Videos", ICCV 2017; Caba Heilbron et al., "ActivityNet: A
Large-Scale Video Benchmark for Human Activity Understanding", CVPR 2015. YouCook2 is passed around in the form of
Captions.
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


@dataclass(frozen=True)
class CaptionedVideo:
    """A video with a sentence for each of its events.

    Args:
        video: its name.
        duration: seconds.
        events: in the order of the file; the text is the sentence, the id its place in the file.
    """

    video: str
    duration: float
    events: tuple[Event, ...]


@dataclass(frozen=True)
class ActivityVideo:
    """A video with segments of action classes.

    Args:
        video: its name.
        duration: seconds.
        subset: one of `SUBSETS`.
        events: in the order of the file; the text is the class; none in a test set without answers.
        resolution: as the file has it, such as "1280x720".
        url: where the video was.
    """

    video: str
    duration: float
    subset: str
    events: tuple[Event, ...]
    resolution: str = ""
    url: str = ""


@dataclass(frozen=True)
class ActivityNode:
    """A node of the tree of classes; the root has neither parent nor name of one."""

    id: int
    name: str
    parent: int | None
    parent_name: str | None


@dataclass(frozen=True)
class ActivityNet:
    """A file of segments.

    Args:
        version: of the file.
        taxonomy: the tree of classes.
        videos: in the order of the file.
    """

    version: str
    taxonomy: tuple[ActivityNode, ...]
    videos: tuple[ActivityVideo, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes that occur in the annotations, sorted; 200 in the real file."""
        return tuple(sorted({event.text for video in self.videos for event in video.events}))


def read_captions(path: str | os.PathLike[str]) -> list[CaptionedVideo]:
    """Read a file of ActivityNet Captions; sentences are stripped, times put in order and clipped to the video.

    Raises:
        InputError: naming the video and the field that is missing or malformed.
    """
    found = []
    for name, entry in read_json(path, "file of captions").entries().items():
        duration = _duration(entry)
        spans = entry["timestamps"].items()
        texts = entry["sentences"].items(len(spans))
        events = tuple(
            Event(*span_of(span, duration), text.text().strip(), id=number)
            for number, (span, text) in enumerate(zip(spans, texts, strict=True))
        )
        found.append(CaptionedVideo(name, duration, events))
    return found


def write_captions(path: str | os.PathLike[str], videos: Iterable[CaptionedVideo]) -> None:
    """Write a file of ActivityNet Captions."""
    rows = {
        item.video: {
            "duration": item.duration,
            "timestamps": [[event.start, event.end] for event in item.events],
            "sentences": [event.text for event in item.events],
        }
        for item in videos
    }
    write_text(path, json.dumps(rows, indent=1) + "\n")


def read(path: str | os.PathLike[str]) -> ActivityNet:
    """Read a file of segments, such as ``activity_net.v1-3.min.json``; times are tidied as in Captions.

    Raises:
        InputError: naming the video and the field that is missing or malformed.
    """
    root = read_json(path, "file of segments")
    nodes = []
    for item in root["taxonomy"].items():
        top = item["parentId"].value is None
        parent = None if top else item["parentId"].whole(0)
        nodes.append(
            ActivityNode(item["nodeId"].whole(0), item["nodeName"].text(), parent, _text(item, "parentName", top))
        )
    known = {node.name for node in nodes}
    videos = []
    for name, entry in root["database"].entries().items():
        duration = _duration(entry)
        events = []
        for item in entry["annotations"].items():
            label = item["label"].text()
            if known and label not in known:
                raise InputError(f"{item['label'].place} is {label!r}", "a class of the taxonomy")
            events.append(Event(*span_of(item["segment"], duration), label))
        subset = entry["subset"].text(SUBSETS)
        extra = (_text(entry, "resolution") or "", _text(entry, "url") or "")
        videos.append(ActivityVideo(name, duration, subset, tuple(events), *extra))
    return ActivityNet(root["version"].text(), tuple(nodes), tuple(videos))


def write(path: str | os.PathLike[str], data: ActivityNet) -> None:
    """Write a file of segments."""
    nodes = [
        {"nodeId": node.id, "nodeName": node.name, "parentId": node.parent, "parentName": node.parent_name}
        for node in data.taxonomy
    ]
    videos = {
        item.video: {
            "duration": item.duration,
            "subset": item.subset,
            "resolution": item.resolution,
            "url": item.url,
            "annotations": [{"segment": [event.start, event.end], "label": event.text} for event in item.events],
        }
        for item in data.videos
    }
    write_text(path, json.dumps({"version": data.version, "taxonomy": nodes, "database": videos}, indent=1) + "\n")


def _duration(entry: Field) -> float:
    duration = entry["duration"].number()
    if duration < 0:
        raise entry["duration"].refuse("seconds, 0 or more")
    return duration


def _text(entry: Field, name: str, may_be_none: bool = False) -> str | None:
    if not entry.has(name) or (may_be_none and entry[name].value is None):
        return None
    return entry[name].text()
