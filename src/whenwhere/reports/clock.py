"""Times of events as people read them in a line of text."""

from __future__ import annotations

from whenwhere.results import Event


def stamp(seconds: float) -> str:
    """Return seconds as ``mm:ss.s``, or ``h:mm:ss.s`` from an hour on."""
    tenths = round(seconds * 10)
    hours, rest = divmod(tenths, 36_000)
    shown = f"{rest // 600:02}:{rest // 10 % 60:02}.{rest % 10}"
    return f"{hours}:{shown}" if hours else shown


def span(event: Event) -> str:
    """Return when an event is: ``00:12.5 – 00:18.0``."""
    return f"{stamp(event.start)} – {stamp(event.end)}"
