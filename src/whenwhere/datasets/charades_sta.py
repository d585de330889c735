"""Charades-STA: a sentence and the one moment of a video that it describes, a line each.

A line is ``VIDEO start end##sentence``; the lengths of the videos are in the CSV files of Charades (columns ``id`` and
``length``). Source: Gao, Sun, Yang and Nevatia, "TALL: Temporal Activity Localization via Language Query", ICCV 2017.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from whenwhere.errors import InputError
from whenwhere.results import Event, checks
from whenwhere.results.files import read_text, write_text

_MARK = "##"


@dataclass(frozen=True)
class CharadesMoment:
    """A moment of a video.

    Args:
        video: its name, without suffix.
        event: start and end in seconds, the sentence, and the number of the line, from 0, as its id.
        duration: of the video in seconds; None if no lengths were given.
    """

    video: str
    event: Event
    duration: float | None = None


def read(path: str | os.PathLike[str], durations: Mapping[str, float] | None = None) -> list[CharadesMoment]:
    """Read the moments of a split.

    Args:
        path: the text file.
        durations: seconds by video, from :func:`read_durations`; ends beyond them are clipped.

    Raises:
        InputError: naming the line that is malformed or whose video has no length.
    """
    found: list[CharadesMoment] = []
    for number, line in enumerate(read_text(path, "list of moments").split("\n"), 1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        head, mark, sentence = line.partition(_MARK)
        words = head.split()
        if not mark or len(words) != 3:
            raise InputError(f"{place}: {checks.short(line)}", "VIDEO start end##sentence")
        video, duration = words[0], None
        if durations is not None:
            if video not in durations:
                raise InputError(f"{place}: no length of the video {video}", "a row for it in the CSV file of lengths")
            duration = durations[video]
        start, end = sorted(checks.number(f"{place}: time", word, least=0.0) for word in map(_number, words[1:]))
        if duration is not None:
            start, end = min(start, duration), min(end, duration)
        found.append(CharadesMoment(video, Event(start, end, sentence.strip(), id=len(found)), duration))
    return found


def read_durations(path: str | os.PathLike[str]) -> dict[str, float]:
    """Read the length of each video in seconds from a CSV file of Charades.

    Raises:
        InputError: a column is missing, or a length is not a number above 0, with its line.
    """
    rows = csv.DictReader(io.StringIO(read_text(path, "CSV file of lengths"), newline=""))
    found = {}
    try:
        missing = {"id", "length"} - set(rows.fieldnames or ())
        if missing:
            raise InputError(f"{path}, line 1: no column {', '.join(sorted(missing))}", "columns id and length")
        for row in rows:
            length = checks.number(f"{path}, line {rows.line_num}: length", _number(row["length"]))
            if length <= 0:
                raise InputError(f"{path}, line {rows.line_num}: length {length:g}", "seconds above 0")
            found[row["id"]] = length
    except csv.Error as error:
        raise InputError(f"{path}, line {rows.line_num}: {error}", "a CSV file") from None
    return found


def write(path: str | os.PathLike[str], moments: Iterable[CharadesMoment]) -> None:
    """Write the moments of a split.

    Raises:
        InputError: a name or a sentence does not fit the form.
    """
    lines = []
    for number, item in enumerate(moments):
        text = item.event.text
        if item.video.split() != [item.video] or _MARK in item.video or "\n" in text or text != text.strip():
            raise InputError(f"moment {number} is of {item.video!r}: {checks.short(text)}", "a name and a sentence")
        lines.append(f"{item.video} {item.event.start!r} {item.event.end!r}{_MARK}{text}\n")
    write_text(path, "".join(lines))


def write_durations(path: str | os.PathLike[str], durations: Mapping[str, float]) -> None:
    """Write the lengths of videos in seconds as a CSV file with the columns ``id`` and ``length``."""
    out = io.StringIO(newline="")
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(("id", "length"))
    rows.writerows(durations.items())
    write_text(path, out.getvalue())


def _number(word: str | None) -> float | str:
    try:
        return float(word or "")
    except ValueError:
        return str(word)  # refused by the caller, who knows the line
