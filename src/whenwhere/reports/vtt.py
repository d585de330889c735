"""WebVTT (https://www.w3.org/TR/webvtt1/): the subtitle format of browsers, written from events and read back."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Iterable

from whenwhere.errors import InputError
from whenwhere.reports import cues
from whenwhere.results import Event
from whenwhere.results.files import read_text, write_text


def format(events: Iterable[Event]) -> str:
    """Return the WebVTT text of events, in order of time.

    Times are rounded to milliseconds, ``Event.id`` becomes the cue's identifier; scores have no place in the format.

    Raises:
        InputError: an event ends later than a subtitle file can say.
    """
    parts = ["WEBVTT\n"]
    for event in cues.in_order(events):
        label = "" if event.id is None else f"{event.id}\n"
        text = html.escape(cues.tidy(event.text), quote=False)  # also turns "-->" into "--&gt;", which WebVTT demands
        parts.append(f"{label}{cues.timing(event, '.')}\n" + (f"{text}\n" if text else ""))
    return "\n".join(parts)


def parse(text: str) -> tuple[Event, ...]:
    """Return the events of a WebVTT document, sorted by start, then end.

    Byte order mark, any line ends, missing hours, overlapping cues, cue settings and ``NOTE``, ``STYLE`` and ``REGION``
    blocks are understood. Tags are dropped (``<v Ann>Hi</v>`` gives ``Hi``), character references resolved. A cue
    identifier that is a whole number becomes ``Event.id``.

    Raises:
        InputError: the text is not WebVTT; names the line.
    """
    lines = cues.split_lines(text)
    if not re.match(r"WEBVTT(?:[ \t]|$)", lines[0]):
        raise InputError(f"line 1 is {lines[0][:60]!r}", "WEBVTT, with which every WebVTT file starts")
    first = 1
    while first < len(lines) and lines[first] and "-->" not in lines[first]:
        first += 1  # what follows the signature up to an empty line is header
    events = []
    for block in cues.blocks(enumerate(lines[first:], first + 1), lambda line: not line):
        if re.match(r"(?:NOTE|STYLE|REGION)(?:[ \t]|$)", block[0][1]) and "-->" not in block[0][1]:
            continue
        for cue in cues.read_block(block, is_label=lambda line: re.fullmatch(r"\s*\d+\s*", line, re.ASCII) is not None):
            number = int(cue.label) if re.fullmatch(r"-?\d{1,18}", cue.label, re.ASCII) else None
            events.append(Event(cue.start, cue.end, _plain("\n".join(cue.lines)), id=number))
    return cues.in_order(events)


def write(events: Iterable[Event], path: str | os.PathLike[str]) -> None:
    """Write events to a WebVTT file, whole or not at all; see :func:`format`."""
    write_text(path, format(events))


def read(path: str | os.PathLike[str]) -> tuple[Event, ...]:
    """Return the events of a WebVTT file; see :func:`parse`."""
    return parse(read_text(path, "WebVTT file"))


def _plain(text: str) -> str:
    """Return cue text without tags; a tag that is never closed runs to the end of the cue, as in browsers."""
    return cues.tidy(html.unescape(re.sub(r"<[^>]*(?:>|$)", "", text)))
