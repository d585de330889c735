"""Results that live on the time axis alone: events, words, gaps, and what is known of the media itself."""

from __future__ import annotations

from dataclasses import dataclass

from whenwhere.errors import InputError
from whenwhere.results import checks
from whenwhere.results.record import Record


@dataclass(frozen=True)
class Event(Record):
    """Something that happens from ``start`` to ``end``.

    Args:
        start: seconds from the first frame, >= 0.
        end: seconds from the first frame, >= ``start``.
        text: what happens, in plain words.
        score: the model's confidence, any finite number, higher is better.
        emitted_at: media position in seconds at which a streaming model knew of the event.
        id: a number by which other results can name the event.

    Raises:
        InputError: a value is not finite, of the wrong type, or ``start > end``.
    """

    start: float
    end: float
    text: str
    score: float | None = None
    emitted_at: float | None = None
    id: int | None = None

    def __post_init__(self) -> None:
        start, end = checks.span("event", self.start, self.end)
        object.__setattr__(self, "start", start)
        object.__setattr__(self, "end", end)
        object.__setattr__(self, "text", checks.string("event.text", self.text))
        object.__setattr__(self, "score", checks.maybe_number("event.score", self.score))
        object.__setattr__(self, "emitted_at", checks.maybe_number("event.emitted_at", self.emitted_at, least=0.0))
        if self.id is not None:
            object.__setattr__(self, "id", checks.integer("event.id", self.id))

    @property
    def duration(self) -> float:
        """Length in seconds, >= 0."""
        return self.end - self.start


@dataclass(frozen=True)
class Word(Record):
    """One word with its place in the picture, its place in time, or both.

    Args:
        text: the word.
        x: pixels from the left edge of the original frame; ``None`` together with ``y``.
        y: pixels from the top edge; ``None`` together with ``x``.
        start: seconds; ``None`` together with ``end``.
        end: seconds, >= ``start``.
        score: confidence, any finite number.

    Raises:
        InputError: a value is not finite, of the wrong type, or one of a pair is missing.
    """

    text: str
    x: float | None = None
    y: float | None = None
    start: float | None = None
    end: float | None = None
    score: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", checks.string("word.text", self.text))
        for first, second in (("x", "y"), ("start", "end")):
            a, b = getattr(self, first), getattr(self, second)
            if (a is None) != (b is None):
                raise InputError(f"word has {first}={a!r} and {second}={b!r}", "both or neither")
        if self.start is not None:
            start, end = checks.span("word", self.start, self.end)
            object.__setattr__(self, "start", start)
            object.__setattr__(self, "end", end)
        for name in ("x", "y", "score"):
            object.__setattr__(self, name, checks.maybe_number(f"word.{name}", getattr(self, name)))


@dataclass(frozen=True)
class Gap(Record):
    """A stretch of the media that could not be decoded.

    Args:
        start: seconds, >= 0.
        end: seconds, >= ``start``.
        reason: why, in words for the user.

    Raises:
        InputError: a value is not finite, of the wrong type, or ``start > end``.
    """

    start: float
    end: float
    reason: str

    def __post_init__(self) -> None:
        start, end = checks.span("gap", self.start, self.end)
        object.__setattr__(self, "start", start)
        object.__setattr__(self, "end", end)
        object.__setattr__(self, "reason", checks.string("gap.reason", self.reason))


@dataclass(frozen=True)
class MediaRef(Record):
    """The video or image that results talk about.

    Args:
        path: where it was read from (text or path object; bytes that are not UTF-8 become U+FFFD).
        duration: seconds, >= 0; ``None`` when unknown, as for an image or an endless stream.
        width: pixels as displayed, >= 1.
        height: pixels as displayed, >= 1.
        rate: frames a second, > 0; ``None`` when unknown or variable.

    Raises:
        InputError: a value is not finite, of the wrong type or out of range.
    """

    path: str
    duration: float | None
    width: int
    height: int
    rate: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", checks.path_string("media.path", self.path))
        object.__setattr__(self, "duration", checks.maybe_number("media.duration", self.duration, least=0.0))
        object.__setattr__(self, "width", checks.integer("media.width", self.width, least=1))
        object.__setattr__(self, "height", checks.integer("media.height", self.height, least=1))
        rate = checks.maybe_number("media.rate", self.rate)
        if rate is not None and rate <= 0:
            raise InputError(f"media.rate is {rate:g}", "more than 0 frames a second", "give None if unknown")
        object.__setattr__(self, "rate", rate)
