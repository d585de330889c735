"""SubRip (.srt): the subtitle format that every player reads, written from events and read back."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from whenwhere.reports import cues
from whenwhere.results import Event
from whenwhere.results.files import read_text, write_text

# SRT has no escapes. What would be read as a formatting tag, an override or a timing line is broken by a zero-width
# space, which no reader sees, and mended again by `parse`.
_GUARD = "\u200b"
_TAG = r"/?(?:b|i|u|s|font)(?:\s[^<>]*)?>"
_OVERRIDE = r"\\[^{}]*\}"
_RISKY = re.compile(rf"<(?={_GUARD}*{_TAG})|\{{(?={_GUARD}*{_OVERRIDE})|--(?={_GUARD}*>)", re.IGNORECASE)
_GUARDED = re.compile(rf"(<(?={_GUARD}+{_TAG})|\{{(?={_GUARD}+{_OVERRIDE})|--(?={_GUARD}+>)){_GUARD}", re.IGNORECASE)
_FORMATTING = re.compile(rf"<{_TAG}|\{{{_OVERRIDE}", re.IGNORECASE)


def format(events: Iterable[Event]) -> str:
    """Return the SRT text of events, in order of time, numbered from 1.

    Times are rounded to milliseconds; ids and scores have no place in the format.

    Raises:
        InputError: an event ends later than a subtitle file can say.
    """
    parts = []
    for number, event in enumerate(cues.in_order(events), 1):
        text = _RISKY.sub(lambda found: found[0] + _GUARD, cues.tidy(event.text))
        parts.append(f"{number}\n{cues.timing(event, ',')}\n" + (f"{text}\n" if text else ""))
    return "\n".join(parts)


def parse(text: str) -> tuple[Event, ...]:
    """Return the events of an SRT document, sorted by start, then end.

    Byte order mark, any line ends, missing hours, a point for the comma, missing numbers, overlapping cues and
    coordinates after the times are understood. Tags (``<i>``, ``<font ...>``) and overrides (``{\\an8}``) are dropped.

    Raises:
        InputError: the text is not SRT; names the line.
    """
    events = []
    for block in cues.blocks(enumerate(cues.split_lines(text), 1), lambda line: not line.strip()):
        for cue in cues.read_block(block, is_label=lambda line: re.fullmatch(r"\s*\d+\s*", line, re.ASCII) is not None):
            plain = _FORMATTING.sub("", "\n".join(cue.lines))
            events.append(Event(cue.start, cue.end, cues.tidy(_GUARDED.sub(r"\1", plain))))
    return cues.in_order(events)


def write(events: Iterable[Event], path: str | os.PathLike[str]) -> None:
    """Write events to an SRT file, whole or not at all; see :func:`format`."""
    write_text(path, format(events))


def read(path: str | os.PathLike[str]) -> tuple[Event, ...]:
    """Return the events of an SRT file; see :func:`parse`."""
    return parse(read_text(path, "SRT file"))
