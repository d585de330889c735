"""A timeline as one HTML page that needs nothing else: player, clickable timeline, list of events with pictures.

The page loads nothing from the network. Its one script is named by hash in the page's content security policy, so a
browser runs no other, and every text is escaped besides.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import mimetypes
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from whenwhere.errors import InputError
from whenwhere.reports import vtt
from whenwhere.results import Event, Gap, MediaRef, Timeline
from whenwhere.results.files import write_text

EMBED_LIMIT = 60_000_000
"""Largest video, in bytes, that is put into the page itself: with its text coding the page then has 80 MB."""

_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
_TICKS = 9  # most labels that fit on the axis


def write(
    timeline: Timeline,
    out_path: str | os.PathLike[str],
    *,
    video: str | os.PathLike[str] | None = None,
    thumbnails: Mapping[int, bytes] | None = None,
    title: str | None = None,
    embed_limit: int = EMBED_LIMIT,
) -> None:
    """Write the page, whole or not at all.

    Args:
        timeline: what to show.
        out_path: the ``.html`` file.
        video: the video file. Up to ``embed_limit`` bytes it becomes part of the page, above it is linked, and has to
            stay where it is relative to the page; the page says which. ``None`` makes a page of thumbnails only.
        thumbnails: JPEG file contents for events, by index in ``timeline.events``.
        title: heading of the page; the file name of the media when ``None``.
        embed_limit: bytes.

    Raises:
        InputError: the video cannot be read, a thumbnail is no JPEG or has no event, or the page cannot be written.
    """
    thumbnails = dict(thumbnails or {})
    for index, picture in thumbnails.items():
        if not 0 <= index < len(timeline.events):
            raise InputError(f"thumbnail {index} has no event", f"indices below {len(timeline.events)}")
        if not picture.startswith(b"\xff\xd8\xff"):
            raise InputError(f"thumbnail {index} is not a JPEG", "the contents of a JPEG file")
    address, kept, note = _video(None if video is None else Path(video), Path(out_path), embed_limit)
    length = _length(timeline)
    has_stage = video is not None or bool(thumbnails)
    script = _part("page.js")
    text = html.escape
    write_text(
        out_path,
        _fill(
            _part("page.html"),
            policy=_policy(script),
            title=text(title if title is not None else Path(timeline.media.path).name or "Timeline"),
            style=_part("page.css").strip(),
            duration=repr(length),
            facts=_facts(timeline),
            settings=_settings(timeline.settings),
            layout="with-stage" if has_stage else "no-stage",
            stage=_stage(timeline, video is not None, address, note, thumbnails) if has_stage else "",
            timeline=_lanes(timeline.events, timeline.gaps, length),
            gaps=_gap_list(timeline.gaps),
            count=str(len(timeline.events)),
            events="\n".join(_event(i, event, thumbnails) for i, event in enumerate(timeline.events)),
            nothing=" hidden>No event has these words." if timeline.events else ">No events were found.",
            data=kept,
            script=script,
        ),
    )


def clock(seconds: float, decimals: int = 1) -> str:
    """Return seconds as ``m:ss`` or ``h:mm:ss``, with that many decimals."""
    units = round(seconds * 10**decimals)
    whole, fraction = divmod(units, 10**decimals)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    shown = f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
    return f"{shown}.{fraction:0{decimals}}" if decimals else shown


def rows(spans: Iterable[Event]) -> list[int]:
    """Return a row for each span such that spans that overlap get different rows, with as few rows as can be.

    Args:
        spans: sorted by start. Spans that only touch share a row.
    """
    ends: list[float] = []  # of the last span in each row
    result = []
    for span in spans:
        row = next((row for row, end in enumerate(ends) if end <= span.start), len(ends))
        ends[row : row + 1] = [span.end]
        result.append(row)
    return result


def _part(name: str) -> str:
    return resources.files("whenwhere.reports").joinpath("page", name).read_text(encoding="utf-8")


def _fill(template: str, **values: str) -> str:
    """Put values into ``{{name}}`` places, in one pass, so that a value that looks like a place stays as it is."""
    return re.sub(r"\{\{(\w+)\}\}", lambda place: values[place[1]], template)


def _policy(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    sources = "img-src data:; media-src data: blob: file: 'self'; style-src 'unsafe-inline'"
    return f"default-src 'none'; script-src 'sha256-{digest}'; {sources}; base-uri 'none'; form-action 'none'"


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _length(timeline: Timeline) -> float:
    """Return the seconds that the timeline spans, > 0: the media's duration, or the last thing known of it."""
    ends = [event.end for event in timeline.events] + [gap.end for gap in timeline.gaps]
    return timeline.media.duration or max(ends, default=0.0) or 1.0


