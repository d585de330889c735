"""The timeline of one video: everything a system found in it, checked against the media and written as JSON."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from whenwhere.errors import InputError
from whenwhere.results import checks
from whenwhere.results.files import read_text, write_text
from whenwhere.results.record import Record, dump_json, parse_json
from whenwhere.results.spans import Event, Gap, MediaRef
from whenwhere.results.spatial import Track, inside_frame

SCHEMA = "whenwhere.timeline/1"
"""Name and version of the JSON form. A new field or a new meaning of a field makes a new version."""

_SLACK = 1e-3  # seconds by which a result may pass the media's end: containers round their durations to milliseconds


@dataclass(frozen=True, eq=False)
class Timeline(Record):
    """What happens in one video, and when.

    Args:
        media: the video.
        events: sorted by ``(start, end)``, inside the media's duration.
        tracks: with unique ids, inside the duration and the frame (one pixel of room).
        gaps: stretches that could not be decoded, sorted by ``(start, end)``, inside the duration.
        model: name of the model that made it.
        settings: what the model ran with; JSON types only (paths and numpy numbers are converted).

    Raises:
        InputError: a part is not sorted, outside the media or of the wrong type.
    """

    media: MediaRef
    events: Sequence[Event] = ()
    tracks: Sequence[Track] = ()
    gaps: Sequence[Gap] = ()
    model: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checks.instances("media", [self.media], MediaRef)
        events = checks.instances("events", self.events, Event)
        tracks = checks.instances("tracks", self.tracks, Track)
        gaps = checks.instances("gaps", self.gaps, Gap)
        self._check_spans("event", events)
        self._check_spans("gap", gaps)
        if len({track.id for track in tracks}) != len(tracks):
            raise InputError("two tracks have the same id", "a unique id for each track")
        for track in tracks:
            self._check_end(f"track {track.id}", float(track.times[-1]))
            inside_frame(f"track {track.id}", track.boxes, self.media.width, self.media.height)
        if not isinstance(self.settings, Mapping):
            raise InputError(f"settings are {type(self.settings).__name__}", "a dict")
        object.__setattr__(self, "events", events)
        object.__setattr__(self, "tracks", tracks)
        object.__setattr__(self, "gaps", gaps)
        object.__setattr__(self, "model", checks.string("model", self.model))
        object.__setattr__(self, "settings", checks.plain("settings", self.settings))

    def _check_spans(self, name: str, spans: Sequence[Event | Gap]) -> None:
        for position, span in enumerate(spans):
            self._check_end(f"{name} {position}", span.end)
            before = spans[position - 1] if position else span
            if (before.start, before.end) > (span.start, span.end):
                raise InputError(
                    f"{name} {position} (at {span.start:g} s) is listed after one at {before.start:g} s",
                    f"{name}s sorted by start, then end",
                )

    def _check_end(self, name: str, end: float) -> None:
        duration = self.media.duration
        if duration is not None and end > duration + _SLACK:
            raise InputError(f"{name} ends at {end:g} s", f"at most the media's duration of {duration:g} s")

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data with ``"schema"`` first."""
        return {"schema": SCHEMA, **super().to_dict()}

    @classmethod
    def _arguments(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(data, Mapping) or "schema" not in data:
            raise InputError('timeline has no "schema"', repr(SCHEMA), "give the file that `whenwhere describe` wrote")
        if data["schema"] != SCHEMA:
            raise InputError(
                f"timeline has schema {checks.short(data['schema'])}",
                repr(SCHEMA),
                "read it with the version of whenwhere that wrote it, or a newer one",
            )
        arguments = super()._arguments({name: value for name, value in data.items() if name != "schema"})
        arguments["media"] = MediaRef.from_dict(arguments["media"])
        parts: tuple[tuple[str, type[Record]], ...] = (("events", Event), ("tracks", Track), ("gaps", Gap))
        for name, kind in parts:
            items = arguments.get(name, [])
            if not isinstance(items, (list, tuple)):
                raise InputError(f"timeline.{name} is {type(items).__name__}", "a list")
            arguments[name] = [kind.from_dict(item) for item in items]
        return arguments

    def to_json(self) -> str:
        """Return strict JSON text (schema ``whenwhere.timeline/1``) that :meth:`from_json` reads back equal."""
        return dump_json(self.to_dict())

    @classmethod
    def from_json(cls, data: str | Mapping[str, Any]) -> Timeline:
        """Read JSON text or its parsed object.

        Raises:
            InputError: not strict JSON, another schema version, an unknown or missing field, or a bad value.
        """
        return cls.from_dict(parse_json(data, "timeline") if isinstance(data, str) else data)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the JSON form to ``path``, whole or not at all.

        Raises:
            InputError: the file cannot be written there.
        """
        write_text(path, self.to_json())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Timeline:
        """Read a file that :meth:`save` wrote.

        Raises:
            InputError: the file is missing, not UTF-8, or not a timeline of this schema.
        """
        return cls.from_json(read_text(path, "timeline"))
