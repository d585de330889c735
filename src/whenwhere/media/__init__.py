"""Video and images in, frames out; frames in, video and images out. PyAV and Pillow are used here and nowhere else.

Every public name is loaded on first use, so that ``import whenwhere.media`` itself costs nothing:

    with open_video("holiday.mp4") as video:
        for frame in video.frames(rate=2.0):
            print(frame.time, frame.pixels.shape)
        print(video.gaps)

The policy for damaged and hostile files is one sentence: describe what decodes, mark what does not as a
:class:`whenwhere.results.Gap`, believe no header, and refuse with a :class:`whenwhere.errors.MediaError` when nothing
is left. ``docs/media.md`` lists every case with its outcome.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# public name -> module that defines it
_PUBLIC = {
    "Frame": "records",
    "Limits": "records",
    "MediaInfo": "records",
    "Reader": "records",
    "Source": "sources",
    "as_source": "sources",
    "expand": "sources",
    "Video": "video",
    "open_video": "opening",
    "probe": "opening",
    "sample": "sampling",
    "clip": "writing",
    "write_video": "writing",
    "read_image": "images",
    "thumbnail": "images",
    "write_image": "images",
    "annotate": "drawing",
}
__all__ = [  # noqa: RUF022 - in the order of the table above
    "Frame",
    "Limits",
    "MediaInfo",
    "Reader",
    "Source",
    "as_source",
    "expand",
    "Video",
    "open_video",
    "probe",
    "sample",
    "clip",
    "write_video",
    "read_image",
    "thumbnail",
    "write_image",
    "annotate",
]

if TYPE_CHECKING:
    from whenwhere.media.drawing import annotate
    from whenwhere.media.images import read_image, thumbnail, write_image
    from whenwhere.media.opening import open_video, probe
    from whenwhere.media.records import Frame, Limits, MediaInfo, Reader
    from whenwhere.media.sampling import sample
    from whenwhere.media.sources import Source, as_source, expand
    from whenwhere.media.video import Video
    from whenwhere.media.writing import clip, write_video


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        value = getattr(importlib.import_module(f"whenwhere.media.{_PUBLIC[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'whenwhere.media' has no attribute {name!r}; public names: {', '.join(_PUBLIC)}")


def __dir__() -> list[str]:
    return sorted(__all__)
