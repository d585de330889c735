"""QVHighlights: queries with the windows of a video that they describe, and how salient its clips are.

One JSON object a line. Source: Lei, Berg and Bansal, "QVHighlights: Detecting Moments and Highlights in Videos via
Natural Language Queries", NeurIPS 2021. Other moment sets are passed around in the same form, without the clips.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from whenwhere.datasets.fields import Field
from whenwhere.datasets.lines import read_lines, span_of, write_lines
from whenwhere.errors import InputError
from whenwhere.results import Event

CLIP = 2.0
"""Seconds of a clip that is rated."""
ANNOTATORS = 3
BEST = 4
"""Highest rating; 0 is the lowest."""


@dataclass(frozen=True)
class MomentQuery:
    """A query and where it is true.

    Args:
        qid: number of the query.
        query: words.
        duration: of the video, seconds.
        video: name of the video, without suffix.
        windows: (start, end) in seconds; None in a file without answers, as that of the test split.
        clips: numbers of the relevant clips of `CLIP` seconds, from 0; None where they are not given.
        saliency: for each of these clips a rating from 0 to `BEST` of each annotator; None where not given.
    """

    qid: int
    query: str
    duration: float
    video: str
    windows: tuple[tuple[float, float], ...] | None = None
    clips: tuple[int, ...] | None = None
    saliency: tuple[tuple[int, ...], ...] | None = None

    @property
    def events(self) -> list[Event]:
        """The windows as events whose text is the query and whose id is its number."""
        return [Event(start, end, self.query, id=self.qid) for start, end in self.windows or ()]


def read(path: str | os.PathLike[str]) -> list[MomentQuery]:
    """Read a file of queries; ends beyond the video are clipped and swapped ends put in order.

    Raises:
        InputError: naming the line and the field that is missing or malformed, or a query number that comes twice.
    """
    found = []
    seen: set[int] = set()
    for line in read_lines(path, "file of queries"):
        query = _query(line)
        if query.qid in seen:
            raise InputError(f"{line['qid'].place} {query.qid} comes twice", "each number once")
        seen.add(query.qid)
        found.append(query)
    return found


def write(path: str | os.PathLike[str], queries: Iterable[MomentQuery]) -> None:
    """Write a file of queries, one a line."""
    rows = []
    for item in queries:
        row = {"qid": item.qid, "query": item.query, "duration": item.duration, "vid": item.video}
        for name, value in (
            ("relevant_windows", item.windows),
            ("relevant_clip_ids", item.clips),
            ("saliency_scores", item.saliency),
        ):
            if value is not None:
                row[name] = value
        rows.append(row)
    write_lines(path, rows)


def _query(line: Field) -> MomentQuery:
    duration = line["duration"].number()
    if duration <= 0:
        raise line["duration"].refuse("seconds above 0")
    windows = clips = saliency = None
    if line.has("relevant_windows"):
        windows = tuple(span_of(item, duration) for item in line["relevant_windows"].items())
    if line.has("relevant_clip_ids"):
        clips = tuple(item.whole(0) for item in line["relevant_clip_ids"].items())
    if line.has("saliency_scores"):
        rows = line["saliency_scores"].items(None if clips is None else len(clips))
        saliency = tuple(tuple(score.whole(0, BEST) for score in row.items(ANNOTATORS)) for row in rows)
    return MomentQuery(
        line["qid"].whole(0), line["query"].text(), duration, line["vid"].text(), windows, clips, saliency
    )
