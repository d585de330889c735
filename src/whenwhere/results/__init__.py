"""What every system returns: events, tracks, regions, words, label maps and the timeline that holds them.

Times are seconds from the first frame of the media (float, never negative). Boxes are ``x1, y1, x2, y2`` in pixels of
the original frame, origin at its top left corner. Every type checks itself on construction and raises
:class:`whenwhere.errors.InputError`, is frozen (its arrays are read-only copies), compares by value, and converts to
and from plain JSON data. Other formats (WebVTT, SRT, COCO, MOT, supervision, HTML) live in :mod:`whenwhere.reports`.
"""

from whenwhere.results.spans import Event, Gap, MediaRef, Word
from whenwhere.results.spatial import LabelMap, Region, Track
from whenwhere.results.timeline import SCHEMA, Timeline

__all__ = ["SCHEMA", "Event", "Gap", "LabelMap", "MediaRef", "Region", "Timeline", "Track", "Word"]