def _video(video: Path | None, page: Path, limit: int) -> tuple[str, str, str]:
    """Return the player's ``src`` attribute, the element that keeps an embedded video, and a note on which it is."""
    if video is None:
        return "", "", "The video is not part of this page; the pictures are."
    try:
        size = video.stat().st_size
        if size <= limit:
            content = base64.b64encode(video.read_bytes()).decode()
            kind = mimetypes.guess_type(video.name)[0] or "video/mp4"
            kept = f'<script type="text/plain" id="video-data" data-type="{html.escape(kind)}">{content}</script>'
            return "", kept, f"The video is part of this page ({_size(size)})."
        relative = os.path.relpath(video.resolve(), page.resolve().parent)
    except OSError as error:
        raise InputError(f"cannot read the video {video}: {error.strerror or error}", "a readable file") from error
    except ValueError:  # another drive on Windows
        raise InputError(f"{video} is on another drive than the page", "one drive", "write the page there") from None
    address = "./" + quote(os.fsencode(relative.replace(os.sep, "/")))
    shown = html.escape(relative.encode("utf-8", "replace").decode())
    note = f"The video ({_size(size)}) is not part of this page: it is read from <b>{shown}</b>, seen from the page."
    return f' src="{html.escape(address)}"', "", note


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{max(count / 1e3, 0.1):.1f} kB"


def _facts(timeline: Timeline) -> str:
    media = timeline.media
    facts = [
        ("Duration", "unknown" if media.duration is None else clock(media.duration)),
        ("Events", str(len(timeline.events))),
        ("Tracks", str(len(timeline.tracks)) if timeline.tracks else ""),
        ("Frame", f"{media.width} × {media.height}" + (f", {media.rate:.4g} fps" if media.rate else "")),
        ("Model", timeline.model),
        ("Gaps", str(len(timeline.gaps) or "none")),
    ]
    return "\n".join(_pair(name, value) for name, value in facts if value)


def _pair(name: str, value: str) -> str:
    return f'    <div><dt>{html.escape(name)}</dt><dd dir="auto">{html.escape(value)}</dd></div>'


def _settings(settings: Mapping[str, Any]) -> str:
    if not settings:
        return ""
    shown = {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in settings.items()
    }
    pairs = "\n".join(_pair(name, value) for name, value in shown.items())
    return f"  <details><summary>Settings</summary><dl>\n{pairs}\n  </dl></details>"


def _stage(timeline: Timeline, has_video: bool, address: str, note: str, thumbnails: Mapping[int, bytes]) -> str:
    """Return the player, or a place where the picture of the selected event is shown large."""
    media: MediaRef = timeline.media
    shape = f'style="aspect-ratio: {media.width} / {media.height}"'
    if has_video:
        track = ""
        if timeline.events:
            captions = _data("text/vtt", vtt.format(timeline.events).encode())
            track = f'<track kind="captions" label="Events" srclang="en" default src="{captions}">'
        player = f'<video controls playsinline preload="auto" {shape}{address}>{track}</video>'
        missing = ", or the file has moved" if address else ""
        trouble = (
            f'<p id="trouble" class="note trouble" role="alert" hidden>This browser cannot play the video{missing}.</p>'
        )
    else:
        first = min(thumbnails)
        source, words = _data("image/jpeg", thumbnails[first]), html.escape(timeline.events[first].text)
        player, trouble = f'<img id="still" alt="{words}" {shape} src="{source}">', ""
    kind = ("stage sticky", "screen player") if has_video else ("stage", "screen")
    return (
        f'<section class="{kind[0]}" aria-label="Player">\n<div class="{kind[1]}">{player}</div>\n'
        f'<p class="note">{note}</p>{trouble}\n</section>'
    )


