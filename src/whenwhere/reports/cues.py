"""What WebVTT and SRT have in common: timed blocks of text. :mod:`whenwhere.reports.vtt` and ``srt`` add the rest."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from whenwhere.errors import InputError
from whenwhere.results import Event

_STAMP = r"(?:(\d{1,9}):)?(\d{1,2}):(\d{1,2})(?:[.,](\d{1,3}))?"
_TIMING = re.compile(rf"\s*{_STAMP}\s*-->\s*{_STAMP}(?:\s.*)?", re.ASCII)
_LAST = (
    999_999_999 * 3600 + 3599.999
)  # seconds: nine digits of hours, far beyond where a float still resolves milliseconds


@dataclass(frozen=True)
class Cue:
    """One block of a subtitle file: ``line`` is the number of its timing line, counted from 1."""

    line: int
    label: str
    start: float
    end: float
    lines: tuple[str, ...]


def stamp(milliseconds: int, point: str) -> str:
    """Return ``hh:mm:ss`` and three decimals behind ``point``."""
    seconds, thousandths = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{thousandths:03}"


def timing(event: Event, point: str) -> str:
    """Return the timing line of an event."""
    start, end = milliseconds(event)
    return f"{stamp(start, point)} --> {stamp(end, point)}"


def milliseconds(event: Event) -> tuple[int, int]:
    """Return start and end of an event as a subtitle file has them.

    A cue has to last, or players refuse it: an event that rounds to nothing is written one millisecond long.

    Raises:
        InputError: the event ends later than a subtitle file can say.
    """
    if event.end > _LAST:
        raise InputError(f"event ends at {event.end:g} s", f"at most {_LAST:g} s, the most a subtitle file can say")
    start = round(event.start * 1000)
    return start, max(round(event.end * 1000), start + 1)


def tidy(text: str) -> str:
    """Return the text as subtitle files can hold it: no empty lines, no space around a line, no NUL character."""
    lines = (line.strip() for line in re.split(r"\r\n|\r|\n", text.replace("\0", "\ufffd")))
    return "\n".join(line for line in lines if line)


def split_lines(text: str) -> list[str]:
    """Return the lines of a subtitle file, whatever its line ends, without byte order mark."""
    return re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff").replace("\0", "\ufffd"))


def blocks(lines: Iterable[tuple[int, str]], is_blank: Callable[[str], bool]) -> Iterator[list[tuple[int, str]]]:
    """Yield the runs of non-blank ``(number, line)`` pairs."""
    block: list[tuple[int, str]] = []
    for number, line in lines:
        if not is_blank(line):
            block.append((number, line))
        elif block:
            yield block
            block = []
    if block:
        yield block


def read_block(block: list[tuple[int, str]], is_label: Callable[[str], bool]) -> Iterator[Cue]:
    """Yield the cues of one block: optional label, timing line, text.

    One block should be one cue, but files that forgot the empty line in between are common, so a timing line further
    down starts the next cue, and takes the line above it along if that is a label.

    Raises:
        InputError: neither the first nor the second line gives times, or the times are wrong; names the line.
    """
    at = [i for i, (_, line) in enumerate(block) if _TIMING.fullmatch(line)]
    if not at or at[0] > 1:
        number, line = next(((n, text) for n, text in block[:2] if "-->" in text), block[0])
        raise InputError(f"line {number} is {line[:60]!r}", "a cue, whose first or second line is `start --> end`")
    labelled = [at[0] == 1] + [i - 1 > last and is_label(block[i - 1][1]) for last, i in zip(at, at[1:])]
    begins = [i - has for i, has in zip(at, labelled)]
    for i, has, begin_of_next in zip(at, labelled, [*begins[1:], len(block)]):
        number, line = block[i]
        start, end = _times(number, line)
        label = block[i - 1][1].strip() if has else ""
        yield Cue(number, label, start, end, tuple(text for _, text in block[i + 1 : begin_of_next]))


def in_order(events: Iterable[Event]) -> tuple[Event, ...]:
    """Return events sorted by start, then end, in milliseconds; those with equal times keep their order."""
    return tuple(sorted(events, key=milliseconds))


def _times(number: int, line: str) -> tuple[float, float]:
    match = _TIMING.fullmatch(line)
    assert match is not None  # the caller found the line by this pattern
    start, end = _seconds(number, match.groups()[:4]), _seconds(number, match.groups()[4:])
    if start > end:
        raise InputError(f"line {number}: the cue ends before it starts", "start <= end")
    return start, end


def _seconds(number: int, parts: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, fraction = parts
    if int(minutes or 0) > 59 or int(seconds or 0) > 59:
        raise InputError(f"line {number}: the time has {minutes} minutes and {seconds} seconds", "both below 60")
    whole = int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)
    return (whole * 1000 + int((fraction or "0").ljust(3, "0"))) / 1000