def _lanes(events: Sequence[Event], gaps: Sequence[Gap], length: float) -> str:
    """Return the axis and, drawn to scale, gaps and events, those that overlap one above the other."""
    row_of = rows(events)
    count = max(row_of, default=0) + 1
    height = 2 if count <= 6 else 1.4 if count <= 14 else 0.7
    step = next((step for step in _STEPS if length / step <= _TICKS), _STEPS[-1] * max(1, round(length / 777_600)))
    parts = [f'<div class="scale" style="--lanes: {count}; --lane: {height}rem">']
    for number in range(int(length / step) + 1):
        if number * step < 0.955 * length:  # a label at the very end would not fit, on a phone even earlier
            late = " late" if number * step > 0.88 * length else ""
            shown = clock(number * step, 0 if step >= 1 else 1)
            parts.append(f'<span class="tick{late}" style="left: {_percent(number * step, length)}">{shown}</span>')
    parts.append('<div class="lanes">')
    for gap in gaps:
        label = html.escape(f"{_span(gap)} could not be decoded: {gap.reason}")
        parts.append(f'<div class="gap" style="{_place(gap, length)}" role="img" aria-label="{label}"></div>')
    for index, (event, row) in enumerate(zip(events, row_of)):
        label = html.escape(f"{_span(event)} {event.text}")
        thin = " thin" if height < 1 or event.duration < 0.025 * length else ""
        parts.append(
            f'<button type="button" class="bar{thin}" tabindex="{-1 if index else 0}" title="{label}" '
            f'aria-label="{label}" style="--row: {row}; {_place(event, length)}">{html.escape(event.text)}</button>'
        )
    parts.append('</div><div class="head"></div><div class="ghost" hidden><span></span></div></div>')
    return "\n".join(parts)


def _percent(seconds: float, length: float) -> str:
    return f"{min(100.0, 100 * seconds / length):.4f}%"


def _place(span: Event | Gap, length: float) -> str:
    return f"left: {_percent(span.start, length)}; width: {_percent(span.end - span.start, length)}"


def _span(span: Event | Gap) -> str:
    return f"{clock(span.start)} – {clock(span.end)}"


def _gap_list(gaps: Sequence[Gap]) -> str:
    if not gaps:
        return ""
    lost = sum(gap.end - gap.start for gap in gaps)
    items = "".join(f'<li dir="auto">{html.escape(f"{_span(gap)}  {gap.reason}")}</li>' for gap in gaps)
    many = "1 gap" if len(gaps) == 1 else f"{len(gaps)} gaps"
    return f"<details><summary>{many} (hatched): {lost:.1f} s could not be decoded</summary><ul>{items}</ul></details>"


def _event(index: int, event: Event, thumbnails: Mapping[int, bytes]) -> str:
    picture = '<span class="blank"></span>' if thumbnails else ""
    if index in thumbnails:
        picture = f'<img alt="" loading="lazy" src="{_data("image/jpeg", thumbnails[index])}">'
    more = []
    if event.score is not None:
        more.append(f"score {event.score:.2f}")
    if event.emitted_at is not None:
        more.append(f"known at {clock(event.emitted_at)}")
    meta = f"<time>{_span(event)}</time>" + "".join(f"<span>{detail}</span>" for detail in more)
    return (
        f'    <li id="event-{index}" data-start="{event.start!r}" data-end="{event.end!r}">'
        f'<button type="button" class="event">{picture}<span class="words"><span class="meta">{meta}</span>'
        f'<span class="text" dir="auto">{html.escape(event.text)}</span></span></button></li>'
    )
